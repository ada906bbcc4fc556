/**
 * A chunk of queries meets a chunk of keys and values: what blockwise attention does between two parts of a sequence, for all parts at once. Both lie in lanes (a dim of
 * blocks of the sequence) along which everything goes elementwise, so that each device works on its own; where a part lies in the sequence is a number of the
 * lane. A pair of blocks of which a device sees nothing in any lane of its is not computed. Sums and shares are f32 of halves.
 */
import { names, type Dim } from '../core/dim.ts'
import type { DType } from '../core/dtype.ts'
import { whereAny } from '../graph/cond.ts'
import { einsum } from '../graph/einsum.ts'
import { broadcastTo } from '../graph/make.ts'
import { scan } from '../graph/scan.ts'
import { full, iota, loose, tensor, where } from '../graph/tensor.ts'
import type { AnyTensor, Tensor, Tree } from '../graph/types.ts'
import { anyBut, both, broken, either, without } from './isolated.ts'
import { capSlope, cappedScores } from './scores.ts'
import { visibleIn, type Visibility } from './visible.ts'

type T = Tensor<string>
/** What is so of all meetings of a sequence. The dims `rows` and `keys` are those of a chunk. */
export interface Terms {
  readonly lanes: Dim
  readonly rows: Dim
  readonly keys: Dim
  readonly headDim: Dim
  /** The largest blocks of queries and keys. */
  readonly block: number
  readonly softCap: number | undefined
  readonly isolate: boolean
  readonly sums: DType
  readonly causal: boolean
  readonly window: number | AnyTensor | undefined
}
/** `first`: of each lane the place of its first element, i32. */
export interface Queries { readonly q: T; readonly first: T; readonly segments?: T }
export interface Keys { readonly k: T; readonly v: T; readonly first: T; readonly segments?: T; readonly prefix?: T; readonly keep?: T }
/** Of each query the largest score so far, the sum of shares by it, and of the values times these. A sum is NaN where numbers were seen that are not finite. */
export type Sums = { readonly most: T; readonly sum: T; readonly value: T }
/** What backward is known of the queries: the cotangent, the logsumexp of the scores, the products of cotangent and result, and whose numbers are not finite. */
export interface Known { readonly g: T; readonly lse: T; readonly inner: T; readonly odd?: T }
export type Changes = { readonly dq: T; readonly dk: T; readonly dv: T }

export const ordered = (x: T, dims: readonly Dim[]): T => tensor(broadcastTo(x.node, dims))
const filled = (value: number, dims: readonly Dim[], dtype: DType): T => loose(full(value, dims as unknown as readonly Dim<never>[], dtype))
const unique = (dims: readonly Dim[]): Dim[] => dims.filter((d, i) => dims.findIndex(e => e.name === d.name) === i)
const has = (x: T, d: Dim): boolean => names(x.shape).includes(d.name)
/** Queries' dims but `headDim`, lanes and rows last: of what there is one of for each query. */
export const lineOf = (q: T, { lanes, rows, headDim }: Terms): Dim[] => {
  const last = [lanes, rows].map(d => d.name)
  return [...q.shape.filter(d => d.name !== headDim.name && !last.includes(d.name)), ...last.flatMap(name => q.shape.filter(d => d.name === name))]
}

/** As few equal blocks as are none larger than `most`. */
export const blocksOf = (size: number, most: number): number => { let n = Math.ceil(size / Math.min(most, size)); while (size % n !== 0) n++; return n }

/** A dim walked in blocks; one block is not walked. */
class Walk {
  readonly over: Dim
  readonly block: Dim
  readonly count: number
  constructor(dim: Dim, most: number) {
    this.count = blocksOf(dim.size, most)
    this.over = { name: `${dim.name}Blocks`, size: this.count }
    this.block = { name: dim.name, size: dim.size / this.count }
  }

  /** With the blocks first, the block's dim and then `last` last. */
  cut(x: T, ...last: readonly Dim[]): T {
    const y = this.count === 1 || !has(x, this.block) ? x : x.split(this.block.name, [this.over, this.block])
    const back = [this.block, ...last].map(d => d.name).filter(name => names(y.shape).includes(name))
    const [front, end] = [y.shape.filter(d => !back.includes(d.name)), back.flatMap(name => y.shape.filter(d => d.name === name))]
    return ordered(y, [...front.filter(d => d.name === this.over.name), ...front.filter(d => d.name !== this.over.name), ...end])
  }

