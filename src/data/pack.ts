/** Documents in rows of one length, by best fit: a pure function of their lengths, never of the order in which they are read. */

/** Rows of stretches of documents. A row's stretches are items starts[row] to before starts[row + 1]. */
export interface Packed {
  readonly rows: number
  readonly starts: Uint32Array
  /** Of each item: the document, and the first of its places in it. How many follows from the row's length and the document's. */
  readonly documents: Uint32Array
  readonly from: Float64Array
  /** Places that hold nothing. */
  readonly waste: number
}

export type Fit = 'best' | 'first' | 'alone'

/**
 * Packs stretches of at most `capacity` places. A document of more is cut into stretches of `capacity` and what is left of it; nothing else is cut.
 * `best`: the longest first, each into the row in which it leaves the least (best-fit decreasing, Johnson 1974), of equal ones the one made last; places are
 * found through a tree over what rows have left, so that n stretches cost n·log(capacity). `first`: as they come, into the first row with room. `alone`: a row each.
 * @param places of document i; none of it where 0.
 */
export function packRows(documents: number, places: (document: number) => number, capacity: number, fit: Fit = 'best'): Packed {
  const items = cut(documents, places, capacity)
  const { rowOf, rows } = fit === 'best' ? bestFit(items.lengths, capacity) : fit === 'first' ? firstFit(items.lengths, capacity) : { rowOf: Uint32Array.from(items.lengths, (_, i) => i), rows: items.lengths.length }
  const starts = shared(Uint32Array, rows + 1)
  for (const row of rowOf) starts[row + 1] = (starts[row + 1] as number) + 1
  for (let row = 0; row < rows; row++) starts[row + 1] = (starts[row + 1] as number) + (starts[row] as number)
  const at = starts.slice(0, rows)
  const [inRow, from] = [shared(Uint32Array, items.lengths.length), shared(Float64Array, items.lengths.length)]
  let used = 0
  // In the order of the documents, so that a row has its own in their order.
  rowOf.forEach((row, item) => {
    const to = at[row] as number
    at[row] = to + 1
    inRow[to] = items.documents[item] as number
    from[to] = items.from[item] as number
    used += items.lengths[item] as number
  })
  return { rows, starts, documents: inRow, from, waste: rows * capacity - used }
}

function shared<A extends Uint32Array | Float64Array>(kind: { new (buffer: SharedArrayBuffer): A; readonly BYTES_PER_ELEMENT: number }, length: number): A {
  return new kind(new SharedArrayBuffer(kind.BYTES_PER_ELEMENT * length))
}

function cut(documents: number, places: (document: number) => number, capacity: number) {
  let count = 0
  for (let d = 0; d < documents; d++) count += Math.ceil(places(d) / capacity)
  const out = { lengths: new Uint32Array(count), documents: new Uint32Array(count), from: new Float64Array(count) }
  let item = 0
  for (let d = 0; d < documents; d++) {
    const n = places(d)
    for (let from = 0; from < n; from += capacity, item++) {
      out.lengths[item] = Math.min(capacity, n - from)
      out.documents[item] = d
      out.from[item] = from
    }
  }
  return out
}

interface Rowed { readonly rowOf: Uint32Array; readonly rows: number }

function bestFit(lengths: Uint32Array, capacity: number): Rowed {
  const byLength = sorted(lengths, capacity)
  const rowOf = new Uint32Array(lengths.length)
  // Rows with so much room, as lists linked through `below`; a tree of sums over the amounts of room finds the least that suffices.
  const top = new Int32Array(capacity + 1).fill(-1)
  const below: number[] = []
  const leaves = 2 ** Math.ceil(Math.log2(capacity + 1))
  const any = new Uint8Array(2 * leaves)
  const mark = (room: number): void => {
    for (let at = leaves + room, on = top[room] === -1 ? 0 : 1; at >= 1; at >>= 1, on = (any[2 * at] as number) | (any[2 * at + 1] as number)) {
      if (any[at] === on) break
      any[at] = on
    }
  }
  const put = (row: number, room: number): void => {
    below[row] = top[room] as number
    top[room] = row
    mark(room)
  }
  for (const item of byLength) {
    const length = lengths[item] as number
    const room = leastFrom(any, leaves, length)
    const row = room < 0 ? below.length : top[room] as number
    if (room >= 0) {
      top[room] = below[row] as number
      mark(room)
    }
    rowOf[item] = row
    put(row, (room < 0 ? capacity : room) - length)
  }
  return { rowOf, rows: below.length }
}

/** The least marked amount from `least` on, or -1. */
function leastFrom(any: Uint8Array, leaves: number, least: number): number {
  let at = leaves + least
  if (any[at] === 1) return least
  // Up to the first right sibling with a mark, then down to its leftmost.
  for (; at > 1; at >>= 1) {
    if (at % 2 === 0 && any[at + 1] === 1) {
      for (at++; at < leaves;) at = any[2 * at] === 1 ? 2 * at : 2 * at + 1
      return at - leaves
    }
  }
  return -1
}

/** Items by length, the longest first, equal ones in their order. */
function sorted(lengths: Uint32Array, capacity: number): Uint32Array {
  const at = new Uint32Array(capacity + 2)
  for (const n of lengths) at[capacity - n + 1] = (at[capacity - n + 1] as number) + 1
  for (let i = 1; i < at.length; i++) at[i] = (at[i] as number) + (at[i - 1] as number)
  const order = new Uint32Array(lengths.length)
  lengths.forEach((n, item) => { const to = at[capacity - n] as number; at[capacity - n] = to + 1; order[to] = item })
  return order
}

function firstFit(lengths: Uint32Array, capacity: number): Rowed {
  // A tree of the most room that any row below has; a row that is not begun has all of it.
  const leaves = 2 ** Math.ceil(Math.log2(Math.max(2, lengths.length)))
  const most = new Uint32Array(2 * leaves).fill(capacity)
  const rowOf = new Uint32Array(lengths.length)
  let rows = 0
  lengths.forEach((length, item) => {
    let at = 1
    while (at < leaves) at = (most[2 * at] as number) >= length ? 2 * at : 2 * at + 1
    const row = at - leaves
    rowOf[item] = row
    rows = Math.max(rows, row + 1)
    most[at] = (most[at] as number) - length
    for (at >>= 1; at >= 1; at >>= 1) most[at] = Math.max(most[2 * at] as number, most[2 * at + 1] as number)
  })
  return { rowOf, rows }
}
