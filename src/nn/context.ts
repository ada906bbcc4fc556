/**
 * Attention along a sequence that is split: context parallelism. A form says how queries come to the keys of other parts; which axis the parts lie on, if any, is for a
 * layout to say. No form changes the numbers, to rounding, and no number depends on the mesh.
 */
import { hiddenName, names, type Dim } from '../core/dim.ts'
import { DimError } from '../core/errors.ts'
import { shown } from '../core/shown.ts'
import { userSite } from '../core/site.ts'
import { withGradient } from '../graph/custom.ts'
import { sumsIn } from '../graph/half-precision.ts'
import { make } from '../graph/make.ts'
import { concat, slice } from '../graph/rearrange.ts'
import { full, iota, isTensor, loose, tensor, where } from '../graph/tensor.ts'
import type { AnyTensor, Tensor } from '../graph/types.ts'
import { broken, tainted, without } from './isolated.ts'
import { lineOf, ordered, present, type Terms } from './meeting.ts'
import { rings, type Sides } from './rings.ts'
import type { Visibility } from './visible.ts'

type T = Tensor<string>
/**
 * How a sequence that is split is attended to.
 * - `ring`: keys and values go round, a block at a time (Liu et al. 2023);
 * - `zigzag`: the same, balanced under a causal mask: the sequence is in the order of `zigzag`, so that all blocks have as much to do;
 * - `gather`: every device gathers all keys and values (Llama 3);
 * - `ulysses`: sequences are made whole and heads split instead, by all-to-alls (Jacobs et al. 2023): the layout `attention` says which.
 *
 * `blocks` is how many parts a sequence has to begin with; as many devices, or a divisor of them, share it.
 */
export type Context = { readonly form: 'ring' | 'zigzag' | 'gather'; readonly blocks: number } | { readonly form: 'ulysses'; readonly blocks?: undefined }

/** The layout in which a sequence is attended to: that of activations unless a recipe says otherwise. */
export const attentionLayout: { readonly attention: 'compute' } = { attention: 'compute' }

const wrong = (what: string, fix: string): DimError => new DimError({ code: 'option', what: `attention: context ${what}`, fix, at: userSite() })
const forms: readonly string[] = ['ring', 'zigzag', 'gather', 'ulysses']

/** @throws DimError where a sequence cannot be attended to so */
export function checkContext({ form, blocks }: Context, seq: Dim): void {
  if (!forms.includes(form)) throw wrong(`has form ${shown(form)}`, `give one of: ${forms.join(', ')}`)
  if (form === 'ulysses') {
    if (blocks !== undefined) throw wrong(`of form ulysses has ${shown(blocks)} blocks`, 'leave blocks out: a sequence is whole there; or give ring, zigzag or gather, which Ulysses goes with by a rule for heads in the layout attention')
    return
  }
  if (!(Number.isSafeInteger(blocks) && blocks > 0)) throw wrong(`of form ${form} has blocks ${shown(blocks)}`, 'give a whole number, 1 or more: a multiple of as many devices as share a sequence')
  const parts = form === 'zigzag' ? 2 * blocks : blocks
  if (seq.size % parts !== 0) throw wrong(`of form ${form}: ${parts} parts do not divide "${seq.name}" of size ${seq.size}`, form === 'zigzag' ? 'give blocks of which twice as many do' : 'give a number of blocks that does')
}

/** What an attention in context is told besides. */
export interface InContext {
  readonly headDim: Dim
  readonly seq: Dim
  readonly context: Context
  readonly visible: Visibility | undefined
  readonly block: number | undefined
  readonly softCap: number | undefined
  readonly isolate: boolean
}

/** Puts a tensor where a sequence is attended to; its cotangent comes back to where activations are. */
function entering(x: AnyTensor, { context, seq }: Pick<InContext, 'context' | 'seq'>): T {
  const parts = { by: `attention by ${context.form}`, of: { [seq.name]: context.form === 'ulysses' ? 1 : context.blocks } }
  return tensor(make('relayout', [loose(x).relayout('compute').node], { to: 'attention', otherwise: attentionLayout.attention, parts }))
}
const leaving = (x: T): T => x.relayout('attention', attentionLayout.attention).relayout('compute')
const mapped = <X extends object>(x: X, f: (x: AnyTensor) => AnyTensor): X => Object.fromEntries(Object.entries(x).map(([name, y]) => [name, f(y as AnyTensor)])) as X

