/** tokenizer.json: what is written is read back, the older spellings too; what is not ours is refused with a reason. */
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
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
  const written = JSON.parse(formatTokenizer(theirs.model)) as Json
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

test.each<[string, string, RegExp]>([
  ['no JSON', '{', /not JSON/],
  ['another JSON', '[]', /the whole: .*expected object/i],
  ['another model', changed(json => { json.model['type'] = 'WordPiece' }), /model\.type/],
  ['another pre-tokenizer', changed(json => { json.pre_tokenizer = { type: 'Metaspace' } }), /pre_tokenizer\.type/],
  ['no pre-tokenizer', changed(json => { json.pre_tokenizer = null }), /pre_tokenizer/],
  ['a prefix space', changed(json => { json.pre_tokenizer!['add_prefix_space'] = true }), /add_prefix_space/],
  ['a normalizer', changed(json => { json['normalizer'] = { type: 'NFC' } }), /normalizer/],
  ['dropout', changed(json => { json.model['dropout'] = 0.1 }), /model\.dropout/],
  ['bytes as a fallback', changed(json => { json.model['byte_fallback'] = true }), /byte_fallback/],
  ['a hole in the ids', changed(json => { json.model.vocab['Ġthe'] = 9999 }), /each once: "Ġthe" has 9999/],
  ['an id twice', changed(json => { json.model.vocab['!'] = 2 }), /each once/],
  ['two ids of the special token', changed(json => { json.added_tokens[0]!.id = 3 }), /has the ids 0 and 3/],
  ['a token of no bytes', changed(json => { renameToken(json, 'Ġthe', '漢') }), /"漢"/],
  ['a byte without token', changed(json => { renameToken(json, 'A', 'zzz') }), /byte "A"/],
  ['no end of text', changed(json => { json.added_tokens = [] }), /not in the byte-level|no special token/],
  ['a merge of nothing', changed(json => { json.model.merges.push(['q', 'z']) }), /merge "q z"/],
])('refuses %s', (_, content, reason) => {
  const parse = (): unknown => parseTokenizer(content, 'some/tokenizer.json')
  expect(parse).toThrow(DataError)
  expect(parse).toThrow(/some\/tokenizer\.json is not a byte-level BPE/)
  expect(parse).toThrow(reason)
})

test('no such file', async () => {
  await expect(readTokenizer(folder.at('none.json'))).rejects.toThrow(FileError)
})
