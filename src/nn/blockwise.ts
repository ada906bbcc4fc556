/**
 * Attention that never holds the scores of all queries with all keys: blocks of them at a time, with an online softmax (Milakov and Gimelshein 2018; Rabe and Staats
 * 2021; FlashAttention, Dao et al. 2022). Backward the scores of a block are made again of its queries' logsumexp, which is all that is kept beside
 * the result. Blocks that lie behind a causal mask or outside of a window are not computed, and those of which everything is seen not masked.
 *
 * Scores lie with the keys before the queries, so that maxima and sums over keys are elementwise over rows of queries, and so that each of the seven contractions is one of
 * rows by columns as it lies. What stays transposed is what has a head's elements in it, which are fewer.
 */
import { hiddenName, names, type Dim } from '../core/dim.ts'
import type { DType } from '../core/dtype.ts'
import { sumsIn } from '../graph/half-precision.ts'
import { withGradient } from '../graph/custom.ts'
import { einsum } from '../graph/einsum.ts'
import { dynamicSlice, dynamicUpdate } from '../graph/indexing.ts'
import { broadcastTo } from '../graph/make.ts'
import { concat, pad, slice } from '../graph/rearrange.ts'
import { scan } from '../graph/scan.ts'
import { full, iota, loose, tensor, where } from '../graph/tensor.ts'
import type { AnyTensor, Scalar, Tensor } from '../graph/types.ts'
import { whileLoop } from '../graph/while.ts'
import { keyRange, keysInWhole, queriesInWhole, queryRange, type Blocks, type Range } from './block-ranges.ts'
import { anyBut, both, broken, either, summedTo, tainted, without } from './isolated.ts'
import { biased, capSlope, cappedScores, type Scoring } from './scores.ts'
import { visibleIn, type Visibility } from './visible.ts'

type T = Tensor<string>
export interface Blockwise extends Scoring {
  readonly headDim: Dim
  readonly seq: Dim
  readonly kvSeq: Dim
  /** How many queries, and keys, at a time. */
  readonly block: number
  /** What sees what: by places, or bools over dims of the scores; everything unless said. */
  readonly visible: Visibility | AnyTensor | undefined
  readonly isolate: boolean
}

const isVisibility = (x: Visibility | AnyTensor | undefined): x is Visibility => x !== undefined && 'places' in x
const filledWith = (value: number, dims: readonly Dim[], dtype: DType): T => loose(full(value, dims as unknown as readonly Dim<never>[], dtype))
const zeros = (dims: readonly Dim[], like: T): T => filledWith(0, dims, like.dtype)
const ordered = (x: T, dims: readonly Dim[]): T => tensor(broadcastTo(x.node, dims))
const contracted = (a: T, b: T, to: readonly Dim[]): T => loose(einsum([a, b], to as readonly Dim<never>[]))
const padded = (x: T, { name, size }: Dim, whole: number): T => (whole === size || !names(x.shape).includes(name) ? x : loose(pad(x, name, 0, whole - size)))
const cut = (x: T, { name, size }: Dim): T => ((x.shape.find(d => d.name === name)?.size ?? size) === size ? x : loose(slice(x, name, { end: size })))

/** q is scaled. @returns over the dims of queries and values, of q's dtype */
export function blockwise(q: T, k: T, v: T, options: Blockwise): T {
  const { name } = options.headDim
  // What is kept of each query lies along `headDim` beside its values: so these must have it.
  return names(v.shape).includes(name) ? inLoops(q, k, v, options) : loose(inLoops(q, k, ordered(v, [...v.shape, { name, size: 1 }]), options).sum(name))
}

