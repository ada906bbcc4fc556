/** A piece of a part → its documents' tokens, lengths, sources and mask: what a worker thread does. */
import { crc32 } from 'node:zlib'
import { DataError } from '../../core/errors.ts'
import { documentsOf, type Document, type Piece } from '../documents.ts'
import { encodeChat, templateOf, type ChatRules, type ChatTemplate } from '../tasks/chat.ts'
import { parseTokenizer } from '../tokenizer-json.ts'
import { TokenBuffer } from '../tokenizer-bytes.ts'
import type { Tokenizer } from '../tokenizer.ts'

/** What each document becomes tokens by; plain data, for workers. */
export interface Encoding {
  /** The text of a tokenizer.json. */
  readonly tokenizer: string
  readonly begin: number | null
  readonly end: number | null
  readonly dtype: 'uint16' | 'int32'
  readonly chat: ChatRules
}

/** A chunk before it has a place: its bytes as they go to the files. */
export interface Encoded {
  readonly documents: number
  readonly empty: number
  /** Bytes of text, as UTF-8. */
  readonly text: number
  readonly tokens: Uint8Array
  readonly lengths: Uint8Array
  readonly sources: Uint8Array
  /** Of each token whether it is to be predicted; none where all are. */
  readonly mask: Uint8Array
  readonly crc: { readonly tokens: number; readonly lengths: number; readonly sources: number; readonly mask: number }
}

const asBytes = (a: ArrayBufferView): Uint8Array => new Uint8Array(a.buffer as ArrayBuffer, a.byteOffset, a.byteLength)

/** @throws DataError when a document cannot be read, or a chat cannot be rendered. */
export function pieceEncoder({ tokenizer: json, begin, end, dtype, chat }: Encoding): (piece: Piece) => Promise<Encoded> {
  const tokenizer = parseTokenizer(json, 'the tokenizer')
  const rules = { template: templateOf(chat.template), loss: chat.loss }
  return async piece => {
    // Of this piece alone: while one is read from the disk, another is encoded.
    const out = new TokenBuffer(1 << 16)
    const [lengths, sources]: [number[], string[]] = [[], []]
    let [empty, text] = [0, 0]
    let mask: Uint8Array | undefined
    for await (const document of documentsOf(piece)) {
      const start = out.length
      text += textBytes(document)
      const learnt = encodeDocument(document, tokenizer, rules, begin, end, out)
      if (out.length === start) {
        empty++
        continue
      }
      if (learnt !== undefined) mask ??= new Uint8Array(out.data.length).fill(1, 0, start)
      if (mask !== undefined) {
        if (mask.length < out.length) mask = grown(mask, out.data.length)
        mask.fill(learnt === undefined ? 1 : 0, start, out.length)
        for (const [from, to] of learnt ?? []) mask.fill(1, start + from, start + to)
      }
      lengths.push(out.length - start)
      sources.push(`${JSON.stringify([document.record, document.at])}\n`)
    }
    const ids = out.data.subarray(0, out.length)
    const parts = {
      tokens: asBytes(dtype === 'uint16' ? Uint16Array.from(ids) : ids.slice()), lengths: asBytes(Int32Array.from(lengths)),
      sources: new TextEncoder().encode(sources.join('')), mask: mask?.slice(0, out.length) ?? new Uint8Array(),
    }
    const crc = { tokens: crc32(parts.tokens), lengths: crc32(parts.lengths), sources: crc32(parts.sources), mask: crc32(parts.mask) }
    return { documents: lengths.length, empty, text, ...parts, crc }
  }
}

const textBytes = ({ content }: Document): number =>
  (typeof content === 'string' ? Buffer.byteLength(content) : content.reduce((n, m) => n + Buffer.byteLength(m.content), 0))

function grown(mask: Uint8Array, length: number): Uint8Array {
  const larger = new Uint8Array(length)
  larger.set(mask)
  return larger
}

type Stretch = readonly [from: number, to: number]

/** Appends [begin?] + tokens + [end?], each edge once even where the text has it already. Of a chat: the stretches of it that are learnt. */
function encodeDocument({ content, at }: Document, tokenizer: Tokenizer, chat: { readonly template: ChatTemplate; readonly loss: readonly string[] }, begin: number | null, end: number | null, out: TokenBuffer): readonly Stretch[] | undefined {
  if (content === '') return undefined
  const start = out.length
  if (begin !== null) out.push(begin)
  const textStart = out.length
  let learnt: readonly Stretch[] | undefined
  if (typeof content === 'string') tokenizer.encodeInto(content, out)
  else learnt = encodeChat(content, tokenizer, chat, out, at)
  let moved = textStart - start
  if (begin !== null && out.data[textStart] === begin && out.length > textStart) {
    out.data.copyWithin(start, textStart, out.length)
    out.length--
    moved = 0
  }
  if (end !== null && !(out.length > textStart && out.data[out.length - 1] === end)) out.push(end)
  if (out.length - start >= 2 ** 31) throw new DataError({ code: 'document-too-long', what: `${at} has ${out.length - start} tokens`, fix: 'split it: a document may have 2^31 - 1' })
  return learnt?.map(([from, to]) => [from - textStart + moved, to - textStart + moved])
}
