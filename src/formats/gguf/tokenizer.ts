/** The tokenizer that a GGUF file holds as a tokenizer.json, and back: BPE over bytes (`gpt2`) and SentencePiece's BPE (`llama`). */
import { FileError } from '../../core/errors.ts'
import type { Json, JsonObject } from './architectures.ts'
import type { Metadata, MetadataValue } from './metadata.ts'
import { unfit, valuesOf, type Values } from './values.ts'

/** What a token is, by the number that the file has (llama.h, `llama_token_type`). */
const [normal, unknown, control, userDefined, unused, byte] = [1, 2, 3, 4, 5, 6] as const

const split = (regex: string): JsonObject => ({ type: 'Split', pattern: { Regex: regex }, behavior: 'Isolated', invert: false })
const byteLevel = (useRegex: boolean): JsonObject => ({ type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: useRegex })
const sequence = (...pretokenizers: readonly JsonObject[]): JsonObject => ({ type: 'Sequence', pretokenizers })
const words = (digits: string): string => `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|${digits}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`

/** How a text is cut before merges, by the name that the file has for it (llama.cpp's src/llama-vocab.cpp; the models' own tokenizer.json). */
interface Cutting { readonly pre: JsonObject; readonly normalizer?: JsonObject; readonly ignoreMerges?: boolean }
const gpt2: Cutting = { pre: byteLevel(true) }
const llama3: Cutting = { pre: sequence(split(words('\\p{N}{1,3}')), byteLevel(false)), ignoreMerges: true }
const qwen2: Cutting = { pre: sequence(split(words('\\p{N}')), byteLevel(false)), normalizer: { type: 'NFC' } }
const smollm: Cutting = { pre: sequence({ type: 'Digits', individual_digits: true }, byteLevel(true)) }
const cuttings: { readonly [name: string]: Cutting } = {
  default: gpt2, 'gpt-2': gpt2, gpt2, 'phi-2': gpt2, olmo: gpt2, mpt: gpt2, jina: gpt2, 'jina-es': gpt2, 'jina-de': gpt2, 'roberta-bpe': gpt2,
  'llama-bpe': llama3, llama3, 'llama-v3': llama3, falcon3: llama3, 'smaug-bpe': { ...llama3, ignoreMerges: false }, dbrx: { ...llama3, ignoreMerges: false },
  qwen2, 'deepseek-r1-qwen': qwen2, stablelm2: qwen2, smollm, starcoder: smollm, refact: smollm, 'command-r': smollm, codeshell: smollm,
}

/** Of a template that puts tokens around a text. */
const around = (before: readonly (readonly [string, number])[], after: readonly (readonly [string, number])[]): JsonObject => {
  const piece = ([id]: readonly [string, number]): JsonObject => ({ SpecialToken: { id, type_id: 0 } })
  const single = (id: string): JsonObject[] => [...before.map(piece), { Sequence: { id, type_id: 0 } }, ...after.map(piece)]
  return {
    type: 'TemplateProcessing', single: single('A'), pair: [...single('A'), ...single('B')],
    special_tokens: Object.fromEntries([...before, ...after].map(([id, number]) => [id, { id, ids: [number], tokens: [id] }])),
  }
}

interface Vocabulary { readonly tokens: readonly string[]; readonly types: readonly number[]; readonly scores: readonly number[] | undefined; readonly special: ReadonlySet<number> }

function vocabularyOf(path: string, values: Values): Vocabulary {
  const tokens = values.texts('tokenizer.ggml.tokens')
  if (tokens === undefined) throw unfit(path, 'tokenizer.ggml.tokens', 'is missing: the file has no tokenizer')
  const [types = tokens.map(() => normal), scores] = [values.numbers('tokenizer.ggml.token_type'), values.numbers('tokenizer.ggml.scores')]
  if (types.length !== tokens.length) throw unfit(path, 'tokenizer.ggml.token_type', `has ${types.length}, and there are ${tokens.length} tokens`)
  if (scores !== undefined && scores.length !== tokens.length) throw unfit(path, 'tokenizer.ggml.scores', `has ${scores.length}, and there are ${tokens.length} tokens`)
  const seen = new Set<string>()
  for (const token of tokens) {
    if (seen.has(token)) throw unfit(path, 'tokenizer.ggml.tokens', `has ${JSON.stringify(token)} twice`)
    seen.add(token)
  }
  const special = new Set([...types.keys()].filter(i => types[i] === control || types[i] === unknown))
  return { tokens, types, scores, special }
}