function inLoops(q: T, k: T, v: T, options: Blockwise): T {
  const { headDim, seq, kvSeq, block, softCap, isolate } = options
  const sums = sumsIn(q.dtype)
  const named = isVisibility(options.visible) ? options.visible : undefined
  const mask = named === undefined && options.visible !== undefined ? loose(options.visible as AnyTensor) : undefined
  const sizeOf = (dim: Dim): number => Math.min(block, dim.size)
  const blocks: Blocks = { query: sizeOf(seq), key: sizeOf(kvSeq), queries: Math.ceil(seq.size / sizeOf(seq)), keys: Math.ceil(kvSeq.size / sizeOf(kvSeq)) }
  const [rows, cols]: readonly [Dim, Dim] = [{ name: seq.name, size: blocks.query }, { name: kvSeq.name, size: blocks.key }]
  const wholes: { readonly [name: string]: number } = { [seq.name]: blocks.query * blocks.queries, [kvSeq.name]: blocks.key * blocks.keys }
  /** Filled up to whole blocks, with the dim that is cut after the others. */
  const filled = (x: T): T => [seq, kvSeq].reduce((y, dim) => padded(y, dim, wholes[dim.name] ?? dim.size), x)
  /** With these dims last. */
  const laid = (x: T, ...last: readonly string[]): T => {
    const whole = filled(x)
    return ordered(whole, [...whole.shape.filter(d => !last.includes(d.name)), ...last.flatMap(name => whole.shape.filter(d => d.name === name))])
  }
  const [queries, keys, elements] = [seq.name, kvSeq.name, headDim.name]
  const scoreDims = (q: T, k: T): Dim[] => [...q.shape, ...k.shape].filter((d, i, all) => d.name !== headDim.name && all.findIndex(e => e.name === d.name) === i)
  /** One block's part of what has the dim, from a number of elements on. */
  const at = (x: T, start: Scalar, to: Dim): T => (names(x.shape).includes(to.name) ? loose(dynamicSlice(x, to.name, start, to as Dim<never>)) : x)
  const startOf = (index: Scalar, size: number): Scalar => index.mul(size)
  /** What the queries of one block see of the keys of another; undefined where everything sees everything. */
  const seen = (i: Scalar, j: Scalar, given: Given): T | undefined => {
    const places = { seq: loose(iota(rows)).add(i), kvSeq: loose(iota(cols)).add(j) }
    const inside = blocks.key * blocks.keys === kvSeq.size ? undefined : places.kvSeq.less(kvSeq.size)
    const part = (x: AnyTensor | undefined, start: Scalar, to: Dim): AnyTensor | undefined => (x === undefined ? undefined : at(loose(x), start, to))
    const told = named !== undefined ? visibleIn({
      ...named, seq: rows, kvSeq: cols, places, window: given.window ?? named.window, queries: present({ segments: part(given.rowSegments, i, rows) }),
      keys: present({ segments: part(given.colSegments, j, cols), prefix: part(given.prefix, j, cols), keep: part(given.keep, j, cols) }),
    }) : given.mask === undefined ? undefined : at(at(given.mask, i, rows), j, cols)
    return told === undefined ? inside : inside === undefined ? told : both(told, inside)
  }
  /** Numbers that say what is visible, as inputs: in the backward pass they are those that are given there. */
  interface Given { readonly q: T; readonly k: T; readonly v: T; readonly bias?: T; readonly mask?: T; readonly window?: T; readonly rowSegments?: T; readonly colSegments?: T; readonly prefix?: T; readonly keep?: T }
  const range = <K>(f: (b: Blocks, v: Pick<Visibility, 'causal' | 'window'> & { readonly prefix: boolean } | undefined, index: Scalar) => K, given: Given, index: Scalar): K =>
    f(blocks, named === undefined ? undefined : { causal: named.causal, window: given.window ?? named.window, prefix: named.keys.prefix !== undefined }, index)

  /** Whether numbers of keys or values are not finite, and of queries: with those in their place that are. */
  const cleaned = (given: Given): { readonly q: T; readonly k: T; readonly v: T; readonly keys?: T; readonly queries?: T } => {
    if (!isolate) return given
    const kept = names(scoreDims(given.q, given.k))
    return { q: without(given.q), k: without(given.k), v: without(given.v), keys: either(broken(given.k, kept), broken(given.v, kept)), queries: broken(given.q, kept) }
  }
  const scoresOf = (q: T, k: T, bias: T | undefined, i: Scalar, j: Scalar): { readonly capped: T; readonly scores: T } => {
    const capped = cappedScores(k, q, headDim.name, softCap)
    return { capped, scores: biased(capped, bias === undefined ? undefined : at(at(bias, i, rows), j, cols)) }
  }
  /** Of causal attention, and nothing more, only the blocks on the diagonal are masked. */
  const diagonal = named?.causal === true && named.window === undefined && Object.keys(present({ ...named.queries, ...named.keys })).length === 0 && blocks.key * blocks.keys === kvSeq.size
  const loop = <S extends { readonly [name: string]: T }>(r: Range, init: S, body: (index: Scalar, state: S) => S): S =>
    whileLoop(({ index }) => (index as unknown as Scalar).less(r.end), s => ({ index: (s.index as unknown as Scalar).add(1), state: body(s.index as unknown as Scalar, s.state) }), { index: r.start, state: init }).state

  /** The result and, as one element more along `headDim`, the logsumexp of the scores; then, where that is asked for, 1 if a number that is not finite was seen. */
  const forward = (given: Given): T => {
    const own = cleaned(given)
    const bias = given.bias
    const outer: Dim = { name: hiddenName(seq.name, 'blocks'), size: blocks.queries }
    const [, stacked] = scan(outer as Dim<never>, {}, { index: iota(outer) }, (_, { index }) => {
      const i = startOf(index as unknown as Scalar, blocks.query)
      const qi = at(own.q, i, rows).cast(sums)
      const line = scoreDims(qi, own.k).filter(d => d.name !== kvSeq.name)
      const value = [...own.v.shape, ...line].filter((d, at, all) => d.name !== kvSeq.name && all.findIndex(e => e.name === d.name) === at)
      const init = { most: filledWith(-Infinity, line, sums), sum: zeros(line, qi), value: zeros(value, qi), ...(own.keys === undefined ? {} : { odd: filledWith(0, line, 'bool') }) }
      type Kept = { most: T; sum: T; value: T; odd?: T } & { [name: string]: T }
      const turn = (whole: boolean) => (index: Scalar, s: Kept): Kept => {
        const j = startOf(index, blocks.key)
        const visible = whole ? undefined : seen(i, j, given)
        const { scores } = scoresOf(qi, at(own.k, j, cols).cast(sums), bias, i, j)
        const masked = visible === undefined ? scores : where(visible, scores, -Infinity)
        const most = loose(s.most.maximum(masked.max(kvSeq.name)))
        // Where nothing has been seen yet there is nothing to shift by.
        const shift = where(most.equal(-Infinity), zeros(most.shape, most), most)
        const shares = masked.sub(shift).exp()
        const kept = s.most.sub(shift).exp()
        const odd = own.keys === undefined || s.odd === undefined ? {} : { odd: either(s.odd, anyBut(visible === undefined ? at(own.keys, j, cols) : both(visible, at(own.keys, j, cols)), names(line))) }
        return { most: ordered(most, line), sum: ordered(s.sum.mul(kept).add(shares.sum(kvSeq.name)), line), value: ordered(s.value.mul(kept).add(loose(at(own.v, j, cols).cast(sums).dot(shares, kvSeq.name))), value), ...orderedOdd(odd, line) }
      }
      const { start, end } = range(keyRange, given, index as unknown as Scalar)
      const middle = diagonal ? keysInWhole(blocks, index as unknown as Scalar) : start
      const done = loop({ start: middle, end }, diagonal ? loop({ start, end: middle }, init as Kept, turn(true)) : init as Kept, turn(false))
      const nothing = done.sum.equal(0)
      const divisor = where(nothing, filledWith(1, line, sums), done.sum)
      const along = (x: T): T => ordered(x.cast(sums), [...x.shape, { name: headDim.name, size: 1 }])
      const odd = own.queries === undefined || done.odd === undefined ? [] : [along(either(at(own.queries, i, rows), done.odd))]
      return [{}, { packed: loose(concat([done.value.div(divisor), along(where(nothing, zeros(line, qi), done.most.add(divisor.log()))), ...odd].map(x => ordered(x, [...line, x.shape.find(d => d.name === headDim.name) ?? headDim])), headDim.name)) }] as const
    })
    const packed = loose((stacked as unknown as { readonly packed: T }).packed)
    return cut(loose(packed.merge([outer.name, seq.name], { name: seq.name, size: blocks.query * blocks.queries } as Dim<never>)), seq)
  }
  const size = v.shape.find(d => d.name === headDim.name)?.size ?? 1
  const element = (packed: T, index: number): T => loose(slice(packed, headDim.name, { start: index, end: index + 1 })).sum(headDim.name) as T

  const backward = (g: T, packed: T, given: Given): { readonly q: T; readonly k: T; readonly v: T; readonly bias?: T } => {
    const own = cleaned(given)
    const cotangent = loose(slice(g, headDim.name, { end: size }))
    const clean = isolate ? without(cotangent) : cotangent
    const found = loose(slice(packed, headDim.name, { end: size }))
    const line = scoreDims(own.q, own.k).filter(d => d.name !== kvSeq.name)
    const sum = element(packed, size)
    // A row of which something is not finite has no shares of others to tell; its own gradients are NaN in the end.
    const odd = own.queries === undefined ? undefined : either(element(packed, size + 1).notEqual(0), broken(cotangent, names(line)))
    const inner = clean.mul(isolate ? without(found) : found).sum(headDim.name) as T
    const [whole, products] = [laid(sum, queries), laid(inner, queries)]
    const [gs, odds] = [laid(clean, queries, elements), odd === undefined ? undefined : laid(odd, queries)]
    const outer: Dim = { name: hiddenName(kvSeq.name, 'blocks'), size: blocks.keys }
    const bias = given.bias
    const turnedKeys = laid(own.k, elements, keys)
    /** Of a change of the queries: as the product with the keys gives it. */
    const sloped = (q: T): Dim[] => [...turnedKeys.shape.filter(d => names(q.shape).includes(d.name)), ...q.shape.filter(d => !names(turnedKeys.shape).includes(d.name))]
    const start = { dq: zeros(sloped(own.q), whole), ...(bias === undefined ? {} : { dbias: zeros(bias.shape, whole) }) }
    type Kept = { dq: T; dbias?: T } & { [name: string]: T }
    const [sumsOf, stacked] = scan(outer as Dim<never>, start as Kept, { index: iota(outer) }, (carry, { index }) => {
      const j = startOf(index as unknown as Scalar, blocks.key)
      const [kj, vj] = [at(own.k, j, cols).cast(sums), at(own.v, j, cols).cast(sums)]
      const keys = own.keys === undefined ? undefined : at(own.keys, j, cols)
      const init = { ...carry, dk: zeros(kj.shape, kj), dv: zeros(vj.shape, vj), ...(keys === undefined ? {} : { odd: keys }) }
      const kt = at(turnedKeys, j, cols).cast(sums)
      type Inner = Kept & { dk: T; dv: T; odd?: T }
      const turn = (all: boolean) => (index: Scalar, s: Inner): Inner => {
        const i = startOf(index, blocks.query)
        const [qi, gi] = [at(own.q, i, rows).cast(sums), at(gs, i, rows).cast(sums)]
        const visible = all ? undefined : seen(i, j, given)
        const { capped, scores } = scoresOf(qi, kj, bias, i, j)
        const shares = masked(visible, scores.sub(at(whole, i, rows)).exp())
        const slope = contracted(vj, gi, shares.shape)
        const change = masked(visible, shares.mul(slope.sub(at(products, i, rows))))
        const rise = softCap === undefined ? change : change.mul(capSlope(capped, softCap))
        const oddRows = odds === undefined ? undefined : at(odds, i, rows)
        return {
          dq: added(s.dq, contracted(kt, rise, sloped(qi)), i, rows),
          ...(bias === undefined || s.dbias === undefined ? {} : { dbias: addedBoth(s.dbias, summedTo(change, at(at(bias, i, rows), j, cols)).cast(sums), i, j) }),
          dk: s.dk.add(contracted(rise, qi, kj.shape)), dv: s.dv.add(contracted(shares, gi, vj.shape)),
          ...(s.odd === undefined || oddRows === undefined ? {} : { odd: ordered(either(s.odd, anyBut(visible === undefined ? oddRows : both(visible, oddRows), names(s.odd.shape))), s.odd.shape) }),
        } as Inner
      }
      const { start: from, end } = range(queryRange, given, index as unknown as Scalar)
      const middle = diagonal ? queriesInWhole(blocks, index as unknown as Scalar) : end
      const masking = loop({ start: from, end: middle }, init as Inner, turn(false))
      const { dk, dv, odd, ...rest } = diagonal ? loop({ start: middle, end }, masking, turn(true)) : masking
      return [rest as Kept, { dk, dv, ...(odd === undefined ? {} : { odd }) }] as const
    })
    const kept = stacked as unknown as { readonly dk: T; readonly dv: T; readonly odd?: T }
    const joined = (x: T): T => cut(loose(x.merge([outer.name, kvSeq.name], { name: kvSeq.name, size: blocks.key * blocks.keys } as Dim<never>)), kvSeq)
    const { dq, dbias } = sumsOf as Kept
    const like = (x: T, of: T): T => ordered(x.cast(of.dtype), of.shape)
    const spoiled = (by: T | undefined, x: T, of: T): T => like(by === undefined ? x : tainted(by, x), of)
    const oddKeys = kept.odd === undefined ? undefined : joined(kept.odd)
    return {
      q: spoiled(odd, cut(dq, seq), q), k: spoiled(oddKeys, joined(kept.dk), k), v: spoiled(oddKeys, joined(kept.dv), v),
      ...(dbias === undefined || options.bias === undefined ? {} : { bias: like(cut(cut(dbias, seq), kvSeq), options.bias) }),
    }
  }
  const masked = (visible: T | undefined, x: T): T => (visible === undefined ? x : where(visible, x, 0))
  const added = (into: T, x: T, start: Scalar, to: Dim): T => (names(into.shape).includes(to.name) ? loose(dynamicUpdate(into, to.name, start, at(into, start, to).add(x))) : into.add(x))
  const addedBoth = (into: T, x: T, i: Scalar, j: Scalar): T => {
    if (!names(into.shape).includes(seq.name)) return added(into, x, j, cols)
    const row = at(into, i, rows)
    return loose(dynamicUpdate(into, seq.name, i, added(row, x, j, cols)))
  }

  const extras = present({
    bias: options.bias, mask, window: named !== undefined && typeof named.window !== 'number' && named.window !== undefined ? loose(named.window) : undefined,
    rowSegments: loosely(named?.queries.segments), colSegments: loosely(named?.keys.segments), prefix: loosely(named?.keys.prefix), keep: loosely(named?.keys.keep),
  })
  /** Laid out for the loops. */
  const prepared = (given: Given, ...valuesAs: readonly string[]): Given => ({ ...Object.fromEntries(Object.entries(given).map(([name, x]) => [name, filled(x as T)])), q: laid(given.q, queries, elements), k: laid(given.k, keys, elements), v: laid(given.v, ...valuesAs) })
  const inputs: Given = { q, k, v, ...extras }
  const packed = withGradient(inputs as unknown as { readonly [name: string]: T }, given => forward(prepared(given as unknown as Given, elements, keys)), (g, result, given) => {
    const found = backward(g, result, prepared(given as unknown as Given, keys, elements))
    return Object.fromEntries(Object.keys(given).map(name => [name, (found as { readonly [name: string]: T | undefined })[name]])) as never
  })
  const result = loose(slice(packed, headDim.name, { end: size })).cast(q.dtype)
  return isolate ? tainted(element(packed, size + 1).notEqual(0).stopGradient(), result) : result
}

const loosely = (x: AnyTensor | undefined): T | undefined => (x === undefined ? undefined : loose(x))
const orderedOdd = ({ odd }: { readonly odd?: T }, dims: readonly Dim[]): { readonly odd?: T } => (odd === undefined ? {} : { odd: ordered(odd, dims) })
/** Without what is undefined. */
const present = <O extends { readonly [name: string]: AnyTensor | undefined }>(o: O): { readonly [K in keyof O]?: Exclude<O[K], undefined> } =>
  Object.fromEntries(Object.entries(o).filter(([, x]) => x !== undefined)) as never
