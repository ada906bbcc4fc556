/**
 * Attention in which what is not visible cannot matter. A score that is masked gives a share of 0, but 0 · ∞ is NaN: so the products with
 * masked shares must be of finite numbers, forward and back. Numbers that are not finite are taken out before each contraction, and NaN is
 * put into the results of those that see them: nothing is hidden, and nothing reaches who does not see it.
 */
import { names, type Dim } from '../core/dim.ts'
import { sumsIn } from '../graph/half-precision.ts'
import { withGradient } from '../graph/custom.ts'
import { einsum } from '../graph/einsum.ts'
import { broadcastTo } from '../graph/make.ts'
import { full, loose, tensor, where } from '../graph/tensor.ts'
import type { Tensor } from '../graph/types.ts'
import { biased, capSlope, cappedScores, type Scoring } from './scores.ts'

type T = Tensor<string>
export const without = (x: T): T => where(x.isFinite(), x, 0)
/** Over the dims of both. */
export const either = (a: T, b: T): T => wide(a, b).or(wide(b, a))
export const both = (a: T, b: T): T => wide(a, b).and(wide(b, a))
const wide = (a: T, b: T): T => tensor(broadcastTo(a.node, [...a.shape, ...b.shape.filter(d => !names(a.shape).includes(d.name))]))
/** Whether anything is true along the dims that are not kept. */
export function anyBut(x: T, kept: readonly string[]): T {
  const over = names(x.shape).filter(name => !kept.includes(name))
  return over.length === 0 ? x : x.any(...over)
}
export const broken = (x: T, kept: readonly string[]): T => anyBut(x.isFinite().not(), kept)
export const tainted = (by: T, x: T): T => where(anyBut(by, names(x.shape)), loose(full(NaN, x.shape, x.dtype)), x)
const contracted = (a: T, b: T, to: readonly Dim[]): T => loose(einsum([a, b], to as readonly Dim<never>[]))

/** The cotangent of what was spread along dims more. */
export function summedTo(g: T, like: T): T {
  const over = names(g.shape).filter(name => !names(like.shape).includes(name))
  return (over.length === 0 ? g : loose(g.sum(...over))).cast(like.dtype)
}

/** q · k is made over `headDim`; q is scaled. */
export function isolated(q: T, k: T, v: T, visible: T, { headDim, kvSeq, softCap, bias }: { readonly headDim: string; readonly kvSeq: string } & Scoring): T {
  const sums = sumsIn(q.dtype)
  /** Each query's shares of the values; 0 of what it does not see. */
  const shares = (capped: T, visible: T, bias: T | undefined): T => {
    const scores = where(visible, biased(capped, bias), -Infinity)
    const e = scores.sub(scores.max(kvSeq)).exp()
    return where(visible, e.div(e.sum(kvSeq)), 0)
  }
  const parts = (q: T, k: T, v: T, visible: T) => {
    const scores = [...new Set([...names(q.shape), ...names(k.shape)])].filter(name => name !== headDim)
    /** Keys whose own or whose value's numbers are not finite; queries that are so, or see such a key. */
    const keys = either(broken(k, scores), broken(v, scores))
    const queries = either(broken(q, scores), anyBut(both(visible, keys), scores.filter(name => name !== kvSeq)))
    return { q: without(q), k: without(k), v: without(v), keys, queries, scores }
  }
  const inputs = { q, k, v, visible, ...(bias === undefined ? {} : { bias }) }
  return withGradient(inputs, ({ q, k, v, visible, bias }: typeof inputs & { readonly bias?: T }): T => {
    const own = parts(q, k, v, visible)
    return tainted(own.queries, shares(cappedScores(own.q, own.k, headDim, softCap), visible, bias).cast(q.dtype).dot(own.v, kvSeq))
  }, (g, _, { q, k, v, visible, bias }: typeof inputs & { readonly bias?: T }) => {
    const own = parts(q, k, v, visible)
    const capped = cappedScores(own.q, own.k, headDim, softCap)
    const [p, clean] = [shares(capped, visible, bias), without(g)]
    const slope = where(visible, contracted(clean, own.v, p.shape).cast(sums), 0)
    const change = where(visible, p.mul(slope.sub(p.mul(slope).sum(kvSeq))), 0)
    const rise = (softCap === undefined ? change : change.mul(capSlope(capped, softCap))).cast(q.dtype)
    const queries = either(own.queries, broken(g, own.scores))
    const keys = either(own.keys, anyBut(both(visible, queries), [...names(k.shape), ...names(v.shape)]))
    return {
      q: tainted(queries, contracted(rise, own.k, q.shape)),
      k: tainted(keys, contracted(rise, own.q, k.shape)),
      v: tainted(keys, contracted(p.cast(q.dtype), clean, v.shape)),
      visible: undefined,
      ...(bias === undefined ? {} : { bias: summedTo(change, bias) }),
    }
  })
}