function addedOf({ tokens, types, special }: Vocabulary): JsonObject[] {
  return tokens.flatMap((content, id) => (special.has(id) || types[id] === userDefined
    ? [{ id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: special.has(id) }] : []))
}

/** Tokens around a text, where the file says so. */
function edgesOf(path: string, values: Values, { tokens }: Vocabulary, model: string): JsonObject | null {
  const token = (name: string): readonly [string, number][] => {
    const id = values.number(`tokenizer.ggml.${name}_token_id`)
    if (id === undefined) return []
    const content = tokens[id]
    if (content === undefined) throw unfit(path, `tokenizer.ggml.${name}_token_id`, `is ${id}, and there are ${tokens.length} tokens`)
    return [[content, id]]
  }
  // What llama.cpp does where the file does not say.
  const begins = values.truth('tokenizer.ggml.add_bos_token') ?? (model === 'llama' || ['llama-bpe', 'llama3', 'llama-v3'].includes(values.text('tokenizer.ggml.pre') ?? ''))
  const ends = values.truth('tokenizer.ggml.add_eos_token') ?? false
  const [before, after] = [begins ? token('bos') : [], ends ? token('eos') : []]
  return before.length + after.length === 0 ? null : around(before, after)
}

/** The value of a tokenizer.json; undefined where the file has no tokenizer. @throws FileError where it has one of another kind, or it contradicts itself */
export function tokenizerOf(path: string, metadata: Metadata): JsonObject | undefined {
  const values = valuesOf(path, metadata)
  const model = values.text('tokenizer.ggml.model')
  if (model === undefined || model === 'none' || model === 'no_vocab') return undefined
  if (model !== 'gpt2' && model !== 'llama') throw new FileError({ code: 'gguf-tokenizer', what: `${path} has a tokenizer of kind "${model}", which is not read here`, fix: 'give the model\'s tokenizer.json beside it' })
  const vocabulary = vocabularyOf(path, values)
  const common = { version: '1.0', truncation: null, padding: null, added_tokens: addedOf(vocabulary), post_processor: edgesOf(path, values, vocabulary, model) }
  return { ...common, ...model === 'gpt2' ? overBytes(path, values, vocabulary) : sentencePiece(path, values, vocabulary) }
}

const bpe = { type: 'BPE', dropout: null, continuing_subword_prefix: null, end_of_word_suffix: null }
const idsIn = ({ tokens }: Vocabulary): { readonly [token: string]: number } => Object.fromEntries(tokens.map((token, id) => [token, id]))

function overBytes(path: string, values: Values, vocabulary: Vocabulary): JsonObject {
  const name = values.text('tokenizer.ggml.pre') ?? 'default'
  const cutting = Object.hasOwn(cuttings, name) ? cuttings[name] : undefined
  if (cutting === undefined) throw new FileError({ code: 'gguf-tokenizer', what: `${path} cuts texts as "${name}" does, which is not known here`, details: { known: Object.keys(cuttings).join(', ') }, fix: 'give the model\'s tokenizer.json beside it' })
  const merges = values.texts('tokenizer.ggml.merges')
  if (merges === undefined) throw unfit(path, 'tokenizer.ggml.merges', 'is missing')
  const odd = merges.find(m => !/^[^ ]+ [^ ]+$/.test(m))
  if (odd !== undefined) throw unfit(path, 'tokenizer.ggml.merges', `has ${JSON.stringify(odd)}, which is no pair`)
  return {
    normalizer: cutting.normalizer ?? null, pre_tokenizer: cutting.pre, decoder: byteLevel(true),
    model: { ...bpe, unk_token: null, fuse_unk: false, byte_fallback: false, ignore_merges: cutting.ignoreMerges ?? false, vocab: idsIn(vocabulary), merges: merges.map(m => m.split(' ')) },
  }
}

