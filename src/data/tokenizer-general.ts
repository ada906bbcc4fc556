/** Tokenizers of any kind that tokenizer.json has, by Hugging Face's own library for JavaScript; those of GPT-2's kind have a faster way of their own. */
import * as library from '@huggingface/tokenizers'
import { DataError } from '../core/errors.ts'
import { shown } from '../core/shown.ts'
import type { AddedToken } from './added.ts'
import { bytesOf } from './bytes.ts'
import { decoderOf, type DecoderPart } from './tokenizer-decoders.ts'
import type { TokenizerFile } from './tokenizer-schema.ts'
import { endOfTextIn, type StreamDecoder, type Tokenizer } from './tokenizer.ts'

/** As much of the library as is used; its own types name files that are not in the package. */
interface Encoder { encode(text: string, options: { readonly add_special_tokens: boolean }): { readonly ids: readonly (number | undefined)[] } }
const { Tokenizer: Library } = library as unknown as { readonly Tokenizer: new (file: object, options: object) => Encoder }

/** A text of more UTF-16 units is encoded in pieces that end with a line: regular expressions keep a way back for each character, and some words are whole texts. */
const unitsAtOnce = 1 << 16
/** Tokens that a character may be made of: four bytes, and none of what is no UTF-8 is waited for longer. */
const longestCharacter = 5

/** @throws DataError where the tokenizer contradicts itself or cannot be made */
export function generalTokenizer(file: TokenizerFile, text: string, refuse: (reason: string, cause?: unknown) => DataError): Tokenizer {
  const encoder = made(file, refuse)
  const added = file.added_tokens.map(({ id, special, lstrip, rstrip, normalized }): AddedToken => ({ id, special, ...lstrip && { lstrip }, ...rstrip && { rstrip }, ...normalized && { normalized } }))
  const tokens = tokensOf(file, refuse)
  const addedIds = new Set(added.map(t => t.id))
  const isSpecial = new Set(added.filter(t => t.special).map(t => t.id))
  const idsOf = (part: string): readonly number[] => {
    let ids: readonly (number | undefined)[]
    try {
      ids = encoder.encode(part, { add_special_tokens: false }).ids
    } catch (cause) {
      throw new DataError({ code: 'tokenizer-text', what: `a text of ${part.length} characters cannot be tokenised`, details: { text: shown(part), reason: cause instanceof Error ? cause.message : String(cause) }, fix: 'split it, or use another tokenizer', cause })
    }
    if (ids.every((id): id is number => id !== undefined)) return ids
    throw new DataError({ code: 'tokenizer-text', what: 'a text has characters that the tokenizer has no token for', details: { text: shown(part) }, fix: 'use a tokenizer with an unknown token, or with bytes as a fallback' })
  }
  const join = decoderOf(file.decoder as DecoderPart | null | undefined)
  const decode = (ids: readonly number[], special: boolean): string => join(ids.filter(id => special || !isSpecial.has(id)).map(id => {
    const token = tokens[id]
    if (token === undefined) throw new RangeError(`no token has id ${id}; there are ${tokens.length}`)
    return token
  }))
  const textOf = (id: number): Uint8Array | undefined => {
    const token = tokens[id]
    if (token === undefined) throw new RangeError(`no token has id ${id}; there are ${tokens.length}`)
    // An added token stands for its own characters.
    return isSpecial.has(id) ? undefined : addedIds.has(id) ? utf8.encode(token) : bytesIn(file, token)
  }
  const edges = edgesOf(file.post_processor as ProcessorPart | null | undefined)
  return {
    model: undefined, tokens, added, vocab: tokens.length, endOfText: endOfTextIn(tokens, added), ...edges,
    format: () => text,
    textOf,
    bytes: id => textOf(id)?.length ?? 0,
    encode: part => Int32Array.from(piecesOf(part).flatMap(piece => idsOf(piece))),
    encodeInto(part, out) { for (const piece of piecesOf(part)) for (const id of idsOf(piece)) out.push(id) },
    decode: (ids, { special = false } = {}) => decode([...ids], special),
    stream: () => streamOf(part => decode(part, false), isSpecial),
  }
}

interface ProcessorPart {
  readonly type: string
  readonly processors?: readonly ProcessorPart[]
  readonly single?: readonly TemplatePiece[]
  readonly pair?: readonly TemplatePiece[]
  readonly special_tokens?: { readonly [id: string]: { readonly ids: readonly number[] } }
  readonly cls?: readonly [string, number]
  readonly sep?: readonly [string, number]
}
interface TemplatePiece { readonly SpecialToken?: { readonly id: string }; readonly Sequence?: object }
interface Edges { readonly before: readonly number[]; readonly after: readonly number[]; readonly between?: readonly number[] | undefined }

/** What the post-processor puts around one text, and between two. */
function edgesOf(part: ProcessorPart | null | undefined): Edges {
  const { processors, type, single, pair, special_tokens: special = {}, cls, sep } = part ?? { type: 'none' }
  if (processors !== undefined) {
    return processors.map(edgesOf).reduce((inner, outer) => ({
      before: [...outer.before, ...inner.before], after: [...inner.after, ...outer.after], between: outer.between === undefined ? inner.between : [...inner.between ?? [], ...outer.between],
    }), { before: [], after: [] })
  }
  // RoBERTa has two tokens there.
  if (cls !== undefined && sep !== undefined) return { before: [cls[1]], after: [sep[1]], between: type === 'RobertaProcessing' ? [sep[1], sep[1]] : [sep[1]] }
  const at = single?.findIndex(piece => piece.Sequence !== undefined) ?? -1
  const ids = (pieces: typeof single): readonly number[] => (pieces ?? []).flatMap(({ SpecialToken: token }) => (token === undefined ? [] : special[token.id]?.ids ?? []))
  const [first = -1, second = -1] = (pair ?? []).flatMap((piece, i) => (piece.Sequence === undefined ? [] : [i]))
  return at < 0 ? { before: [], after: [] } : { before: ids(single?.slice(0, at)), after: ids(single?.slice(at + 1)), ...(second < 0 ? {} : { between: ids(pair?.slice(first + 1, second)) }) }
}

