/** tokenizer.json: what is written is read back, the older spellings too; what is not ours is refused with a reason. */
import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { DataError, FileError } from '../../src/core/errors.ts'
import { formatTokenizer, parseTokenizer, readTokenizer, writeTokenizer } from '../../src/data/tokenizer-json.ts'
import { temporaryFolder } from './temporary.ts'

const folder = temporaryFolder()
const text = readFileSync(new URL('golden/tokenizer.json', import.meta.url), 'utf8')
const theirs = parseTokenizer(text, 'golden')

interface Json {
  [key: string]: unknown
  added_tokens: { id: number; content: string }[]
  model: { [key: string]: unknown; vocab: Record<string, number>; merges: (string | string[])[] }
  pre_tokenizer: Record<string, unknown> | null
}
const changed = (change: (json: Json) => void): string => {
  const json = JSON.parse(text) as Json
  change(json)
  return JSON.stringify(json)
}

const renameToken = ({ model: { vocab } }: Json, from: string, to: string): void => {
  vocab[to] = vocab[from] ?? -1
  delete vocab[from]
}

test('is written as Hugging Face writes it, but for options of the decoder that mean nothing', () => {
  const expected = JSON.parse(text) as Json
  const written = JSON.parse(theirs.format()) as Json
  expect(written).toEqual({ ...expected, decoder: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true } })
})

test('write, read', async () => {
  await writeTokenizer(folder.at('tokenizer.json'), theirs)
  expect((await readTokenizer(folder.at('tokenizer.json'))).model).toEqual(theirs.model)
})

test('merges as older files spell them', () => {
  const old = changed(json => { json.model.merges = json.model.merges.map(m => (m as string[]).join(' ')) })
  expect(parseTokenizer(old, 'old').model).toEqual(theirs.model)
})

describe('added tokens', () => {
  const golden = JSON.parse(readFileSync(new URL('golden/added.json', import.meta.url), 'utf8')) as {
    added: { id: number; content: string; lstrip: boolean; rstrip: boolean; special: boolean }[]; cases: { text: string; ids: number[] }[]
  }
  const tokenizer = parseTokenizer(changed(json => { json.added_tokens = golden.added }), 'added')

  test.each(golden.cases.map(c => [JSON.stringify(c.text), c] as const))('as Hugging Face: %s', (_, { text, ids }) => {
    expect([...tokenizer.encode(text)]).toEqual(ids)
  })

  test('the text comes back, but for what is special and for white space that a token takes along', () => {
    const [plain, shown] = [golden.added.filter(t => !t.lstrip && !t.rstrip && !t.special), golden.added.filter(t => !t.lstrip && !t.rstrip)].map(all => all.map(t => t.content))
    const strips = golden.added.filter(t => t.lstrip || t.rstrip).map(t => t.content)
    const of = (contents: string[]): fc.Arbitrary<string> => fc.array(fc.oneof(fc.constantFrom(...contents), fc.constantFrom(...' \n_.a9é漢'))).map(parts => parts.join(''))
      .filter(text => !strips.some(s => text.includes(s)))
    fc.assert(fc.property(of(plain!), text => { expect(tokenizer.decode(tokenizer.encode(text))).toBe(text) }), { numRuns: 300 })
    fc.assert(fc.property(of(shown!), text => { expect(tokenizer.decode(tokenizer.encode(text), { special: true })).toBe(text) }), { numRuns: 300 })
    const stream = tokenizer.stream()
    expect([...tokenizer.encode('a漢字é<t4>w0 <t0>é')].map(id => stream.push(id)).join('') + stream.end()).toBe('a漢字é<t4>w0 é')
  })

  test('write, read', () => {
    expect(parseTokenizer(tokenizer.format(), 'again').model).toEqual(tokenizer.model)
  })
})

