/**
 * Functions whose inner values are not kept for the gradient: the backward pass computes them again. A barrier keeps the
 * compiler from sharing them with the forward pass, and from computing them before the backward pass gets there.
 */
import { isFloat } from '../core/dtype.ts'
import { closeOver } from '../graph/close.ts'
import { converted, unrounded } from '../graph/half-precision.ts'
import { inputNode } from '../graph/input.ts'
import { make, rewrite } from '../graph/make.ts'
import { dtypeOf, operand, reachable, typeOf, withBodies, type Node } from '../graph/node.ts'
import { leavesOf, rebuildTree, tensor } from '../graph/tensor.ts'
import type { Tree } from '../graph/types.ts'
import { keeper, type Remat } from './policy.ts'
import { moved, residuals } from './residuals.ts'
import type { Cotangents, Wanted } from './vjps/vjp.ts'

/**
 * `f`, of whose values the policy keeps some and the backward pass computes the others again. What depends on its arguments is
 * inside; `everything` (the default) keeps only what enters. Loops inside follow this policy, too.
 * @throws DimError as `keeper` does
 */
export const remat = <const A extends readonly Tree[], R extends Tree>(f: (...args: A) => R, policy: Remat = 'everything') => (...args: A): R => {
  const given = leavesOf(args).map(l => l.leaf.node)
  const params = given.map((n, i) => inputNode(`argument${i}`, n.op === 'input' ? n.attrs.role : 'compute', typeOf(n)))
  const result = f(...rebuildTree(args, params.map(n => tensor(n))))
  const outputs = leavesOf(result).map(l => l.leaf.node)
  const { body, captures } = closeOver(params, outputs)
  const made = make('recompute', [...given, ...captures], { body, keep: keeper(policy, body.outputs, outputs) })
  return rebuildTree(result, outputs.map((_, index) => tensor(make('project', [made], { index }))))
}

export function recomputeVjp(n: Node<'recompute'>, g: Cotangents, { wants, pullback }: Wanted): Cotangents {
  const { body, keep } = n.attrs
  const active = body.inputs.filter((p, i) => wants(operand(n, i)) && isFloat(dtypeOf(p)))
  const flowing = body.outputs.flatMap((y, i) => { const d = g[i]; if (d === undefined) return []; const wide = unrounded(d); return [{ y, d: wide, param: inputNode(`d.y${i}`, 'compute', { ...typeOf(y), dtype: dtypeOf(wide) }) }] })
  const found = pullback(flowing.map(f => f.y), flowing.map(f => converted(f.param, dtypeOf(f.y))), active, keep)
  const backward = found.filter(d => d !== undefined)

  // What is kept comes from the forward pass, as more results of it; what is needed of the inputs goes in again.
  const saved = residuals(backward, body, 0, keep)
  const { away, back } = moved(body, keep)
  const forward = saved.length === 0 ? n : make('recompute', n.inputs, { keep, body: { inputs: body.inputs, outputs: [...body.outputs, ...saved.map(away)] } }, n.site)
  const kept = saved.map((s, i) => ({ inside: s, value: make('project', [forward], { index: body.outputs.length + i }), stand: inputNode(`saved${i}`, 'compute', typeOf(s)) }))
  const pulled = rewrite(backward, reachable(backward), new Map(kept.map(k => [k.inside, back(k.inside, k.stand)])))
  const needed = new Set(reachable(pulled))
  const entering = [
    ...body.inputs.map((p, i) => ({ inside: p, value: operand(n, i) })), ...kept.map(k => ({ inside: k.stand, value: k.value })),
    ...flowing.map(f => ({ inside: f.param, value: f.d })),
  ].filter(e => needed.has(e.inside))
  const barrier = make('barrier', entering.map(e => e.value), {}, n.site)
  const behind = new Map<Node, Node>(entering.map((e, index) => [e.inside, make('project', [barrier], { index })]))
  const results = rewrite(pulled, reachable(pulled), behind)

  const cotangents: (Node | undefined)[] = []
  const inputs = new Map<Node, number>(body.inputs.map((p, i) => [p, i]))
  active.filter((_, k) => found[k] !== undefined).forEach((p, k) => {
    const i = inputs.get(p)
    if (i !== undefined) cotangents[i] = results[k]
  })
  return cotangents
}

/** The outputs with what `remat` holds in its place: once gradients are made, it is a part of the graph like any other. */
export function inlined(outputs: readonly Node[]): Node[] {
  const images = new Map<Node, Node>()
  const image = (n: Node): Node => images.get(n) ?? n
  const results = new Map<Node, readonly Node[]>()
  for (const n of reachable(outputs)) {
    const inputs = n.inputs.map(image)
    if (n.op === 'recompute') {
      const within = inlined(n.attrs.body.outputs)
      results.set(n, rewrite(within, reachable(within), new Map(n.attrs.body.inputs.map((p, i) => [p, inputs[i] ?? p]))))
    } else if (n.op === 'project') {
      const inside = results.get(operand(n, 0))?.[n.attrs.index]
      const again = inside ?? (inputs[0] === n.inputs[0] ? n : make('project', inputs, n.attrs, n.site))
      if (again !== n) images.set(n, again)
    } else {
      const again = withBodies(make, n, body => {
        const within = inlined(body.outputs)
        return within.every((m, i) => m === body.outputs[i]) ? body : { inputs: body.inputs, outputs: within }
      }, inputs.some((m, i) => m !== n.inputs[i]) ? inputs : n.inputs)
      if (again !== n) images.set(n, again)
    }
  }
  return outputs.map(image)
}
