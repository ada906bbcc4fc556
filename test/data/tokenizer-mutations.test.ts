/** Damaged files of tokenizers: a clear error, or a tokenizer that works. 10,000 of them where all is tested. */
import { expect, test } from 'vitest'
import { trainBpe } from '../../src/data/bpe.ts'
import { formatTokenizer, parseTokenizer } from '../../src/data/tokenizer-json.ts'
import { countWords } from '../../src/data/words.ts'
import { DataError } from '../../src/core/errors.ts'
import { all } from '../support/depth.ts'
import { mutated } from './sources/mutate.ts'

const text = 'the cat and the hat, the catch of the day; naïve café 12 345 <|endoftext|> ends\n'
const bytes = Buffer.from(formatTokenizer(trainBpe(countWords([text, text, text]), { vocab: 300 })))

test('mutations', () => {
  const seen = { right: 0, refused: 0 }
  for (let nth = 0; nth < (all ? 10_000 : 400); nth++) {
    try {
      const tokenizer = parseTokenizer(mutated(bytes, 29, nth).toString(), 'mutant.json')
      const ids = [...tokenizer.encode(text)]
      // Whatever it has learnt, every byte of GPT-2's kind has a token; in others a character may be without.
      if (tokenizer.model !== undefined) expect(tokenizer.decode(ids, { special: true })).toBe(text)
      expect(ids.every(i => i >= 0 && i < tokenizer.vocab)).toBe(true)
      seen.right++
    } catch (e) {
      if (!(e instanceof DataError) || e.problem.fix === undefined || !(e.message.includes('mutant.json') || e.code === 'tokenizer-text')) throw new Error(`mutation ${nth}`, { cause: e })
      seen.refused++
    }
  }
  expect(Math.min(seen.right, seen.refused)).toBeGreaterThan(3)
})
