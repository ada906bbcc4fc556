/** Tokenizers of every kind against Hugging Face's Rust: golden/general.py made what is expected here. */
import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { tokenBytes } from '../../src/data/token-bytes.ts'
import { parseTokenizer } from '../../src/data/tokenizer-json.ts'
import { TokenBuffer } from '../../src/data/tokenizer-bytes.ts'

interface Case { readonly text: string; readonly ids: number[]; readonly with: number[]; readonly decoded: string; readonly skipped: string }
interface Golden { readonly file: { readonly [key: string]: unknown; readonly model: { readonly [key: string]: unknown } }; readonly cases: readonly Case[] }
const golden = JSON.parse(readFileSync(new URL('golden/general.json', import.meta.url), 'utf8')) as { readonly [name: string]: Golden }

describe.each(Object.entries(golden))('%s', (name, { file, cases }) => {
  const tokenizer = parseTokenizer(JSON.stringify(file), name)

  test('ids and texts', () => {
    for (const c of cases) {
      expect([c.text, [...tokenizer.encode(c.text)]]).toEqual([c.text, c.ids])
      // Of nothing, both say what stands around it.
      expect([c.text, [...tokenizer.before, ...c.ids, ...tokenizer.after]]).toEqual([c.text, c.with])
      expect([c.text, tokenizer.decode(c.ids, { special: true })]).toEqual([c.text, c.decoded])
      expect([c.text, tokenizer.decode(c.ids)]).toEqual([c.text, c.skipped])
    }
  })

  test('ids as they come give the same text, and its bytes are those of its tokens', () => {
    const bytes = tokenBytes(tokenizer)
    for (const c of cases) {
      const stream = tokenizer.stream()
      expect([c.text, c.ids.map(id => stream.push(id)).join('') + stream.end()]).toEqual([c.text, c.skipped])
    }
    const ids = tokenizer.encode('the people of these states')
    // Where a space is put before a text, it counts.
    expect(Math.abs(ids.reduce((n, id) => n + bytes[id]!, 0) - 26)).toBeLessThanOrEqual(1)
  })

  test('what each token stands for by itself gives the text, too', () => {
    // BERT's kind decodes to a text that has blanks elsewhere: one without marks, in small letters, has them where tokens begin.
    for (const c of name === 'bert' ? cases.filter(({ skipped }) => /^[a-z ]+$/.test(skipped)) : cases) {
      const text = Buffer.concat(c.ids.map(id => tokenizer.textOf(id) ?? new Uint8Array())).toString()
      // Some put a blank before a text.
      expect([c.skipped, ` ${c.skipped}`]).toContain(text)
    }
  })

  test('into a buffer, and read again', () => {
    const again = parseTokenizer(tokenizer.format(), 'again')
    const out = new TokenBuffer(1)
    for (const c of cases) again.encodeInto(c.text, out)
    expect([...out.data.subarray(0, out.length)]).toEqual(cases.flatMap(c => c.ids))
    expect(again.vocab).toBe(tokenizer.vocab)
    expect(again.endOfText).toBe(tokenizer.endOfText)
  })
})

test('a long text in pieces has the ids of the whole', () => {
  const { file } = golden['llama3']!
  const tokenizer = parseTokenizer(JSON.stringify(file), 'llama3')
  const line = 'the people of these states, 1790: a nation\n'
  const one = [...tokenizer.encode(line)]
  const many = Math.ceil(200_000 / line.length)
  expect([...tokenizer.encode(line.repeat(many))]).toEqual(Array.from({ length: many }, () => one).flat())
})

test('what a token is decoded to hangs on no more than is kept', () => {
  for (const [name, { file }] of Object.entries(golden)) {
    const tokenizer = parseTokenizer(JSON.stringify(file), name)
    if (name === 'bert') continue
    fc.assert(fc.property(fc.array(fc.nat(tokenizer.vocab - 1), { maxLength: 12 }), ids => {
      // Bytes that are no UTF-8 may be told apart otherwise where they come one by one.
      const whole = tokenizer.decode(ids)
      if (whole.includes('\ufffd')) return
      const stream = tokenizer.stream()
      expect(ids.map(id => stream.push(id)).join('') + stream.end()).toBe(whole)
    }), { numRuns: 100 })
  }
})

const changed = (change: (file: { [key: string]: unknown; model: { [key: string]: unknown } }) => void): string => {
  const file = structuredClone(golden['llama']!.file) as { [key: string]: unknown; model: { [key: string]: unknown } }
  change(file)
  return JSON.stringify(file)
}
test.each<[string, string, RegExp]>([
  ['an id beyond all others', changed(f => { (f.model['vocab'] as Record<string, number>)['the'] = 1e9 }), /the id of "the" is 1000000000/],
  ['two tokens of one id', changed(f => { Object.assign(f.model['vocab'] as object, { one: 300, two: 300 }) }), /have the id 300/],
  ['a token alone', changed(f => { f['added_tokens'] = [{ id: 0, content: '<unk>', special: true, single_word: true }] }), /added_tokens\.0\.single_word/],
  ['dropout', changed(f => { f.model['dropout'] = 0.1 }), /model\.dropout/],
  ['a pattern that is none', changed(f => { f['pre_tokenizer'] = { type: 'Split', pattern: { Regex: '(' }, behavior: 'Isolated', invert: false } }), /not a tokenizer that Meshwork reads/],
])('refuses %s', (_, text, reason) => {
  expect(() => parseTokenizer(text, 'a.json')).toThrow(reason)
  expect(() => parseTokenizer(text, 'a.json')).toThrow(/a\.json is not a tokenizer/)
})
