/** tokenizer.json, the file in which Hugging Face's libraries keep a tokenizer: written for them, and read back. */
import { readFile } from 'node:fs/promises'
import { z } from 'zod'
import { writeFileAtomic } from '../io/atomic.ts'
import { DataError, FileError } from '../core/errors.ts'
import type { AddedToken } from './added.ts'
import { trainBpe, type BpeModel, type TrainOptions } from './bpe.ts'
import { alphabet, bytesOf } from './bytes.ts'
import { generalTokenizer } from './tokenizer-general.ts'
import { checkTokenizerFile } from './tokenizer-schema.ts'
import { createTokenizer, type Tokenizer } from './tokenizer.ts'

const byteLevel = { add_prefix_space: false, trim_offsets: true, use_regex: true }

/** The text of the file. */
export function formatTokenizer({ tokens, merges, added }: BpeModel): string {
  return `${JSON.stringify({
    version: '1.0', truncation: null, padding: null,
    added_tokens: added.map(({ id, special, singleWord = false, lstrip = false, rstrip = false, normalized = false }) => (
      { id, content: tokens[id], single_word: singleWord, lstrip, rstrip, normalized, special })),
    normalizer: null,
    pre_tokenizer: { type: 'ByteLevel', ...byteLevel }, post_processor: null, decoder: { type: 'ByteLevel', ...byteLevel },
    model: {
      type: 'BPE', dropout: null, unk_token: null, continuing_subword_prefix: null, end_of_word_suffix: null,
      fuse_unk: false, byte_fallback: false, ignore_merges: false,
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
      merges: merges.map(([a, b]) => [tokens[a], tokens[b]]),
    },
  })}\n`
}

/** @throws FileError when it cannot be written. */
export const writeTokenizer = (path: string, tokenizer: Tokenizer): Promise<void> =>
  writeFileAtomic(path, tokenizer.format())

/** A tokenizer by a byte-level BPE. */
export const byteLevelTokenizer = (model: BpeModel): Tokenizer & { readonly model: BpeModel } => createTokenizer(model, () => formatTokenizer(model))

/** One learnt from word counts, as `trainBpe`. */
export const trainTokenizer = (counts: ReadonlyMap<string, number>, options: TrainOptions): Tokenizer => byteLevelTokenizer(trainBpe(counts, options))

const id = z.int().nonnegative()
// An absent option means the same as null, and the affix options as an empty string.
const absent = z.union([z.null(), z.literal('')]).optional()
const off = z.literal(false).nullish()
const flag = z.boolean().default(false)
/** Of what there is in the format, this says what is done here; what is not done must not be asked for. */
const unused = z.null({ error: 'is not done here: set it to null in the file if it is not needed' }).optional()
/** Options that only say how offsets into the text are told, which are not told here. */
const offsets = { add_prefix_space: z.boolean().optional(), trim_offsets: z.boolean().optional(), use_regex: z.boolean().optional() }
const asByteLevel = z.strictObject({ type: z.literal('ByteLevel'), ...offsets })
/** A token may have the name of what every object has, which zod's records leave out. */
const vocabulary = z.custom<object>(x => typeof x === 'object' && x !== null && !Array.isArray(x), 'expected an object')

/** Byte-level BPEs of GPT-2's kind, for which there is a fast way. */
const schema = z.strictObject({
  version: z.literal('1.0').optional(),
  truncation: unused,
  padding: unused,
  added_tokens: z.array(z.strictObject({ id, content: z.string().min(1), single_word: flag, lstrip: flag, rstrip: flag, normalized: flag, special: flag })),
  normalizer: unused,
  pre_tokenizer: z.strictObject({ type: z.literal('ByteLevel'), ...offsets, add_prefix_space: z.literal(false), use_regex: z.literal(true).optional() }),
  // It moves offsets, no more.
  post_processor: asByteLevel.nullish(),
  decoder: asByteLevel,
  model: z.strictObject({
    type: z.literal('BPE').optional(), dropout: z.union([z.null(), z.literal(0)]).optional(), continuing_subword_prefix: absent, end_of_word_suffix: absent,
    byte_fallback: off, ignore_merges: off,
    // Every byte has a token, so none is unknown.
    unk_token: z.string().nullish(), fuse_unk: z.boolean().nullish(),
    vocab: vocabulary,
    merges: z.array(z.union([z.tuple([z.string(), z.string()]), z.string().regex(/^[^ ]+ [^ ]+$/)])),
  }),
})

