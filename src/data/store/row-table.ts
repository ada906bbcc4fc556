/** The rows of a store: which stretches of which documents each is made of, and their tokens. Plain data, so that any thread has the same. */
import { DataError } from '../../core/errors.ts'
import { packRows, type Packed } from '../pack.ts'
import { permutation } from '../shuffle.ts'
import type { Draws } from '../tasks/random.ts'
import type { RowTokens, Segment } from '../tasks/rows.ts'
import { chunkOf, type TokenReader } from './reader.ts'
import type { Store } from './store.ts'

/**
 * How documents become rows. `packed`: whole documents beside each other, by best fit, and a row holds one that is longer than it in parts;
 * `padded`: one document a row, cut where it is longer; `windows`: all documents as one text, cut into rows, which see across their edges.
 */
export type RowKind = 'packed' | 'padded' | 'windows'
export type RowTable =
  | { readonly kind: 'packed' | 'padded'; readonly capacity: number; readonly overlap: 0 | 1; readonly starts: Float64Array; readonly packed: Packed }
  | { readonly kind: 'windows'; readonly capacity: number; readonly overlap: 0 | 1; readonly starts: Float64Array; readonly documents: Uint32Array; readonly text: Float64Array; readonly rows: number }

export interface HeldOut {
  /** Of all tokens, about; 0.05 unless told, 0 for none. */
  readonly share?: number
  /** Tokens at most, about: more tell no more of a loss. 2^20 unless told. */
  readonly most?: number
  /** Rows at least, of a text that is short: more than the share then, as long as there are as many to train on. */
  readonly rows?: number
}

/**
 * Documents held out, drawn by a fixed key until they have the share of the tokens: a byte each, 1 for held out. Neither a seed nor a mesh has a say in it.
 * A document that would make it more than twice that is passed over. Undefined where there are too few to leave `needed` tokens for either part.
 * @throws DataError for a share that cannot be
 */
export function heldOutOf(starts: Float64Array, { share = 0.05, most = 2 ** 20 }: HeldOut, needed = 1): Uint8Array | undefined {
  const documents = starts.length - 1
  const held = new Uint8Array(documents)
  if (share === 0) return held
  if (!(share > 0 && share < 1)) throw new DataError({ code: 'held-out', what: `a share of ${share} cannot be held out`, fix: 'give a number from 0 to below 1' })
  const all = starts[documents] as number
  const least = Math.max(needed, Math.min(Math.ceil(all * share), most))
  const at = permutation(documents, 0)
  let tokens = 0
  for (let i = 0; i < documents && tokens < least; i++) {
    const d = at(i)
    const n = (starts[d + 1] as number) - (starts[d] as number)
    if (tokens + n > 2 * least) continue
    held[d] = 1
    tokens += n
  }
  return documents > 1 && tokens >= needed && all - tokens >= needed ? held : undefined
}

/** Rows of a table: all of them, unless the last ones are held out, for lack of documents. */
export interface RowRange { readonly from: number; readonly rows: number }

/** The rows of either part where documents are too few: the last ones are held out, at least one. @throws DataError where there are not two */
export function rangeOf(rows: number, { share = 0.05, rows: least = 1 }: HeldOut, heldOut: boolean, path: string): RowRange {
  const held = Math.max(Math.min(least, Math.floor(rows / 2)), Math.max(1, Math.round(rows * share)))
  if (rows < 2) throw new DataError({ code: 'text-too-short', what: `${path} has ${rows} row${rows === 1 ? '' : 's'}: none can be held out`, fix: 'give more text, ask for a shorter seq, or hold none out' })
  return heldOut ? { from: rows - held, rows: held } : { from: 0, rows: rows - held }
}