/** SentencePiece's BPE joins the pair whose token has the best score: the merges are all pairs that make a token, the best first, as transformers' converter has them. */
function sentencePiece(path: string, values: Values, vocabulary: Vocabulary): JsonObject {
  const { tokens, types, scores } = vocabulary
  if (scores === undefined) throw unfit(path, 'tokenizer.ggml.scores', 'is missing')
  const ids = new Map(tokens.map((token, id) => [token, id]))
  const merges: { readonly pair: readonly [string, string]; readonly score: number; readonly left: number; readonly right: number }[] = []
  tokens.forEach((token, id) => {
    if (types[id] !== normal && types[id] !== unused) return
    const own: typeof merges[number][] = []
    for (let i = 1; i < token.length; i++) {
      const [left, right] = [ids.get(token.slice(0, i)), ids.get(token.slice(i))]
      if (left !== undefined && right !== undefined) own.push({ pair: [token.slice(0, i), token.slice(i)], score: scores[id] ?? 0, left, right })
    }
    merges.push(...own.sort((a, b) => a.left - b.left || a.right - b.right))
  })
  merges.sort((a, b) => b.score - a.score)
  const space = '\u2581'
  const first = values.truth('tokenizer.ggml.add_space_prefix') ?? true
  const hasBytes = types.includes(byte)
  const unk = [...types.keys()].find(i => types[i] === unknown)
  return {
    normalizer: { type: 'Sequence', normalizers: [...first ? [{ type: 'Prepend', prepend: space }] : [], { type: 'Replace', pattern: { String: ' ' }, content: space }] },
    pre_tokenizer: null,
    decoder: { type: 'Sequence', decoders: [{ type: 'Replace', pattern: { String: space }, content: ' ' }, { type: 'ByteFallback' }, { type: 'Fuse' }, ...first ? [{ type: 'Strip', content: ' ', start: 1, stop: 0 }] : []] },
    model: { ...bpe, unk_token: unk === undefined ? null : tokens[unk] ?? null, fuse_unk: true, byte_fallback: hasBytes, ignore_merges: false, vocab: idsIn(vocabulary), merges: merges.map(m => m.pair) },
  }
}

/** The chat template that the file holds. */
export const chatTemplateOf = (path: string, metadata: Metadata): string | undefined => valuesOf(path, metadata).text('tokenizer.chat_template')

export interface TokenizerParts {
  /** As of tokenizer.json. */
  readonly tokenizer: JsonObject
  readonly chatTemplate?: string | undefined
  /** Ids by what they are: from `generation_config.json` or `config.json`. */
  readonly bos?: number | undefined
  readonly eos?: number | undefined
  readonly pad?: number | undefined
  /** How many tokens the model has: ids that no token has are filled up. */
  readonly vocab: number
}

