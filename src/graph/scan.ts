/** Loops over a dim: a body traced once, closed over what it uses from outside. */
import { formatShape, type Dim } from '../core/dim.ts'
import { DimError } from '../core/errors.ts'
import { inputNode } from './input.ts'
import { dimIn } from './infer/checks.ts'
import { broadcastTo, make, rewrite } from './make.ts'
import { dtypeOf, reachable, shapeOf, typeOf, type Node, type TensorType } from './node.ts'
import type { Graph } from './ops.ts'
import { userSite } from './site.ts'
import { leavesOf, rebuildTree, tensor } from './tensor.ts'
import type { Tree, With, Without } from './types.ts'

/**
 * A graph of `outputs` whose inputs are `params` and then what the outputs use from outside (`captures`). What depends on no
 * input at all stays inside: it is cheaper made again than carried.
 */
export function closeOver(params: readonly Node<'input'>[], outputs: readonly Node[]): { readonly body: Graph; readonly captures: readonly Node[] } {
  const order = reachable(outputs)
  const inside = new Set<Node>(params)
  const closed = new Set<Node>()
  for (const n of order) {
    if (n.inputs.some(i => inside.has(i))) inside.add(n)
    else if (n.op !== 'input' && n.inputs.every(i => closed.has(i))) closed.add(n)
  }
  const outer = (n: Node): boolean => !inside.has(n) && !closed.has(n)
  const captures = [...new Set([...order.filter(n => inside.has(n)).flatMap(n => n.inputs), ...outputs].filter(outer))]
  const stands = captures.map((n, i) => inputNode(`capture${i}`, n.op === 'input' ? n.attrs.role : 'compute', typeOf(n)))
  const replaced = new Map<Node, Node>(captures.map((n, i) => [n, stands[i] ?? n]))
  const rewritten = rewrite(outputs, order.filter(n => inside.has(n)), replaced)
  return { body: { inputs: [...params, ...stands], outputs: rewritten }, captures }
}

/** What a body sees of a stacked tensor. */
export const sliceType = (n: Node, over: string): TensorType => ({ shape: shapeOf(n).filter(d => d.name !== over), dtype: dtypeOf(n) })

/** The nodes of a scan's results: last carries, then stacked ys. */
export function scanNodes(
  over: Dim, carries: readonly Node[], xs: readonly Node[], params: readonly Node<'input'>[], outputs: readonly Node[], reverse = false,
): Node[] {
  const { body, captures } = closeOver(params, outputs)
  const leading = xs.map(x => broadcastTo(x, [over, ...shapeOf(x).filter(d => d.name !== over.name)]))
  const loop = make('scan', [...carries, ...leading, ...captures], { over, body, carries: carries.length, xs: xs.length, reverse })
  return outputs.map((_, index) => make('project', [loop], { index }))
}

/**
 * Walks `over`: `body(carry, x)` gets the carry and one slice of every leaf of `xs`, and returns the next carry and what to
 * stack. Results: the last carry, and the ys with `over` as a dim again.
 * @throws DimError when a leaf of `xs` lacks `over`, or the carry changes its form, dims or dtypes.
 */
export function scan<N extends string, C extends Tree, X extends Tree, Y extends Tree>(
  over: Dim<N>, init: C, xs: X, body: (carry: C, x: Without<X, N>) => readonly [C, Y],
): readonly [C, With<Y, N>] {
  const carries = leavesOf(init).map(l => ({ path: l.path, node: l.leaf.node }))
  const stacked = leavesOf(xs).map(l => ({ path: l.path, node: l.leaf.node }))
  for (const x of stacked) {
    const what = x.path || 'what is walked over'
    const found = dimIn(shapeOf(x.node), over.name, `scan over "${over.name}": ${what}`, userSite())
    if (found.size !== over.size) {
      throw new DimError({ code: 'size-differs', what: `scan over "${over.name}" of size ${over.size}: ${what} has size ${found.size}`, details: { tensor: formatShape(shapeOf(x.node)) }, at: userSite() })
    }
  }
  const carryParams = carries.map(c => inputNode(`carry.${c.path}`, 'compute', typeOf(c.node)))
  const xParams = stacked.map(x => inputNode(x.path, x.node.op === 'input' ? x.node.attrs.role : 'compute', sliceType(x.node, over.name)))
  const [next, ys] = body(rebuildTree(init, carryParams.map(n => tensor(n))), rebuildTree(xs, xParams.map(n => tensor(n))) as Without<X, N>)

  const nexts = leavesOf(next)
  const changed = (what: string, before: string, after: string): DimError => new DimError({
    code: 'carry-changes', what: `scan over "${over.name}": the carry changes its ${what}`, details: { before, after },
    fix: 'return a carry like the one the body was given', at: userSite(),
  })
  const paths = (leaves: readonly { readonly path: string }[]): string => leaves.map(l => l.path).join(' ')
  if (paths(nexts) !== paths(carries)) throw changed('form', paths(carries), paths(nexts))
  const aligned = carries.map((c, i) => {
    const after = nexts[i]?.leaf.node ?? c.node
    const [before, now] = [typeOf(c.node), typeOf(after)]
    const sorted = (t: TensorType): string => t.shape.map(d => `${d.name}=${d.size}`).sort().join(' ')
    if (before.dtype !== now.dtype) throw changed(`dtype at ${c.path || 'its only leaf'}`, before.dtype, now.dtype)
    if (sorted(before) !== sorted(now)) throw changed(`dims at ${c.path || 'its only leaf'}`, formatShape(before.shape), formatShape(now.shape))
    return broadcastTo(after, before.shape)
  })
  const outputs = [...aligned, ...leavesOf(ys).map(l => l.leaf.node)]
  const results = scanNodes(over, carries.map(c => c.node), stacked.map(x => x.node), [...carryParams, ...xParams], outputs).map(n => tensor(n))
  return [rebuildTree(init, results.slice(0, carries.length)), rebuildTree(ys, results.slice(carries.length)) as With<Y, N>]
}