/** @throws DataError where the part has no row. */
export function tableOf(store: Store, kind: RowKind, shape: { readonly capacity: number; readonly overlap: 0 | 1 }, isIn: (document: number) => boolean): RowTable {
  const { starts, documents } = store
  const { capacity, overlap } = shape
  const lengthOf = (d: number): number => (starts[d + 1] as number) - (starts[d] as number)
  const table: RowTable = kind === 'windows' ? { kind, ...shape, starts, ...windowsOf(documents, lengthOf, isIn, shape) }
    : { kind, ...shape, starts, packed: packRows(documents, d => (isIn(d) ? Math.max(0, lengthOf(d) - overlap) : 0), capacity, kind === 'packed' ? 'best' : 'alone') }
  if (rowsOf(table) > 0) return table
  throw new DataError({ code: 'text-too-short', what: `${store.path} has not one row of ${capacity} tokens`, details: { documents: `${documents}`, tokens: `${store.tokens}` }, fix: 'give more text, or ask for a shorter seq' })
}

function windowsOf(documents: number, lengthOf: (d: number) => number, isIn: (d: number) => boolean, { capacity, overlap }: { readonly capacity: number; readonly overlap: 0 | 1 }) {
  let count = 0
  for (let d = 0; d < documents; d++) if (isIn(d)) count++
  const chosen = new Uint32Array(new SharedArrayBuffer(4 * count))
  const text = new Float64Array(new SharedArrayBuffer(8 * (count + 1)))
  for (let d = 0, i = 0; d < documents; d++) {
    if (!isIn(d)) continue
    chosen[i] = d
    text[i + 1] = (text[i] as number) + lengthOf(d)
    i++
  }
  return { documents: chosen, text, rows: Math.max(0, Math.floor(((text[count] as number) - overlap) / capacity)) }
}

export const rowsOf = (table: RowTable): number => (table.kind === 'windows' ? table.rows : table.packed.rows)
/** Places of all rows that hold something. */
export const placesOf = (table: RowTable): number => (table.kind === 'windows' ? table.rows * table.capacity : table.packed.rows * table.capacity - table.packed.waste)

/** Tokens `from` on of a document, `length` of them. */
export interface Stretch { readonly document: number; readonly from: number; readonly length: number }

/** What a row is made of. Of a window this includes the token behind it that is its last target. */
export function stretchesOf(table: RowTable, row: number): Stretch[] {
  const { capacity, overlap, starts } = table
  const out: Stretch[] = []
  if (table.kind !== 'windows') {
    const { packed } = table
    for (let item = packed.starts[row] as number; item < (packed.starts[row + 1] as number); item++) {
      const [document, from] = [packed.documents[item] as number, packed.from[item] as number]
      const n = (starts[document + 1] as number) - (starts[document] as number) - overlap
      out.push({ document, from, length: Math.min(capacity, n - from) })
    }
    return out
  }
  const { text, documents } = table
  const end = (row + 1) * capacity + overlap
  for (let at = row * capacity, i = chunkOf(text, at); at < end; i++) {
    const length = Math.min(end, text[i + 1] as number) - at
    if (length > 0) out.push({ document: documents[i] as number, from: at - (text[i] as number), length })
    at += length
  }
  return out
}

/** A row with its tokens. @throws DataError as the reader. */
export function readRow(table: RowTable, reader: TokenReader, row: number, draws: () => Draws): RowTokens {
  const { starts, overlap, capacity } = table
  const stretches = stretchesOf(table, row)
  const read = (parts: readonly Stretch[], tokens: number): Segment => {
    const [ids, learnt] = [new Int32Array(tokens), new Float32Array(tokens)]
    let at = 0
    for (const { document, from, length } of parts) {
      const n = Math.min(length, tokens - at)
      reader.read((starts[document] as number) + from, n, ids, at)
      reader.readMask((starts[document] as number) + from, n, learnt, at)
      at += n
    }
    return { ids, learnt, length: tokens - overlap }
  }
  if (table.kind === 'windows') return { segments: [read(stretches, capacity + overlap)], draws }
  return { segments: stretches.map(s => read([{ ...s, length: s.length + overlap }], s.length + overlap)), draws }
}