/** Ulysses: `attend` sees whole sequences, under names that no layout has a rule for. */
export function inWhole(q: T, k: T, v: T, how: InContext, attend: (q: T, k: T, v: T, of: { readonly kvSeq: Dim; readonly visible: Visibility | undefined }) => T): T {
  const { seq, visible } = how
  const [here, there]: readonly [Dim, Dim] = [{ name: hiddenName(seq.name, 'queries'), size: seq.size }, { name: hiddenName(seq.name, 'keys'), size: seq.size }]
  const as = (to: Dim) => (x: AnyTensor): T => (names(x.shape).includes(seq.name) ? entering(x, how).rename(seq.name, to.name) : loose(x))
  const seen = visible === undefined ? undefined : { ...visible, seq: here, kvSeq: there, places: { seq: iota(here), kvSeq: iota(there) }, queries: mapped(visible.queries, as(here)), keys: mapped(visible.keys, as(there)) }
  const found = attend(as(here)(q), as(there)(k), as(there)(v), { kvSeq: there, visible: seen })
  // Kept where layers are computed again: what has come back by a collective is not sent back twice.
  return withGradient({ found: found.rename(here.name, seq.name) } as { readonly [name: string]: T }, given => leaving(given['found'] as T), g => ({ found: g.relayout('attention', attentionLayout.attention) }), { costly: true })
}

/** q is scaled; q, k and v lie along `seq`. @returns over the dims of q, of q's dtype */
export function inContext(q: T, k: T, v: T, how: InContext): T {
  const { context, headDim, seq, visible, softCap, isolate } = how
  if (context.form === 'ulysses') throw new Error('whole sequences are attended to as any are')
  const [blocks, form] = [context.blocks, rings[context.form]]
  const size = seq.size / blocks
  const [lanes, rows, keys]: readonly [Dim, Dim, Dim] = [{ name: hiddenName(seq.name, 'lanes'), size: blocks }, { name: hiddenName(seq.name, 'rows'), size }, { name: hiddenName(seq.name, 'keys'), size }]
  const terms: Terms = { lanes, rows, keys, headDim, block: how.block ?? size, softCap, isolate, sums: sumsIn(q.dtype), causal: visible?.causal ?? false, window: visible?.window }
  const laned = (along: Dim) => (x: AnyTensor): T => entering(loose(x), how).split(seq.name, [lanes, along])
  const [asRows, asKeys] = [laned(rows), laned(keys)]
  const numbers = { rows: optional(visible?.queries.segments, asRows), segments: optional(visible?.keys.segments, asKeys), prefix: optional(visible?.keys.prefix, asKeys), keep: optional(visible?.keys.keep, asKeys) }
  const window = isTensor(visible?.window) ? loose(visible.window) : undefined
  const inputs = present({ q: asRows(q), k: asKeys(k), v: asKeys(v), window, ...numbers }) as unknown as Given
  const elements = v.shape.find(d => d.name === headDim.name)?.size ?? 1
  const along = (x: T): T => ordered(x, [...x.shape, { name: headDim.name, size: 1 }])
  const element = (x: T): T => slice(x, headDim.name, { start: elements, end: elements + 1 }).sum(headDim.name)
  const termsOf = (given: Given): Terms => (given.window === undefined ? terms : { ...terms, window: given.window })

  /** The result and, as one element more along `headDim`, the logsumexp of the scores: NaN where a number that is not finite was seen. */
  const packed = withGradient(inputs as unknown as { readonly [name: string]: T }, x => {
    const given = x as unknown as Given
    const { most, sum, value } = form.forward(termsOf(given), sidesOf(given))
    const line = lineOf(given.q, terms)
    const all = isolate ? where(broken(given.q, names(line)), loose(full(NaN, sum.shape, sum.dtype)), sum) : sum
    const nothing = all.equal(0)
    const divisor = where(nothing, loose(full(1, all.shape, all.dtype)), all)
    const lse = where(nothing, loose(full(0, all.shape, all.dtype)), most.add(divisor.log()))
    const found = value.div(ordered(divisor, value.shape.filter(d => d.name !== headDim.name)))
    return loose(concat([ordered(found, [...line, { name: headDim.name, size: elements }]), along(ordered(lse, line))], headDim.name))
  }, (cotangent, result, x) => {
    const given = x as unknown as Given
    const line = lineOf(given.q, terms)
    const g = slice(cotangent, headDim.name, { end: elements })
    const [found, lse] = [slice(result, headDim.name, { end: elements }), element(result)]
    // A row of which something is not finite has no shares of others to tell; its own gradients are NaN in the end.
    const odd = isolate ? lse.isNaN().or(broken(g, names(line))) : undefined
    const [clean, finite] = isolate ? [without(g), without(lse)] : [g, lse]
    const inner = clean.mul(isolate ? without(found) : found).sum(headDim.name)
    const { dq, dk, dv } = form.backward(termsOf(given), sidesOf(given), { g: clean, lse: finite, inner, ...(odd === undefined ? {} : { odd }) })
    const home = (d: T): T => (names(d.shape).includes(lanes.name) ? d : d.rename(keys.name, seq.name).relayout('attention', attentionLayout.attention).split(seq.name, [lanes, keys]))
    const like = (d: T, of: T): T => ordered(d.cast(of.dtype), of.shape)
    const changes: { readonly [name: string]: T } = { q: like(odd === undefined ? dq : tainted(odd, dq), given.q), k: like(home(dk), given.k), v: like(home(dv), given.v) }
    return Object.fromEntries(Object.keys(x).map(name => [name, changes[name]])) as never
  }, { costly: true })
  const result = loose(slice(packed, headDim.name, { end: elements })).cast(q.dtype)
  return leaving(result.merge([lanes.name, rows.name], seq))
}

