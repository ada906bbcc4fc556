/** Training, encoding and decoding, against golden files that golden/make.py made with Hugging Face's tokenizers. */
import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { trainBpe } from '../../src/data/bpe.ts'
import { alphabet } from '../../src/data/bytes.ts'
import { readTokenizer } from '../../src/data/tokenizer-json.ts'
import { byteLevelTokenizer } from '../../src/data/tokenizer-json.ts'
import { countWords, longestWord, words } from '../../src/data/words.ts'

const golden = (name: string): string => readFileSync(new URL(`golden/${name}`, import.meta.url), 'utf8')
interface Golden {
  readonly cases: readonly { readonly text: string; readonly ids: readonly number[]; readonly decoded: string }[]
  readonly broken: readonly { readonly ids: readonly number[]; readonly decoded: string }[]
}
const { cases, broken } = JSON.parse(golden('ids.json')) as Golden
const theirs = await readTokenizer(new URL('golden/tokenizer.json', import.meta.url).pathname)
const ours = byteLevelTokenizer(trainBpe(countWords([golden('corpus.txt')]), { vocab: 400 }))
// Any string without lone surrogates, and strings of the characters where word edges lie.
const edges = fc.constantFrom(...' \n\t\u00a0\u0085\ufeff\'stre12aé漢😀.,')
const anyText = fc.oneof(fc.string({ unit: 'binary' }), fc.string({ unit: edges }))

describe('training', () => {
  test('the same tokens and merges as Hugging Face', () => {
    expect(ours.model).toEqual(theirs.model)
  })

  test('ids: the special token, the bytes, the merges', () => {
    expect(ours.model.tokens.slice(0, 257)).toEqual(['<|endoftext|>', ...alphabet])
    expect([ours.vocab, ours.endOfText]).toEqual([400, 0])
  })

  test('short text gives fewer tokens than asked for', () => {
    const model = trainBpe(countWords(['abab abab']), { vocab: 1000 })
    expect(model.merges.map(([a, b]) => `${model.tokens[a]}+${model.tokens[b]}`)).toEqual(['a+b', 'ab+ab'])
    expect(trainBpe(new Map(), { vocab: 300 }).tokens).toHaveLength(257)
  })

  test('two ways to one token make one token', () => {
    // "aaa" comes from aa+a and from a+aa.
    const model = trainBpe(countWords(['aaa aaa aaaaa aaaa aa baaa caaa']), { vocab: 300, minCount: 1 })
    expect(new Set(model.tokens).size).toBe(model.tokens.length)
    fc.assert(fc.property(fc.nat({ max: 40 }), n => {
      const t = byteLevelTokenizer(model)
      expect(t.decode(t.encode('a'.repeat(n)))).toBe('a'.repeat(n))
    }))
  })

  test('does not depend on the order of the documents', () => {
    const parts = golden('corpus.txt').split('\n')
    expect(trainBpe(countWords(parts.toReversed()), { vocab: 320 })).toEqual(trainBpe(countWords(parts), { vocab: 320 }))
  })
})

describe('encoding', () => {
  test.each(cases.map(c => [JSON.stringify(c.text), c] as const))('as Hugging Face: %s', (_, { text, ids, decoded }) => {
    expect([...ours.encode(text)]).toEqual(ids)
    expect(ours.decode(ids)).toBe(decoded)
  })

  test('round trip of any text', () => {
    fc.assert(fc.property(anyText, text => { expect(ours.decode(ours.encode(text), { special: true })).toBe(text) }), { numRuns: 500 })
  })

  test('a second time, from the word cache, the same', () => {
    fc.assert(fc.property(anyText, text => { expect(ours.encode(text)).toEqual(byteLevelTokenizer(ours.model).encode(text)) }))
  })

  test('a word of 200,000 letters', () => {
    const text = 'tion'.repeat(50_000)
    expect(ours.decode(ours.encode(text))).toBe(text)
  })
})

