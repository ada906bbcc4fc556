/** Which blocks of keys a block of queries can see anything of, and the other way round: the others are not computed. */
import { full, isTensor, loose } from '../graph/tensor.ts'
import type { AnyTensor, Scalar } from '../graph/types.ts'

/** How many queries and keys a block has, and how many blocks there are of each. */
export interface Blocks { readonly query: number; readonly key: number; readonly queries: number; readonly keys: number }
/** From a block on, up to before another. */
export interface Range { readonly start: Scalar; readonly end: Scalar }
/** As `Visibility` has it; a prefix is seen from everywhere within the window. */
export interface Seen { readonly causal: boolean; readonly window: number | AnyTensor | undefined; readonly prefix: boolean }

const whole = (n: number): Scalar => full(n, [], 'i32')
/** The block that has a position, which may be below 0: then the first. */
const blockOf = (position: Scalar, size: number): Scalar => position.maximum(0).div(size)
const by = (window: number | AnyTensor): number | Scalar => (isTensor(window) ? loose(window) as unknown as Scalar : window as number)

/** Blocks of keys that queries of a block see. */
export function keyRange(b: Blocks, seen: Seen | undefined, index: Scalar): Range {
  const first = index.mul(b.query)
  const last = first.add(b.query - 1)
  const before = seen?.causal === true && !seen.prefix
  const start = seen?.window === undefined ? whole(0) : blockOf(first.sub(by(seen.window)).add(1), b.key)
  const end = before ? blockOf(last, b.key).add(1) : seen?.window === undefined ? whole(b.keys) : blockOf(last.add(limited(seen.window, b)).sub(1), b.key).add(1)
  return { start, end: end.minimum(b.keys) }
}

/** Blocks of queries that see keys of a block. */
export function queryRange(b: Blocks, seen: Seen | undefined, index: Scalar): Range {
  const first = index.mul(b.key)
  const last = first.add(b.key - 1)
  const before = seen?.causal === true && !seen.prefix
  const start = before ? blockOf(first, b.query) : seen?.window === undefined ? whole(0) : blockOf(first.sub(by(seen.window)).add(1), b.query)
  const end = seen?.window === undefined ? whole(b.queries) : blockOf(last.add(limited(seen.window, b)).sub(1), b.query).add(1)
  return { start, end: end.minimum(b.queries) }
}

/** A window no wider than everything, so that nothing overflows. */
function limited(window: number | AnyTensor, b: Blocks): number | Scalar {
  const most = b.query * b.queries + b.key * b.keys
  return isTensor(window) ? (loose(window) as unknown as Scalar).minimum(most) : Math.min(window as number, most)
}

/** Where there is nothing but causality: the first block of keys of which queries of a block do not see all. */
export const keysInWhole = (b: Blocks, index: Scalar): Scalar => index.mul(b.query).add(1).div(b.key)
/** The first block of queries that all see all keys of a block. */
export const queriesInWhole = (b: Blocks, index: Scalar): Scalar => index.mul(b.key).add(b.key - 1 + b.query - 1).div(b.query).minimum(b.queries)
