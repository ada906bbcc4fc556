/** What a stage of a pipeline computes: its layers, one after another. */
import { formatShape, type Dim } from '../core/dim.ts'
import { isFloat } from '../core/dtype.ts'
import { DimError } from '../core/errors.ts'
import { userSite } from '../core/site.ts'
import { withGradient } from '../graph/custom.ts'
import { inputNode } from '../graph/input.ts'
import { fullNode } from '../graph/make.ts'
import { moved } from '../graph/half-precision.ts'
import { dtypeOf, shapeOf, type Node } from '../graph/node.ts'
import { index } from '../graph/rearrange.ts'
import { scan } from '../graph/scan.ts'
import { alike, difference } from '../graph/state.ts'
import { leavesOf, loose, mapTree, rebuildTree, tensor, where } from '../graph/tensor.ts'
import type { AnyTensor, Tensor, Tree } from '../graph/types.ts'
import type { Stages } from './places.ts'

type T = Tensor<string>

/**
 * The same tensor; its cotangent is 0 where it is not on. An idle stage computes with whatever is there, which may be no number, and 0 times that is no 0: so what comes back from it
 * is not multiplied but left out.
 */
export function guarded(x: AnyTensor, on: AnyTensor): T {
  if (!isFloat(x.dtype)) return loose(x)
  return withGradient([loose(x), loose(on)], ([x]): T => x, (g, _, [, on]) => [unrounded(g, g => where(on as never, g, 0)), undefined])
}

/** What moves elements or leaves some out, done to a cotangent as it was before it was narrowed: it may be met by another, and they are rounded once. */
export const unrounded = (g: T, f: (g: T) => T): T => tensor(moved(g.node, n => f(tensor(n)).node))

/** A choice whose cotangents are rounded once. */
export const either = (p: AnyTensor, yes: AnyTensor, no: AnyTensor): T => withGradient([loose(yes), loose(no), loose(p)], ([yes, no, p]): T => where(p as never, yes, no),
  (g, _, [, , p]) => [unrounded(g, g => where(p as never, g, 0)), unrounded(g, g => where(p as never, zeros(g.shape, g.dtype), g)), undefined])
export const zeros = (shape: readonly Dim[], dtype: T['dtype']): T => tensor(fullNode(0, shape, dtype))

/** What a stage computes of a whole batch, as a graph of its own; `lifted` makes it that of all stages. */
export interface Traced { readonly params: readonly Node<'input'>[]; readonly outputs: readonly Node[] }

const standIn = (name: string, like: Node, shape: readonly Dim[] = shapeOf(like)): Node<'input'> => inputNode(name, 'compute', { shape, dtype: dtypeOf(like) })

/**
 * The graph of one stage. Its params are x's leaves, those of the layers with `own` in place of `over`, which of these there are where that differs, and whether the stage is at work, a bool. Each layer's
 * cotangents are left out where it is not: in the turn of the loop that makes them, so that they can be reduced to parts there, too.
 * @throws DimError where a block returns something else than it is given
 */
export function traced<X extends Tree>(over: Dim, x: X, layers: Tree, { own, full }: Stages, block: (x: X, layer: Tree) => X): Traced {
  const xs = leavesOf(x).map(({ path, leaf }) => standIn(`x.${path}`, leaf.node))
  const ws = leavesOf(layers).map(({ path, leaf }) => standIn(path, leaf.node, [own, ...leaf.shape.filter(d => d.name !== over.name)]))
  const there = full ? [] : [inputNode('filled', 'compute', { shape: [own], dtype: 'bool' })]
  const on = inputNode('on', 'compute', { shape: [], dtype: 'bool' })

  const checked = (before: X, after: X): X => {
    const found = difference(before, after)
    if (found === undefined) return rebuildTree(before, alike(before, after).map(n => tensor(n)))
    throw new DimError({ code: 'blocks-differ', what: `pipeline: a block changes its ${found.what}, and stages hand on what they are given`, details: { before: found.before, after: found.after }, fix: 'return what the next block takes: the same form, dims and dtypes', at: userSite() })
  }
  const layer = (now: X, own: Tree, real: T | undefined): X => {
    if (real === undefined) return checked(now, block(now, mapTree(own, t => guarded(t, tensor(on)))))
    const given = mapTree(now, t => guarded(t, real))
    const both = real.and(tensor<string>(on))
    const next = leavesOf(checked(now, block(given, mapTree(own, t => guarded(t, both)))))
    let i = 0
    return mapTree(now, t => { const made = next[i++]?.leaf ?? t; return isFloat(t.dtype) ? either(real, made, t) : where(real as never, loose(made), t) })
  }
  const start = rebuildTree(x, xs.map(n => tensor(n)))
  const stacked = rebuildTree(layers, ws.map(n => tensor(n)))
  const real = there.map(n => tensor<string>(n))
  if (own.size === 1) {
    const only = mapTree(stacked, t => index<string, string>(t, own.name, 0))
    return { params: [...xs, ...ws, ...there, on], outputs: leavesOf(layer(start, only, undefined)).map(l => l.leaf.node) }
  }
  const [last] = scan(own, start, { stacked, real } as Tree, (now, given) => {
    const { stacked: w, real: [r] } = given as unknown as { readonly stacked: Tree; readonly real: readonly T[] }
    return [layer(now, w, r), {}] as const
  })
  return { params: [...xs, ...ws, ...there, on], outputs: leavesOf(last).map(l => l.leaf.node) }
}

/** @throws DimError where something that goes through the pipeline lacks the batch's dim, or it cannot be cut into the microbatches */
export function batchOf(x: Tree, name: string, microbatches: number): Dim {
  const leaves = leavesOf(x)
  const found = leaves.map(({ path, leaf }) => ({ path, dim: leaf.shape.find(d => d.name === name) }))
  const problem = (what: string, fix: string): DimError => new DimError({ code: 'pipeline-batch', what: `pipeline: ${what}`, details: { given: leaves.map(l => `${l.path} ${formatShape(l.leaf.shape)}`).join(', ') }, fix, at: userSite() })
  const [first] = found
  const without = found.find(f => f.dim === undefined)
  if (first?.dim === undefined || without !== undefined) throw problem(`${without?.path === '' || without === undefined ? 'what goes through the blocks' : `"${without.path}"`} has no dim "${name}" to cut into microbatches`, 'let blocks use it from outside, or name the dim of the batch: { batch: … }')
  if (found.some(f => f.dim?.size !== first.dim?.size)) throw problem(`dim "${name}" has several sizes`, 'give all of what goes through the blocks one size')
  if (first.dim.size % microbatches !== 0) throw problem(`dim "${name}" of size ${first.dim.size} cannot be cut into ${microbatches} microbatches`, `use a number of microbatches that divides ${first.dim.size}`)
  return first.dim
}