function made(file: TokenizerFile, refuse: (reason: string, cause?: unknown) => DataError): Encoder {
  try {
    return new Library({ ...file, normalizer: sequence(file.normalizer, 'normalizers'), pre_tokenizer: sequence(file.pre_tokenizer, 'pretokenizers'), post_processor: file.post_processor ?? null, decoder: null }, {})
  } catch (cause) {
    throw refuse(cause instanceof Error ? cause.message : String(cause), cause)
  }
}

interface Part { readonly type: string; readonly pretokenizers?: readonly Part[]; readonly normalizers?: readonly Part[]; readonly individual_digits?: boolean; readonly strip_left?: boolean; readonly strip_right?: boolean }
const whiteSpace = '[\\t-\\r\\u0020\\u0085\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]+'
// Its ^ and $ are lines' edges, too.
/** Numbers of all scripts are digits to Hugging Face's Rust, and white space is what Unicode calls so. Its JavaScript takes fewer and others: as patterns both see the same. */
const asRust = (part: Part): readonly Part[] => {
  const { type, individual_digits: alone, strip_left: left, strip_right: right } = part
  const replace = (regex: string): Part => ({ type: 'Replace', pattern: { Regex: regex }, content: '' } as Part)
  return type === 'Digits' ? [{ type: 'Split', pattern: { Regex: alone === true ? '\\p{N}' : '\\p{N}+' }, behavior: 'Isolated', invert: false } as Part]
    : type === 'Strip' ? [...left === true ? [replace(`(?<![\\s\\S])${whiteSpace}`)] : [], ...right === true ? [replace(`${whiteSpace}(?![\\s\\S])`)] : []]
      : [...part.pretokenizers ?? [], ...part.normalizers ?? []].length > 0 ? [...part.pretokenizers ?? [], ...part.normalizers ?? []].flatMap(asRust) : type === 'Sequence' ? [] : [part]
}
const sequence = (part: unknown, key: 'pretokenizers' | 'normalizers'): object | null => {
  const all = part === null || part === undefined ? [] : asRust(part as Part)
  return all.length === 0 ? null : { type: 'Sequence', [key]: all }
}

/** By id; ids that no token has are left out of the vocabulary of few models, and read as nothing. */
function tokensOf({ model, added_tokens: added }: TokenizerFile, refuse: (reason: string) => DataError): string[] {
  const ids = new Map<string, number>(model.type === 'Unigram' ? model.vocab.map(([token], id) => [token, id]) : Object.entries(model.vocab as Readonly<Record<string, number>>))
  for (const { content, id } of added) {
    if ((ids.get(content) ?? id) !== id) throw refuse(`${content} has the ids ${ids.get(content)} and ${id}`)
    ids.set(content, id)
  }
  const tokens: string[] = []
  for (const [token, id] of ids) {
    if (!Number.isSafeInteger(id) || id < 0 || id > 4 * ids.size + 1024) throw refuse(`model.vocab: the id of ${shown(token)} is ${String(id)}`)
    if (tokens[id] !== undefined) throw refuse(`${shown(token)} and ${shown(tokens[id])} have the id ${id}`)
    tokens[id] = token
  }
  return Array.from(tokens, token => token ?? '')
}

/** Cut behind ends of lines that a word begins behind, so that no token lies over a cut. */
function piecesOf(text: string): readonly string[] {
  const pieces: string[] = []
  for (let from = 0; from < text.length;) {
    let end = text.length
    if (end - from > unitsAtOnce) {
      const next = /\n(?=[\p{L}\p{N}])/gu
      next.lastIndex = from + unitsAtOnce
      end = (next.exec(text)?.index ?? text.length - 1) + 1
    }
    pieces.push(text.slice(from, end))
    from = end
  }
  return pieces
}

const utf8 = new TextEncoder()
/** The bytes of text that a token stands for. */
function bytesIn({ model, decoder }: TokenizerFile, token: string): Uint8Array {
  if (JSON.stringify(decoder ?? null).includes('"ByteLevel"')) return bytesOf(token) ?? utf8.encode(token)
  const byte = /^<0x([0-9A-Fa-f]{2})>$/.exec(token)?.[1]
  if (byte !== undefined && 'byte_fallback' in model && model.byte_fallback === true) return Uint8Array.of(parseInt(byte, 16))
  if (model.type === 'WordPiece') return utf8.encode(token.startsWith('##') ? token.slice(2) : ` ${token}`)
  return utf8.encode(token.replaceAll('\u2581', ' '))
}

/**
 * Text as ids come. What a token reads as may hang on the one before it, so the new one is decoded behind those whose text was certain last; text that ends in
 * an unfinished character is held back.
 */
function streamOf(decode: (ids: readonly number[]) => string, isSpecial: ReadonlySet<number>): StreamDecoder {
  let ids: number[] = []
  /** Of these the text is out. */
  let out = 0
  const rest = (): string => decode(ids).slice(decode(ids.slice(0, out)).length)
  return {
    push(id) {
      if (isSpecial.has(id)) return ''
      ids.push(id)
      const text = rest()
      if (text.endsWith('\ufffd') && ids.length - out < longestCharacter) return ''
      ids = ids.slice(out)
      out = ids.length
      return text
    },
    end() {
      const text = rest()
      ids = []
      out = 0
      return text
    },
  }
}
