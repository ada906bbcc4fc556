/** A stream of bytes, cut into pieces between its records. */
import { tooLong } from './faults.ts'
import type { PieceLayout } from './types.ts'

/** Finds where records end; what lies between two of them is its own business. */
export interface Scanner {
  /** Bytes a record may have. */
  readonly most: number
  /** What a record is called: "a line". */
  readonly record: string
  /** Records that have ended so far. */
  readonly records: number
  /** Whether what comes before the first record, as a header does, is over: it belongs to no piece. */
  readonly started: boolean
  /** What a piece needs that begins here, at the end of a record. */
  layout(): PieceLayout | undefined
  /** Where in the file the user finds the record that is open. */
  place(): string
  /** After `end` said that more is needed: bytes of the window before this need not be shown again. */
  readonly seen: number
  /** Where, counted from the file's start, the record began that is open. */
  readonly opened: number
  /** The place in the window behind the next record, looked for from `from` on, or -1 where more is needed. `base` is the window's own place; after `last` nothing comes. */
  end(window: Buffer, base: number, from: number, last: boolean): number
}

/** A piece without its part and its number: bytes [from, to) of the stream. */
export interface Cut { readonly first: number; readonly from: number; readonly to: number; readonly data?: Uint8Array; readonly layout?: PieceLayout }

/**
 * Cuts behind the first record that ends `bytes` or more behind the last cut: the same cuts, however the stream comes in chunks. `keep`
 * says whether the pieces get their bytes with them.
 * @throws DataError for a record that is too large, and what the scanner finds.
 */
export async function* cut(chunks: AsyncIterable<Buffer>, scanner: Scanner, bytes: number, keep: (index: number) => boolean): AsyncGenerator<Cut> {
  // The window holds what has come and is not done with; base is where it begins in the stream, start where the open piece does.
  let window: Buffer = Buffer.alloc(0)
  let [base, start, first, index] = [0, 0, 0, 0]
  let layout = scanner.layout()
  let kept: Uint8Array[] = []
  let pending: Buffer[] = []
  const piece = (to: number): Cut => {
    const made: Cut = { first, from: start, to, ...(keep(index) ? { data: joined(kept) } : {}), ...(layout === undefined ? {} : { layout }) }
    kept = []
    index++
    start = to
    first = scanner.records
    layout = scanner.layout()
    return made
  }
  function* through(last: boolean): Generator<Cut> {
    let from = 0
    let taken = 0
    const take = (to: number): void => {
      if (to > taken && keep(index)) kept.push(Uint8Array.from(window.subarray(taken, to)))
      taken = Math.max(taken, to)
    }
    for (;;) {
      const { started } = scanner
      const end = scanner.end(window, base, from, last)
      if (end < 0) break
      from = end
      if (!started) {
        start = base + end
        taken = end
        layout = scanner.layout()
      } else if (base + end - start >= bytes) {
        take(end)
        yield piece(base + end)
      }
    }
    const done = last ? window.length : scanner.seen
    take(done)
    window = window.subarray(done)
    base += done
    if (!last && base + window.length - scanner.opened > scanner.most) throw tooLong(scanner.record, scanner.place(), scanner.most)
  }
  for await (const chunk of chunks) {
    // While a record is open that has to be seen whole, the window doubles, so that nothing is looked at more than twice.
    if (window.length + pendingBytes(pending) > 0) {
      pending.push(Buffer.from(chunk))
      if (pendingBytes(pending) < window.length && window.length + pendingBytes(pending) <= scanner.most) continue
      window = Buffer.concat([window, ...pending])
      pending = []
    } else window = chunk
    yield* through(false)
    // The chunk will be overwritten.
    if (window.length > 0) window = Buffer.from(window)
  }
  window = Buffer.concat([window, ...pending])
  yield* through(true)
  if (scanner.records > first) yield piece(base)
}

const pendingBytes = (parts: readonly Buffer[]): number => parts.reduce((n, p) => n + p.length, 0)

/** As one array of its own, which can be handed to another thread. */
function joined(parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((n, p) => n + p.length, 0))
  let at = 0
  for (const part of parts) {
    all.set(part, at)
    at += part.length
  }
  return all
}

/** Whether nothing but ASCII white space lies in [from, to). */
export function isBlank(bytes: Uint8Array, from: number, to: number): boolean {
  for (let i = from; i < to; i++) {
    const byte = bytes[i] as number
    if (byte > 32 || (byte !== 32 && (byte < 9 || byte > 13))) return false
  }
  return true
}

/** Line feeds in [from, to). */
export function linesIn(bytes: Buffer, from: number, to: number): number {
  let count = 0
  for (let i = bytes.indexOf(10, from); i >= 0 && i < to; i = bytes.indexOf(10, i + 1)) count++
  return count
}