  /** What the body makes of each block lies as `cut` has it; `join` makes it whole. */
  all<S extends Tree, X extends { readonly [name: string]: T | undefined }, Y extends { readonly [name: string]: T }>(state: S, xs: X, body: (s: S, x: X, first: T) => readonly [S, Y]): readonly [S, Y] {
    if (this.count === 1) return body(state, xs, loose(full(0, [], 'i32')))
    const walked = Object.fromEntries(Object.entries(xs).filter(([, x]) => x !== undefined)) as { readonly [name: string]: T }
    const [end, ys] = scan(this.over as Dim<never>, state, { walked, index: iota(this.over) } as unknown as { readonly [name: string]: T }, (s, x) => {
      const { walked: own, index } = x as unknown as { readonly walked: X; readonly index: T }
      return body(s as S, own, index.mul(this.block.size))
    })
    return [end, ys as unknown as Y]
  }

  join(x: T): T { return this.count === 1 ? x : x.merge([this.over.name, this.block.name], { name: this.block.name, size: this.block.size * this.count }) }
}

interface Pair { readonly rows: Dim; readonly keys: Dim; readonly i: T; readonly j: T }
/** What the queries of a block see of the keys of another; undefined where everything sees everything. */
function visibleOf(t: Terms, { rows, keys, i, j }: Pair, q: { readonly segments?: T | undefined }, k: { readonly [N in 'segments' | 'prefix' | 'keep']?: T | undefined }): T | undefined {
  const places = { seq: wide(i, rows).add(iota(rows)), kvSeq: wide(j, keys).add(iota(keys)) }
  const visible: Visibility = { seq: rows, kvSeq: keys, causal: t.causal, window: t.window, isolate: t.isolate, places, queries: present({ segments: q.segments }), keys: present({ segments: k.segments, prefix: k.prefix, keep: k.keep }) }
  return visibleIn(visible)
}
const wide = (x: T, along: Dim): T => ordered(x, [...x.shape, along])
export const present = <O extends { readonly [name: string]: unknown }>(o: O): { readonly [K in keyof O]?: Exclude<O[K], undefined> } =>
  Object.fromEntries(Object.entries(o).filter(([, x]) => x !== undefined)) as never

/** Of each lane whether its queries may see any of its keys, by their places alone; undefined where all may. */
function meets(t: Terms, { rows, keys, i, j }: Pair, prefixed: boolean): T | undefined {
  const near = t.window === undefined ? undefined : (from: T): T => from.less(typeof t.window === 'number' ? t.window : loose(t.window as AnyTensor))
  const [ahead, behind] = [(): T => difference(j, i).sub(rows.size - 1), (): T => difference(i, j).sub(keys.size - 1)]
  const told = [
    t.causal && !prefixed ? ahead().lessEqual(0) : undefined, near?.(behind()), t.causal && !prefixed ? undefined : near?.(ahead()),
  ].filter(x => x !== undefined)
  return told.reduce<T | undefined>((all, x) => (all === undefined ? x : both(all, x)), undefined)
}
const difference = (a: T, b: T): T => (a.shape.length >= b.shape.length ? a.sub(b) : b.sub(a).neg())
const unless = <S extends Tree>(p: T | undefined, yes: () => S, no: S): S => (p === undefined ? yes() : whereAny(p, yes, () => no))

const brokenKeys = (t: Terms, { k, v }: Keys, q: T): T | undefined => {
  if (!t.isolate) return undefined
  const kept = names(unique([...q.shape, ...k.shape])).filter(name => name !== t.headDim.name)
  return either(broken(k, kept), broken(v, kept))
}
const clean = (t: Terms, x: T): T => (t.isolate ? without(x) : x)

