/** Tokenizers as GGUF has them, there and back: the ids stay those that Hugging Face's Rust gives. */
import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { parseTokenizer } from '../../src/data/tokenizer-json.ts'
import { FileError } from '../../src/core/errors.ts'
import type { JsonObject } from '../../src/formats/gguf/architectures.ts'
import type { MetadataValue } from '../../src/formats/gguf/metadata.ts'
import { openGguf } from '../../src/formats/gguf/open.ts'
import { chatTemplateOf, tokenizerMetadata, tokenizerOf } from '../../src/formats/gguf/tokenizer.ts'
import { writeGguf } from '../../src/formats/gguf/write.ts'
import { temporaryFolder } from '../data/temporary.ts'

const folder = temporaryFolder()
interface Golden { readonly file: JsonObject; readonly cases: readonly { readonly text: string; readonly ids: number[]; readonly with: number[]; readonly decoded: string }[] }
const golden = JSON.parse(readFileSync(new URL('../data/golden/general.json', import.meta.url), 'utf8')) as { readonly [name: string]: Golden }

describe.each([['llama3', 'llama-bpe', 0], ['qwen2', 'qwen2', 0], ['smollm', 'smollm', 0], ['llama', 'default', 1]] as const)('%s', (name, pre, bos) => {
  test('through a file', async () => {
    const path = folder.at(`${name}.gguf`)
    const { file, cases } = golden[name]!
    await writeGguf(path, tokenizerMetadata(path, { tokenizer: file, vocab: 500, bos, eos: 2, pad: 2, chatTemplate: '{{ "é" }}' }), [])
    await using opened = await openGguf(path)
    expect(opened.metadata.get('tokenizer.ggml.pre')).toEqual({ type: 'string', value: pre })
    expect(chatTemplateOf(path, opened.metadata)).toBe('{{ "é" }}')
    const tokenizer = parseTokenizer(JSON.stringify(tokenizerOf(path, opened.metadata)), path)
    // Ids that no token had are filled up.
    expect([tokenizer.vocab, tokenizer.tokens[499]]).toEqual([500, '[PAD499]'])
    for (const c of cases) {
      expect([c.text, [...tokenizer.encode(c.text)]]).toEqual([c.text, c.ids])
      expect([c.text, [...tokenizer.before, ...c.ids, ...tokenizer.after]]).toEqual([c.text, c.with])
      expect([c.text, tokenizer.decode(c.ids, { special: true })]).toEqual([c.text, c.decoded])
    }
  })
})

const metadata = (change: (m: Map<string, MetadataValue>) => void): Map<string, MetadataValue> => {
  const m = new Map(tokenizerMetadata('x', { tokenizer: golden['smollm']!.file, vocab: 400 }))
  change(m)
  return m
}
test('a file without a tokenizer has none', () => {
  expect(tokenizerOf('x', new Map())).toBeUndefined()
  expect(chatTemplateOf('x', new Map())).toBeUndefined()
})
test.each<[string, (m: Map<string, MetadataValue>) => void, RegExp]>([
  ['another kind', m => m.set('tokenizer.ggml.model', { type: 'string', value: 'rwkv' }), /kind "rwkv"/],
  ['another cutting', m => m.set('tokenizer.ggml.pre', { type: 'string', value: 'viking' }), /as "viking" does, which is not known here/],
  ['no tokens', m => m.delete('tokenizer.ggml.tokens'), /tokenizer\.ggml\.tokens is missing/],
  ['no merges', m => m.delete('tokenizer.ggml.merges'), /tokenizer\.ggml\.merges is missing/],
  ['a merge of one', m => m.set('tokenizer.ggml.merges', { type: 'array', of: 'string', value: ['a'] }), /has "a", which is no pair/],
  ['types of other tokens', m => m.set('tokenizer.ggml.token_type', { type: 'array', of: 'i32', value: Int32Array.of(1) }), /token_type has 1, and there are 400 tokens/],
  ['a token twice', m => m.set('tokenizer.ggml.tokens', { type: 'array', of: 'string', value: Array<string>(400).fill('a') }), /has "a" twice/],
  ['an edge that is none', m => { m.set('tokenizer.ggml.bos_token_id', { type: 'u32', value: 4000 }); m.set('tokenizer.ggml.add_bos_token', { type: 'bool', value: true }) }, /bos_token_id is 4000/],
])('refuses %s', (_, change, reason) => {
  expect(() => tokenizerOf('x', metadata(change))).toThrow(FileError)
  expect(() => tokenizerOf('x', metadata(change))).toThrow(reason)
})
test.each<[string, string, RegExp]>([['bert', 'WordPiece', /it is a WordPiece/], ['unigram', 'Unigram', /it is a Unigram/], ['roberta', 'BPE', /no name is known for/]])('%s is not written', (name, _, reason) => {
  expect(() => tokenizerMetadata('x', { tokenizer: golden[name]!.file, vocab: 500 })).toThrow(reason)
})
test('a tokenizer of more tokens than the model is not written', () => {
  expect(() => tokenizerMetadata('x', { tokenizer: golden['smollm']!.file, vocab: 300 })).toThrow(/its ids go up to \d+, and the model has 300 tokens/)
})