describe('words', () => {
  // GPT-2's pattern as it stands there.
  const pattern = /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu

  test('are those of the pattern', () => {
    const contracted = fc.array(fc.constantFrom('\'s', '\'t', '\'re', '\'v', '\'ll', '\'S', ' \'', 'a', '1', '!', ' ', '\n', '\ud83d', '\u{1d7d9}', '\u{20000}', 'e\u0301')).map(parts => parts.join(''))
    fc.assert(fc.property(fc.oneof(anyText, contracted), text => { expect([...words(text)].flat()).toEqual(text.match(pattern) ?? []) }), { numRuns: 3000 })
    const prose = golden('corpus.txt').repeat(20)
    expect([...words(prose)].flat()).toEqual(prose.match(pattern))
  })

  test.each([['letters', '\u65e5'], ['letters of two units', '\u{20000}'], ['spaces', ' '], ['line ends', '\n'], ['digits', '7'], ['marks', '.'], ['emoji', '\u{1f600}'], ['no letters at all', '\ud83d']])('of millions of %s are bounded', (_, char) => {
    const text = char.repeat(3_000_000 / char.length)
    const found = [...words(text)].flat()
    expect(found.join('') === text).toBe(true)
    expect(Math.max(...found.map(w => w.length))).toBeLessThanOrEqual(longestWord)
    // No character is cut in two, and no piece is wasted.
    expect(found.every(w => w.length >= longestWord - 1 || w === found.at(-1))).toBe(true)
    expect(found.every(w => w.startsWith(char))).toBe(true)
  })

  test('at the bound: the space before a long word, and the last white space of a long run', () => {
    const long = 'x'.repeat(longestWord)
    expect([...words(` ${long}`)].flat()).toEqual([` ${long.slice(1)}`, 'x'])
    expect([...words(`${long} y`)].flat()).toEqual([long, ' y'])
    const blank = ' '.repeat(longestWord)
    expect([...words(`${blank} y`)].flat()).toEqual([blank, ' y'])
    expect([...words(`${blank}\ny`)].flat()).toEqual([blank, '\n', 'y'])
  })

  test('join to the text, also where they are many', () => {
    fc.assert(fc.property(anyText, text => { expect([...words(text)].flat().join('')).toBe(text) }))
    const long = `${golden('corpus.txt').repeat(30)}  \n ${'x'.repeat(70_000)}  y`
    const batches = [...words(long)]
    expect(batches.length).toBeGreaterThan(2)
    expect(batches.flat().join('')).toBe(long)
  })

  test('are the same in a large text', () => {
    const unit = " we've  met\n\n 12 \u3000times…"
    const once = [...words(unit)].flat()
    const whole = [...words(unit.repeat(8000))].flat()
    expect(whole).toHaveLength(8000 * once.length)
    expect(whole.every((w, i) => w === once[i % once.length])).toBe(true)
  })
})

describe('decoding', () => {
  test.each(broken)('bytes that are no UTF-8, as Hugging Face: $ids', ({ ids, decoded }) => {
    expect(ours.decode(ids)).toBe(decoded)
  })

  test('special tokens are left out, or shown', () => {
    const ids = ours.encode('one<|endoftext|>two')
    expect(ours.decode(ids)).toBe('onetwo')
    expect(ours.decode(ids, { special: true })).toBe('one<|endoftext|>two')
  })

  test('a byte order mark inside stays', () => {
    expect(ours.decode(ours.encode('\ufeffa'))).toBe('\ufeffa')
  })

  test('an id that is not there', () => {
    expect(() => ours.decode([400])).toThrow(/no token has id 400/)
  })

  test('a stream holds back what is not whole, and ends with what never was', () => {
    const stream = ours.stream()
    const [emoji, half] = [ours.encode('😀'), ours.encode('漢')]
    expect([...emoji].map(id => stream.push(id))).toEqual([...Array<string>(emoji.length - 1).fill(''), '😀'])
    expect([...half.slice(0, -1)].map(id => stream.push(id)).join('')).toBe('')
    expect(stream.end()).toBe('\ufffd')
  })

  test('a stream gives what decode gives', () => {
    fc.assert(fc.property(fc.array(fc.nat({ max: 399 })), ids => {
      const stream = ours.stream()
      expect(ids.map(id => stream.push(id)).join('') + stream.end()).toBe(ours.decode(ids))
    }))
  })
})