/** The sums with these keys among them. `whole`: every query sees every key. */
export function met(t: Terms, { q, first, segments }: Queries, keys: Keys, sums: Sums | undefined, whole = false): Sums {
  const [rowWalk, keyWalk] = [new Walk(t.rows, t.block), new Walk({ ...t.keys, size: keys.k.shape.find(d => d.name === t.keys.name)?.size ?? 1 }, t.block)]
  const [rows, cols] = [rowWalk.block, keyWalk.block]
  const line = lineOf(q, t).map(d => (d.name === rows.name ? rows : d))
  const value = [...line.filter(d => d.name !== rows.name), ...keys.v.shape.filter(d => d.name === t.headDim.name), rows]
  const xs = { k: keyWalk.cut(clean(t, keys.k), t.headDim), v: keyWalk.cut(clean(t, keys.v)), odd: optional(brokenKeys(t, keys, q), x => keyWalk.cut(x)), segments: optional(keys.segments, x => keyWalk.cut(x)), prefix: optional(keys.prefix, x => keyWalk.cut(x)), keep: optional(keys.keep, x => keyWalk.cut(x)) }
  const given = { q: rowWalk.cut(clean(t, q), t.headDim), segments: optional(segments, x => rowWalk.cut(x)), ...(sums === undefined ? {} : { most: rowWalk.cut(sums.most), sum: rowWalk.cut(sums.sum), value: rowWalk.cut(sums.value) }) }
  const [, found] = rowWalk.all({}, given as { readonly [name: string]: T | undefined }, (_, x, i) => {
    const own = x as unknown as typeof given & Partial<Sums>
    const qi = own.q.cast(t.sums)
    const init: Sums = { most: own.most ?? filled(-Infinity, line, t.sums), sum: own.sum ?? filled(0, line, t.sums), value: own.value ?? filled(0, value, t.sums) }
    const turn = (s: Sums, y: typeof xs, j: T): Sums => {
      const pair = { rows, keys: cols, i: from(first, i), j: from(keys.first, j) }
      return unless(whole ? undefined : meets(t, pair, keys.prefix !== undefined), () => {
        const visible = whole ? undefined : visibleOf(t, pair, own, y)
        const scores = cappedScores(y.k.cast(t.sums), qi, t.headDim.name, t.softCap)
        const masked = visible === undefined ? scores : where(visible, scores, -Infinity)
        const most = ordered(loose(s.most.maximum(ordered(masked.max(cols.name), line))), line)
        // Where nothing has been seen yet there is nothing to shift by.
        const shift = where(most.equal(-Infinity), filled(0, line, t.sums), most)
        const shares = masked.sub(shift).exp()
        const kept = s.most.sub(shift).exp()
        const seen = s.sum.mul(kept).add(ordered(shares.sum(cols.name), line))
        const odd = y.odd === undefined ? undefined : anyBut(visible === undefined ? y.odd : both(visible, y.odd), names(line))
        return {
          most, sum: ordered(odd === undefined ? seen : where(odd, loose(full(NaN, seen.shape, t.sums)), seen), line),
          value: ordered(s.value.mul(kept).add(ordered(loose(y.v.cast(t.sums).dot(shares, cols.name)), s.value.shape)), value),
        }
      }, s)
    }
    const [done] = keyWalk.all<Sums, typeof xs, { readonly [name: string]: T }>(init, xs, (s, y, j) => [turn(s, y, j), {}])
    return [{}, done]
  })
  const { most, sum, value: values } = found as unknown as Sums
  return { most: rowWalk.join(most), sum: rowWalk.join(sum), value: rowWalk.join(values) }
}
const optional = (x: T | undefined, f: (x: T) => T): T | undefined => (x === undefined ? undefined : f(x))
const from = (first: T, offset: T): T => (first.shape.length >= offset.shape.length ? first.add(offset) : offset.add(first))

