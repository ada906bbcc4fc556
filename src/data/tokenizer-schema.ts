/** What a tokenizer.json may say: the parts that Hugging Face's libraries have, as far as they are done here. */
import { z } from 'zod'

const flag = z.boolean().default(false)
const text = z.string()
const id = z.int().nonnegative()
const part = <T extends string, S extends z.ZodRawShape>(type: T, shape: S) => z.strictObject({ type: z.literal(type), ...shape })
const pattern = z.union([z.strictObject({ String: text }), z.strictObject({ Regex: text })])
const behavior = z.enum(['Removed', 'Isolated', 'MergedWithPrevious', 'MergedWithNext', 'Contiguous'])
/** Options that say how offsets into the text are told, which are not told here. */
const offsets = { trim_offsets: z.boolean().optional() }
const metaspace = { replacement: text, add_prefix_space: z.boolean().optional(), prepend_scheme: z.enum(['always', 'first', 'never']).optional(), split: z.boolean().optional(), str_rep: text.optional() }
const byteLevel = part('ByteLevel', { ...offsets, add_prefix_space: z.boolean().optional(), use_regex: z.boolean().optional() })

const normalizerParts = [
  ...(['NFC', 'NFD', 'NFKC', 'NFKD', 'Lowercase', 'StripAccents'] as const).map(type => part(type, {})),
  part('Strip', { strip_left: z.boolean(), strip_right: z.boolean() }), part('Prepend', { prepend: text }), part('Replace', { pattern, content: text }), part('Precompiled', { precompiled_charsmap: text.nullable() }),
  part('BertNormalizer', { clean_text: z.boolean(), handle_chinese_chars: z.boolean(), strip_accents: z.boolean().nullable(), lowercase: z.boolean() }),
] as const
const preTokenizerParts = [
  byteLevel, part('BertPreTokenizer', {}), part('Whitespace', {}), part('WhitespaceSplit', {}), part('Metaspace', metaspace), part('Split', { pattern, behavior, invert: z.boolean() }),
  part('Punctuation', { behavior }), part('Digits', { individual_digits: z.boolean() }),
] as const
const piece = z.union([z.strictObject({ SpecialToken: z.strictObject({ id: text, type_id: id }) }), z.strictObject({ Sequence: z.strictObject({ id: z.enum(['A', 'B']), type_id: id }) })])
const named = z.tuple([text, id])
const postProcessorParts = [
  byteLevel, part('TemplateProcessing', { single: z.array(piece), pair: z.array(piece), special_tokens: z.record(text, z.strictObject({ id: text, ids: z.array(id), tokens: z.array(text) })) }),
  part('BertProcessing', { sep: named, cls: named }), part('RobertaProcessing', { sep: named, cls: named, trim_offsets: z.boolean().optional(), add_prefix_space: z.boolean().optional() }),
] as const
const decoderParts = [
  byteLevel, part('WordPiece', { prefix: text, cleanup: z.boolean() }), part('Metaspace', metaspace), part('Replace', { pattern, content: text }), part('ByteFallback', {}), part('Fuse', {}),
  part('Strip', { content: text, start: id, stop: id }), part('BPEDecoder', { suffix: text }),
] as const

/** One part, several after one another, or none. */
const oneOrMore = <P extends readonly z.ZodObject[], K extends string>(parts: P, key: K) => {
  const one = z.discriminatedUnion('type', parts as never)
  return z.discriminatedUnion('type', [...parts, z.strictObject({ type: z.literal('Sequence'), [key]: z.array(one) })] as never).nullish()
}

/** A token may have the name of what every object has, which zod's records leave out. */
const vocabulary = z.custom<object>(x => typeof x === 'object' && x !== null && !Array.isArray(x), 'expected an object')
const absent = z.union([z.null(), z.literal('')]).optional()
const unknown = { unk_token: text.nullish() }
type Merge = readonly [string, string] | string
const isMerge = (x: unknown): x is Merge => (typeof x === 'string' ? /^[^ ]+ [^ ]+$/.test(x) : Array.isArray(x) && x.length === 2 && typeof x[0] === 'string' && typeof x[1] === 'string')
/** There are hundreds of thousands. */
const merges = z.custom<readonly Merge[]>(x => Array.isArray(x) && x.every(isMerge), 'expected pairs of tokens')
const bpe = z.strictObject({
  type: z.literal('BPE'), dropout: z.union([z.null(), z.literal(0)]).optional(), ...unknown, continuing_subword_prefix: absent, end_of_word_suffix: text.nullish(),
  fuse_unk: z.boolean().nullish(), byte_fallback: z.boolean().nullish(), ignore_merges: z.boolean().nullish(), vocab: vocabulary,
  merges,
})
const wordPiece = z.strictObject({ type: z.literal('WordPiece'), unk_token: text, continuing_subword_prefix: z.literal('##'), max_input_chars_per_word: z.int().positive(), vocab: vocabulary })
const unigram = z.strictObject({ type: z.literal('Unigram'), unk_id: id.nullish(), byte_fallback: z.literal(false).nullish(), vocab: z.array(z.tuple([text, z.number()])).min(1) })

/** A part as the file has it, checked. */
type Checked = { readonly type: string } | null | undefined
type Common = { readonly unk_token?: string | null | undefined; readonly vocab: object }
/** A tokenizer.json, checked. */
export interface TokenizerFile {
  readonly added_tokens: readonly { readonly id: number; readonly content: string; readonly single_word: false; readonly lstrip: boolean; readonly rstrip: boolean; readonly normalized: boolean; readonly special: boolean }[]
  readonly normalizer?: Checked
  readonly pre_tokenizer?: Checked
  readonly post_processor?: Checked
  readonly decoder?: Checked
  readonly model:
    | (Common & { readonly type: 'BPE'; readonly byte_fallback?: boolean | null | undefined; readonly end_of_word_suffix?: string | null | undefined; readonly merges: readonly Merge[] })
    | (Common & { readonly type: 'WordPiece' })
    | { readonly type: 'Unigram'; readonly unk_id?: number | null | undefined; readonly vocab: readonly (readonly [string, number])[] }
}
const tokenizerFile = z.strictObject({
  version: z.literal('1.0').optional(),
  // Whoever encodes says how long rows are, as with `transformers`.
  truncation: z.unknown().optional(), padding: z.unknown().optional(),
  added_tokens: z.array(z.strictObject({ id, content: text.min(1), single_word: z.literal(false).default(false), lstrip: flag, rstrip: flag, normalized: flag, special: flag })),
  normalizer: oneOrMore(normalizerParts, 'normalizers'), pre_tokenizer: oneOrMore(preTokenizerParts, 'pretokenizers'), post_processor: oneOrMore(postProcessorParts, 'processors'), decoder: oneOrMore(decoderParts, 'decoders'),
  model: z.discriminatedUnion('type', [bpe, wordPiece, unigram]),
})

/** The whole file, or what is wrong with it. */
export function checkTokenizerFile(json: unknown): TokenizerFile | { readonly wrong: string } {
  const parsed = tokenizerFile.safeParse(withKind(json))
  if (parsed.success) return parsed.data as TokenizerFile
  const [issue] = parsed.error.issues
  return { wrong: issue === undefined ? 'unknown' : `${issue.path.join('.') || 'the whole'}: ${issue.message}` }
}

/** Older files do not say of what kind a BPE is. */
function withKind(json: unknown): unknown {
  if (typeof json !== 'object' || json === null || !('model' in json) || typeof json.model !== 'object' || json.model === null || 'type' in json.model || !('merges' in json.model)) return json
  return { ...json, model: { type: 'BPE', ...json.model } }
}
