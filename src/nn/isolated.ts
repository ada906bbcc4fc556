/**
 * Attention in which what is not visible cannot matter. A score that is masked gives a share of 0, but 0 · ∞ is NaN: so the products with
 * masked shares must be of finite numbers, forward and back. Numbers that are not finite are taken out before each contraction, and NaN is
 * put into the results of those that see them: nothing is hidden, and nothing reaches who does not see it.
 */
import { names } from '../core/dim.ts'
import { sumsIn } from '../graph/half-precision.ts'
import { withGradient } from '../graph/custom.ts'
import { broadcastTo } from '../graph/make.ts'
import { full, loose, tensor, where } from '../graph/tensor.ts'
import type { Tensor } from '../graph/types.ts'

type T = Tensor<string>
const without = (x: T): T => where(x.isFinite(), x, 0)
/** Where any element along a dim is not finite. */
const broken = (x: T, dim: string): T => x.isFinite().all(dim).not()
const tainted = (where_: T, x: T): T => where(where_, loose(full(NaN, x.shape, x.dtype)), x)

/** q · k is made over `headDim`; q is scaled. */
export function isolated(q: T, k: T, v: T, visible: T, { headDim, kvSeq }: { readonly headDim: string; readonly kvSeq: string }): T {
  const wide = sumsIn(q.dtype)
  // What q has and k has not: the queries' dims.
  const queries = names(q.shape).filter(name => !names(k.shape).includes(name))
  /** Of keys: whether the query sees one of those; of queries: whether one of those sees the key. */
  const seen = (visible: T, by: T, over: readonly string[]): T => {
    const shape = [...visible.shape, ...by.shape.filter(d => !names(visible.shape).includes(d.name))]
    return tensor<string>(broadcastTo(visible.node, shape)).and(by).any(...over)
  }
  /** Each query's shares of the values; 0 of what it does not see. */
  const shares = (q: T, k: T, visible: T): T => {
    const scores = where(visible, q.dot(k, headDim).cast(wide), -Infinity)
    const e = scores.sub(scores.max(kvSeq)).exp()
    return where(visible, e.div(e.sum(kvSeq)), 0)
  }
  const parts = (q: T, k: T, v: T, visible: T) => {
    const bad = broken(k, headDim).or(broken(v, headDim))
    return { q: without(q), k: without(k), v: without(v), bad, badQuery: broken(q, headDim).or(seen(visible, bad, [kvSeq])) }
  }
  return withGradient([q, k, v, visible], ([q, k, v, visible]): T => {
    const own = parts(q, k, v, visible)
    return tainted(own.badQuery, shares(own.q, own.k, visible).cast(q.dtype).dot(own.v, kvSeq))
  }, (g, _, [q, k, v, visible]) => {
    const own = parts(q, k, v, visible)
    const [p, clean] = [shares(own.q, own.k, visible), without(g)]
    const slope = where(visible, clean.dot(own.v, headDim).cast(wide), 0)
    const rise = where(visible, p.mul(slope.sub(p.mul(slope).sum(kvSeq))), 0).cast(q.dtype)
    const badQuery = own.badQuery.or(broken(g, headDim))
    const badKey = own.bad.or(seen(visible, badQuery, queries))
    return [
      tainted(badQuery, rise.dot(own.k, kvSeq)),
      tainted(badKey, rise.dot(own.q, ...queries)),
      tainted(badKey, p.cast(q.dtype).dot(clean, ...queries)),
      undefined,
    ]
  })
}
