/** The gradient of a choice is a choice of the gradients: the branch that was taken is computed again, and walked back; or what a policy keeps of it is kept, where the choice says so. */
import { isFloat } from '../core/dtype.ts'
import { names } from '../core/dim.ts'
import { condNodes } from '../graph/cond.ts'
import { converted, cotangentIn, sumsIn, unrounded } from '../graph/half-precision.ts'
import { inputNode } from '../graph/input.ts'
import { fullNode, make, rewrite } from '../graph/make.ts'
import { dtypeOf, operand, reachable, shapeOf, typeOf, type Node } from '../graph/node.ts'
import { residuals } from './residuals.ts'
import type { Cotangents, Wanted } from './vjps/vjp.ts'

/** What is kept of the first branch for its gradient `backward`: the choice gives it beside its results, and zeros where the other branch was taken. Of each element of the predicate, as the choice may be each device's own, but where one is alone. */
function keptOf(n: Node<'cond'>, backward: readonly Node[], keep: (n: Node) => boolean): { readonly backward: readonly Node[]; readonly params: readonly Node<'input'>[]; readonly values: readonly Node[] } {
  const { yes, no, atWork } = n.attrs
  const over = names(shapeOf(operand(n, 0)))
  const saved = atWork !== undefined ? residuals(backward, yes, 0, m => keep(m) && (atWork.alone === true || over.every(name => shapeOf(m).some(d => d.name === name)))) : []
  if (saved.length === 0) return { backward, params: [], values: [] }
  const choice = make('cond', n.inputs, {
    ...n.attrs, yes: { inputs: yes.inputs, outputs: [...yes.outputs, ...saved] }, no: { inputs: no.inputs, outputs: [...no.outputs, ...saved.map(s => fullNode(0, shapeOf(s), dtypeOf(s)))] },
  }, n.site)
  const params = saved.map((s, i) => inputNode(`kept${i}`, 'compute', typeOf(s)))
  return {
    backward: rewrite(backward, reachable(backward), new Map(saved.map((s, i) => [s, params[i] ?? s]))), params,
    values: saved.map((_, i) => make('project', [choice], { index: yes.outputs.length + i })),
  }
}

export function condVjp(n: Node<'cond'>, g: Cotangents, { wants, keep, pullback }: Wanted): Cotangents {
  const { yes, no, atWork } = n.attrs
  const active = yes.inputs.map((p, i) => ({ p, at: i + 1 })).filter(({ p, at }) => isFloat(dtypeOf(p)) && wants(operand(n, at)))
  const given = yes.outputs.flatMap((y, i) => { const d = g[i]; if (d === undefined) return []; const wide = unrounded(d); return [{ i, y, d: wide, param: inputNode(`d.y${i}`, 'compute', { ...typeOf(y), dtype: dtypeOf(wide) }) }] })
  const [a = [], b = []] = [yes, no].map(branch =>
    pullback(given.map(({ i }) => branch.outputs[i] ?? n), given.map(({ param, y }) => converted(param, dtypeOf(y))), active.map(({ p }) => p), keep))
  // What neither branch depends on gets no cotangent; what only one depends on gets zero from the other.
  const flowing = active.map(({ p, at }, k) => ({ p, at, yes: a[k], no: b[k] })).filter(f => f.yes !== undefined || f.no !== undefined)
  // Cotangents of halves leave a branch in f32, as those of a loop's carries do: they may be met by others.
  const wide = (d: Node | undefined, p: Node): Node => (d === undefined ? fullNode(0, shapeOf(p), sumsIn(dtypeOf(p))) : cotangentIn(d, sumsIn(dtypeOf(p))))
  const kept = keptOf(n, flowing.map(f => wide(f.yes, f.p)), keep)
  const results = condNodes(
    operand(n, 0), [...yes.inputs, ...given.map(({ param }) => param), ...kept.params], [...n.inputs.slice(1), ...given.map(({ d }) => d), ...kept.values],
    kept.backward, flowing.map(f => wide(f.no, f.p)), undefined, atWork === undefined ? {} : { atWork },
  )
  const cotangents: (Node | undefined)[] = []
  flowing.forEach(({ at, p }, k) => { const d = results[k]; cotangents[at] = d === undefined ? undefined : converted(d, dtypeOf(p)) })
  return cotangents
}