interface Given { readonly q: T; readonly k: T; readonly v: T; readonly window?: T; readonly rows?: T; readonly segments?: T; readonly prefix?: T; readonly keep?: T }
const sidesOf = ({ q, k, v, rows, segments, prefix, keep }: Given): Sides => ({
  queries: { q, ...(rows === undefined ? {} : { segments: rows }) },
  keys: { k, v, ...present({ segments, prefix, keep }) },
})
const optional = (x: AnyTensor | undefined, f: (x: AnyTensor) => T): T | undefined => (x === undefined ? undefined : f(x))

/**
 * The places of a sequence in zigzag, and what lies along it in that order or back: of 2n parts, lane i of n holds parts i and 2n − 1 − i. What a causal mask lets a lane
 * see is then as much for all. A model that attends in `zigzag` puts tokens, targets and all that goes with them in this order where they come in.
 */
export interface Zigzag {
  /** i32: of each place which one of the sequence it holds. */
  readonly places: T
  readonly into: <D extends string>(x: Tensor<D>) => Tensor<D>
  readonly back: <D extends string>(x: Tensor<D>) => Tensor<D>
}
/** @throws DimError where 2 · blocks do not divide the sequence */
export function zigzag(seq: Dim, blocks: number): Zigzag {
  checkContext({ form: 'zigzag', blocks }, seq)
  const size = seq.size / (2 * blocks)
  const at = loose(iota(seq))
  const [part, rest] = [at.div(size), at.rem(size)]
  const [lane, late] = [part.div(2), part.rem(2).equal(1)]
  const places = where(late, lane.neg().add(2 * blocks - 1), lane).mul(size).add(rest)
  // Part p of the sequence is the early one of lane p, or the late one of lane 2n − 1 − p.
  const held = where(part.less(blocks), part.mul(2), part.neg().add(2 * blocks - 1).mul(2).add(1)).mul(size).add(rest)
  const by = (order: T) => <D extends string>(x: Tensor<D>): Tensor<D> => tensor(ordered(loose(x).take(seq.name, order), x.shape).node)
  return { places, into: by(places), back: by(held) }
}
