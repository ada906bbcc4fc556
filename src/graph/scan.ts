/** Loops over a dim: a body traced once, closed over what it uses from outside. */
import { formatShape, legalDim, type Dim } from '../core/dim.ts'
import { DimError } from '../core/errors.ts'
import { closeOver } from './close.ts'
import { inputNode } from './input.ts'
import { dimIn } from './infer/checks.ts'
import { broadcastTo, make } from './make.ts'
import { dtypeOf, shapeOf, typeOf, type Node, type TensorType } from './node.ts'
import { onCallersLine, userSite } from '../core/site.ts'
import { sameState } from './state.ts'
import { leavesOf, rebuildTree, tensor } from './tensor.ts'
import type { Tree, With, Without } from './types.ts'

/** What a body sees of a stacked tensor. */
export const sliceType = (n: Node, over: string): TensorType => ({ shape: shapeOf(n).filter(d => d.name !== over), dtype: dtypeOf(n) })

/** The nodes of a scan's results: last carries, then stacked ys. What no turn reads is not walked over. */
export function scanNodes(
  over: Dim, carries: readonly Node[], xs: readonly Node[], params: readonly Node<'input'>[], outputs: readonly Node[], { reverse = false, keepsCollectives = false }: { readonly reverse?: boolean; readonly keepsCollectives?: boolean } = {},
): Node[] {
  const { body, captures, used } = closeOver(params, outputs)
  const read = (i: number): boolean => { const p = params[carries.length + i]; return p === undefined || used.has(p) }
  const walked = xs.filter((_, i) => read(i))
  const inputs = walked.length === xs.length ? body.inputs : body.inputs.filter((_, i) => i < carries.length || i >= carries.length + xs.length || read(i - carries.length))
  const leading = walked.map(x => broadcastTo(x, [over, ...shapeOf(x).filter(d => d.name !== over.name)]))
  const loop = make('scan', [...carries, ...leading, ...captures], { over, body: { inputs, outputs: body.outputs }, carries: carries.length, xs: walked.length, reverse, ...(keepsCollectives ? { keepsCollectives } : {}) })
  return outputs.map((_, index) => make('project', [loop], { index }))
}

export interface ScanOptions {
  /** Walks from the last slice to the first. What a turn stacks lies at the place of the slice that it was given. */
  readonly reverse?: boolean
}

/**
 * Walks `over`: `body(carry, x)` gets the carry and one slice of every leaf of `xs`, and returns the next carry and what to
 * stack. Results: the last carry, and the ys with `over` as a dim again.
 * @throws DimError when a leaf of `xs` lacks `over`, or the carry changes its form, dims or dtypes.
 */
export function scan<N extends string, C extends Tree, X extends Tree, Y extends Tree>(
  over: Dim<N>, init: C, xs: X, body: (carry: C, x: Without<X, N>) => readonly [C, Y], { reverse = false }: ScanOptions = {},
): readonly [C, With<Y, N>] {
  legalDim(over)
  const carries = leavesOf(init).map(l => ({ path: l.path, node: l.leaf.node }))
  const stacked = leavesOf(xs).map(l => ({ path: l.path, node: l.leaf.node }))
  for (const x of stacked) {
    const what = x.path || 'what is walked over'
    const found = dimIn(shapeOf(x.node), over.name, `scan over "${over.name}": ${what}`, userSite)
    if (found.size !== over.size) {
      throw new DimError({ code: 'size-differs', what: `scan over "${over.name}" of size ${over.size}: ${what} has size ${found.size}`, details: { tensor: formatShape(shapeOf(x.node)) }, fix: 'walk over the dim that the tensors have', at: userSite() })
    }
  }
  const [carryParams, xParams] = onCallersLine(() => [
    carries.map(c => inputNode(`carry.${c.path}`, 'compute', typeOf(c.node))),
    stacked.map(x => inputNode(x.path, x.node.op === 'input' ? x.node.attrs.role : 'compute', sliceType(x.node, over.name))),
  ])
  const found: unknown = body(rebuildTree(init, carryParams.map(n => tensor(n))), rebuildTree(xs, xParams.map(n => tensor(n))) as Without<X, N>)
  if (!Array.isArray(found) || found.length !== 2) {
    throw new DimError({ code: 'body-result', what: `scan over "${over.name}": the body returns ${Array.isArray(found) ? `a list of ${found.length}` : found === undefined ? 'nothing' : 'no list'}`, fix: 'return [carry, what to stack]; {} stacks nothing', at: userSite() })
  }
  const [next, ys] = found as unknown as readonly [C, Y]

  const aligned = sameState(`scan over "${over.name}"`, 'carry', init, next)
  const outputs = [...aligned, ...leavesOf(ys).map(l => l.leaf.node)]
  const results = onCallersLine(() => scanNodes(over, carries.map(c => c.node), stacked.map(x => x.node), [...carryParams, ...xParams], outputs, { reverse })).map(n => tensor(n))
  return [rebuildTree(init, results.slice(0, carries.length)), rebuildTree(ys, results.slice(carries.length)) as With<Y, N>]
}