test('a token by the name of what every object has', () => {
  const odd = changed(json => {
    const vocab = Object.entries(json.model.vocab)
    json.model = { ...json.model, vocab: Object.fromEntries([...vocab, ['__', vocab.length], ['__proto__', vocab.length + 1], ['constructor', vocab.length + 2]]), merges: [...json.model.merges, ['_', '_']] }
  })
  const { model } = parseTokenizer(odd, 'odd')
  expect(model!.tokens.slice(-3)).toEqual(['__', '__proto__', 'constructor'])
  expect(parseTokenizer(formatTokenizer(model!), 'again').model).toEqual(model)
})

test('what GPT-2\'s own file has: options that change no token', () => {
  const gpt2 = changed(json => {
    json['post_processor'] = { type: 'ByteLevel', add_prefix_space: true, trim_offsets: false }
    json['decoder'] = { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true }
    Object.assign(json.model, { continuing_subword_prefix: '', end_of_word_suffix: '', fuse_unk: false, unk_token: '<|endoftext|>' })
  })
  expect(parseTokenizer(gpt2, 'gpt2').model).toEqual(theirs.model)
})

test.each<[string, string, RegExp]>([
  ['no JSON', '{', /not JSON/],
  ['another JSON', '[]', /the whole: .*expected object/i],
  ['another model', changed(json => { json.model['type'] = 'WordLevel' }), /model\.type/],
  ['another pre-tokenizer', changed(json => { json.pre_tokenizer = { type: 'CharDelimiterSplit' } }), /pre_tokenizer\.type/],
  ['a normalizer', changed(json => { json['normalizer'] = { type: 'Nmt' } }), /normalizer\.type/],
  ['a normalizer in a list', changed(json => { json['normalizer'] = { type: 'Sequence', normalizers: [{ type: 'Nmt' }] } }), /normalizer\.normalizers\.0\.type/],
  ['a template', changed(json => { json['post_processor'] = { type: 'Template', single: [] } }), /post_processor\.type/],
  ['another decoder', changed(json => { json['decoder'] = { type: 'CTC' } }), /decoder\.type/],
  ['a prefix within words', changed(json => { json.model['continuing_subword_prefix'] = '##' }), /continuing_subword_prefix/],
  ['an option that came later', changed(json => { json.model['lowercase'] = true }), /model: .*"lowercase"/],
  ['an option of a token that came later', changed(json => { Object.assign(json.added_tokens[0]!, { regex: true }) }), /added_tokens\.0: .*"regex"/],
  ['another version', changed(json => { json['version'] = '2.0' }), /version/],
  ['an id that is none', changed(json => { json.model.vocab['Ġthe'] = -1 }), /model\.vocab: the id of "Ġthe" is -1/],
  ['dropout', changed(json => { json.model['dropout'] = 0.1 }), /model\.dropout/],
  ['a hole in the ids', changed(json => { json.model.vocab['Ġthe'] = 9999 }), /each once: "Ġthe" has 9999/],
  ['an id twice', changed(json => { json.model.vocab['!'] = 2 }), /each once/],
  ['two ids of the special token', changed(json => { json.added_tokens[0]!.id = 3 }), /has the ids 0 and 3/],
  ['a token of no bytes', changed(json => { renameToken(json, 'Ġthe', '漢') }), /"漢"/],
  ['a byte without token', changed(json => { renameToken(json, 'A', 'zzz') }), /byte "A"/],
  ['a merge of nothing', changed(json => { json.model.merges.push(['q', 'z']) }), /merge "q z"/],
])('refuses %s', (_, content, reason) => {
  const parse = (): unknown => parseTokenizer(content, 'some/tokenizer.json')
  expect(parse).toThrow(DataError)
  expect(parse).toThrow(/some\/tokenizer\.json is not a tokenizer that Meshwork reads/)
  expect(parse).toThrow(reason)
})

test('without a token between documents', () => {
  const bare = parseTokenizer(changed(json => { json.added_tokens = [] }), 'bare')
  expect(bare.endOfText).toBeUndefined()
  expect(bare.decode(bare.encode('<|endoftext|>'))).toBe('<|endoftext|>')
})

test('no such file', async () => {
  await expect(readTokenizer(folder.at('none.json'))).rejects.toThrow(FileError)
})