/** What these keys and values add to the gradients of the queries, and get themselves: f32 of halves, NaN where something that is not finite was seen. */
export function metBack(t: Terms, { q, first, segments }: Queries, known: Known, keys: Keys, whole = false): Changes {
  const [rowWalk, keyWalk] = [new Walk(t.rows, t.block), new Walk({ ...t.keys, size: keys.k.shape.find(d => d.name === t.keys.name)?.size ?? 1 }, t.block)]
  const [rows, cols] = [rowWalk.block, keyWalk.block]
  const given = {
    q: rowWalk.cut(clean(t, q), t.headDim), g: rowWalk.cut(known.g, t.headDim), lse: rowWalk.cut(known.lse), inner: rowWalk.cut(known.inner), odd: optional(known.odd, x => rowWalk.cut(x)), segments: optional(segments, x => rowWalk.cut(x)),
  }
  const xs = { k: keyWalk.cut(clean(t, keys.k), t.headDim), v: keyWalk.cut(clean(t, keys.v), t.headDim), odd: optional(brokenKeys(t, keys, q), x => keyWalk.cut(x)), segments: optional(keys.segments, x => keyWalk.cut(x)), prefix: optional(keys.prefix, x => keyWalk.cut(x)), keep: optional(keys.keep, x => keyWalk.cut(x)) }
  const inBlock = (x: T, walk: Walk): Dim[] => x.shape.filter(d => d.name !== walk.over.name)
  // Each lane of queries has changes of its own of keys that all lanes share.
  const laned = (x: T): Dim[] => unique([t.lanes, ...inBlock(x, keyWalk)])
  const dims = { q: inBlock(given.q, rowWalk), k: laned(xs.k), v: laned(xs.v) }
  const init = keyWalk.count === 1 ? {} : { dq: filled(0, rowWalk.count === 1 ? dims.q : [rowWalk.over, ...dims.q], t.sums) }
  const [{ dq }, { dk, dv, ...rest }] = keyWalk.all<{ readonly dq?: T }, typeof xs, { readonly [name: string]: T }>(init, xs, (before, y, j) => {
    const [kj, vj] = [y.k.cast(t.sums), y.v.cast(t.sums)]
    const start = { dk: filled(0, dims.k, t.sums), dv: filled(0, dims.v, t.sums) }
    const [found, { dq }] = rowWalk.all<typeof start, typeof given & { readonly before?: T | undefined }, { readonly dq: T }>(start, { ...given, ...(before.dq === undefined ? {} : { before: before.dq }) }, (s, x, i) => {
      const pair = { rows, keys: cols, i: from(first, i), j: from(keys.first, j) }
      const state = { ...s, dq: x.before ?? filled(0, dims.q, t.sums) }
      const { dq, ...sums } = unless<Changes>(whole ? undefined : meets(t, pair, keys.prefix !== undefined), () => {
        const [qi, gi] = [x.q.cast(t.sums), x.g.cast(t.sums)]
        const visible = whole ? undefined : visibleOf(t, pair, x, y)
        const masked = (z: T): T => (visible === undefined ? z : where(visible, z, 0))
        const capped = cappedScores(kj, qi, t.headDim.name, t.softCap)
        const shares = masked(capped.sub(x.lse).exp())
        const change = masked(shares.mul(contracted(vj, gi, shares.shape).sub(x.inner)))
        const rise = t.softCap === undefined ? change : change.mul(capSlope(capped, t.softCap))
        const oddRows = x.odd === undefined ? undefined : visible === undefined ? x.odd : both(visible, x.odd)
        const odd = oddRows === undefined || y.odd === undefined ? undefined : either(oddRows, y.odd)
        const added = (into: T, z: T): T => { const all = into.add(z); return odd === undefined ? all : where(anyBut(odd, names(all.shape).filter(name => name !== t.headDim.name)), loose(full(NaN, all.shape, all.dtype)), all) }
        return { dq: state.dq.add(contracted(kj, rise, dims.q)), dk: added(s.dk, contracted(rise, qi, dims.k)), dv: added(s.dv, contracted(shares, gi, dims.v)) }
      }, state)
      return [sums, { dq }]
    })
    if (keyWalk.count === 1) return [{}, { ...found, dq }]
    return [{ dq }, found]
  })
  const queries = dq ?? rest['dq']
  if (queries === undefined || dk === undefined || dv === undefined) throw new Error('a meeting changes queries, keys and values')
  return { dq: rowWalk.join(queries), dk: keyWalk.join(dk), dv: keyWalk.join(dv) }
}
const contracted = (a: T, b: T, to: readonly Dim[]): T => loose(einsum([a, b], to as readonly Dim<never>[]))