const isByteLevel = (json: unknown): boolean => typeof json === 'object' && json !== null && 'pre_tokenizer' in json && typeof json.pre_tokenizer === 'object' && json.pre_tokenizer !== null
  && 'type' in json.pre_tokenizer && json.pre_tokenizer.type === 'ByteLevel'

/**
 * A tokenizer from the text of a tokenizer.json; `where` names it in errors.
 * @throws DataError when it has what is not done here, or contradicts itself.
 */
export function parseTokenizer(text: string, where: string): Tokenizer {
  const refuse = (reason: string, cause?: unknown): DataError => new DataError({
    code: 'tokenizer-format', what: `${where} is not a tokenizer that Meshwork reads`, details: { reason },
    fix: 'give the tokenizer.json of a Meshwork run, or of another model', cause,
  })
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch (cause) {
    throw refuse(`not JSON: ${cause instanceof Error ? cause.message : String(cause)}`, cause)
  }
  // Of another kind it has other parts: its merges need not be looked at twice.
  const parsed = isByteLevel(json) ? schema.safeParse(json) : undefined
  if (parsed?.success !== true) {
    const file = checkTokenizerFile(json)
    if ('wrong' in file) throw refuse(file.wrong)
    return generalTokenizer(file, text, refuse)
  }
  const { added_tokens: given, model: { vocab, merges } } = parsed.data

  const ids = new Map<string, number>()
  for (const [token, value] of Object.entries(vocab) as [string, unknown][]) {
    const known = id.safeParse(value)
    if (known.data === undefined) throw refuse(`model.vocab: the id of "${token}" is ${JSON.stringify(value)}`)
    ids.set(token, known.data)
  }
  for (const { content, id } of given) {
    if ((ids.get(content) ?? id) !== id) throw refuse(`${content} has the ids ${ids.get(content)} and ${id}`)
    ids.set(content, id)
  }
  const tokens: string[] = new Array<string>(ids.size)
  for (const [token, id] of ids) {
    if (id >= ids.size || tokens[id] !== undefined) throw refuse(`the ids are not 0 to ${ids.size - 1}, each once: "${token}" has ${id}`)
    tokens[id] = token
  }
  const added = given.map(({ id, special, single_word: singleWord, lstrip, rstrip, normalized }): AddedToken => (
    { id, special, ...singleWord && { singleWord }, ...lstrip && { lstrip }, ...rstrip && { rstrip }, ...normalized && { normalized } }))
  const isAdded = new Set(added.map(t => t.id))
  const odd = tokens.find((token, id) => !isAdded.has(id) && bytesOf(token) === undefined)
  if (odd !== undefined) throw refuse(`the token "${odd}" is not in the byte-level alphabet`)
  const missing = alphabet.find(char => !ids.has(char))
  if (missing !== undefined) throw refuse(`no token for the byte "${missing}"`)

  const pairs = merges.map((merge): readonly [number, number] => {
    const [left, right] = typeof merge === 'string' ? merge.split(' ') as [string, string] : merge
    const [a, b] = [ids.get(left), ids.get(right)]
    if (a === undefined || b === undefined || !ids.has(left + right)) throw refuse(`the merge "${left} ${right}" has no tokens`)
    return [a, b]
  })
  return byteLevelTokenizer({ tokens, merges: pairs, added })
}

/** @throws FileError when there is no such file or it cannot be read; DataError as `parseTokenizer`. */
export async function readTokenizer(path: string): Promise<Tokenizer> {
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw new FileError({
      code: 'read', what: `cannot read ${path}`, details: { reason: cause instanceof Error ? cause.message : String(cause) },
      fix: 'give a run folder that holds a tokenizer.json', cause,
    })
  })
  return parseTokenizer(text, path)
}