/** A tokenizer.json as GGUF's metadata. @throws FileError where it is of a kind that GGUF has no word for */
export function tokenizerMetadata(path: string, { tokenizer, chatTemplate, bos, eos, pad, vocab }: TokenizerParts): [string, MetadataValue][] {
  const model = tokenizer['model'] as JsonObject
  const refuse = (reason: string): FileError => new FileError({ code: 'gguf-tokenizer', what: `${path}: the tokenizer cannot be written as GGUF: ${reason}`, fix: 'export the model in Hugging Face\'s format' })
  if (model['type'] !== 'BPE') throw refuse(`it is a ${String(model['type'])}`)
  const added = (tokenizer['added_tokens'] ?? []) as readonly JsonObject[]
  const isSentencePiece = model['byte_fallback'] === true
  const name = isSentencePiece ? undefined : cuttingName(tokenizer)
  if (!isSentencePiece && name === undefined) throw refuse('it cuts texts in a way that no name is known for')
  const ids = new Map<number, string>([...Object.entries(model['vocab'] as { readonly [token: string]: number }).map(([token, id]) => [id, token] as const), ...added.map(t => [Number(t['id']), String(t['content'])] as const)])
  let largest = 0
  for (const id of ids.keys()) largest = Math.max(largest, id)
  if (largest >= vocab) throw refuse(`its ids go up to ${largest}, and the model has ${vocab} tokens`)
  const special = new Map(added.map(t => [Number(t['id']), t['special'] === true]))
  const tokens = Array.from({ length: vocab }, (_, id) => ids.get(id) ?? `[PAD${id}]`)
  const typeOf = (token: string, id: number): number => (!ids.has(id) ? unused : isSentencePiece && token === model['unk_token'] ? unknown : special.get(id) === true ? control : special.has(id) ? userDefined
    : isSentencePiece && /^<0x[0-9A-F]{2}>$/.test(token) ? byte : normal)
  const merges = (model['merges'] as readonly Json[]).map(m => (Array.isArray(m) ? m as readonly string[] : String(m).split(' ')))
  const text = (value: string): MetadataValue => ({ type: 'string', value })
  const edges = JSON.stringify(tokenizer['post_processor'] ?? null)
  const has = (id: number | undefined): boolean => id !== undefined && edges.includes(JSON.stringify(tokens[id]))
  const found: [string, MetadataValue][] = [
    ['tokenizer.ggml.model', text(isSentencePiece ? 'llama' : 'gpt2')], ['tokenizer.ggml.pre', text(name ?? 'default')],
    ['tokenizer.ggml.tokens', { type: 'array', of: 'string', value: tokens }], ['tokenizer.ggml.token_type', { type: 'array', of: 'i32', value: Int32Array.from(tokens, typeOf) }],
    ['tokenizer.ggml.add_bos_token', { type: 'bool', value: has(bos) }], ['tokenizer.ggml.add_eos_token', { type: 'bool', value: has(eos) }],
  ]
  if (isSentencePiece) {
    found.push(['tokenizer.ggml.scores', { type: 'array', of: 'f32', value: scoresOf(tokens, merges) }], ['tokenizer.ggml.add_space_prefix', { type: 'bool', value: JSON.stringify(tokenizer['normalizer'] ?? null).includes('"Prepend"') }])
  } else found.push(['tokenizer.ggml.merges', { type: 'array', of: 'string', value: merges.map(m => m.join(' ')) }])
  for (const [key, id] of [['bos', bos], ['eos', eos], ['padding', pad]] as const) if (id !== undefined) found.push([`tokenizer.ggml.${key}_token_id`, { type: 'u32', value: id }])
  if (chatTemplate !== undefined) found.push(['tokenizer.chat_template', text(chatTemplate)])
  return found
}

/** The name under which texts are cut like this. */
function cuttingName({ pre_tokenizer: pre, normalizer, model }: JsonObject): string | undefined {
  // Options that only say how offsets into the text are told do not count, nor does a pattern's other spelling.
  const plain = (value: Json | undefined): string => JSON.stringify(value ?? null, (key, v: unknown) => (key === 'trim_offsets' ? undefined : v === 'Removed' ? 'Isolated' : key === 'invert' ? false : v))
  const wanted = plain(pre)
  return Object.entries(cuttings).find(([, c]) => plain(c.pre) === wanted && plain(c.normalizer) === plain(normalizer) && (c.ignoreMerges ?? false) === ((model as JsonObject)['ignore_merges'] ?? false))?.[0]
}

/** Scores by which the best pair is the merge that comes first; a token that no merge makes has the least. */
function scoresOf(tokens: readonly string[], merges: readonly (readonly string[])[]): Float32Array {
  const rank = new Map<string, number>()
  merges.forEach((pair, i) => { if (!rank.has(pair.join(''))) rank.set(pair.join(''), i) })
  // Ranks are told apart up to 2^24, as f32.
  return Float32Array.from(tokens, token => -(rank.get(token) ?? merges.length))
}
