/** The gradient of a choice is a choice of the gradients: the branch that was taken is computed again, and walked back. */
import { isFloat } from '../core/dtype.ts'
import { condNodes } from '../graph/cond.ts'
import { converted, cotangentIn, sumsIn, unrounded } from '../graph/half-precision.ts'
import { inputNode } from '../graph/input.ts'
import { fullNode } from '../graph/make.ts'
import { dtypeOf, operand, shapeOf, typeOf, type Node } from '../graph/node.ts'
import type { Cotangents, Wanted } from './vjps/vjp.ts'

export function condVjp(n: Node<'cond'>, g: Cotangents, { wants, keep, pullback }: Wanted): Cotangents {
  const { yes, no } = n.attrs
  const active = yes.inputs.map((p, i) => ({ p, at: i + 1 })).filter(({ p, at }) => isFloat(dtypeOf(p)) && wants(operand(n, at)))
  const given = yes.outputs.flatMap((y, i) => { const d = g[i]; if (d === undefined) return []; const wide = unrounded(d); return [{ i, y, d: wide, param: inputNode(`d.y${i}`, 'compute', { ...typeOf(y), dtype: dtypeOf(wide) }) }] })
  const [a = [], b = []] = [yes, no].map(branch =>
    pullback(given.map(({ i }) => branch.outputs[i] ?? n), given.map(({ param, y }) => converted(param, dtypeOf(y))), active.map(({ p }) => p), keep))
  // What neither branch depends on gets no cotangent; what only one depends on gets zero from the other.
  const flowing = active.map(({ p, at }, k) => ({ p, at, yes: a[k], no: b[k] })).filter(f => f.yes !== undefined || f.no !== undefined)
  // Cotangents of halves leave a branch in f32, as those of a loop's carries do: they may be met by others.
  const wide = (d: Node | undefined, p: Node): Node => (d === undefined ? fullNode(0, shapeOf(p), sumsIn(dtypeOf(p))) : cotangentIn(d, sumsIn(dtypeOf(p))))
  const results = condNodes(
    operand(n, 0), [...yes.inputs, ...given.map(({ param }) => param)], [...n.inputs.slice(1), ...given.map(({ d }) => d)],
    flowing.map(f => wide(f.yes, f.p)), flowing.map(f => wide(f.no, f.p)),
  )
  const cotangents: (Node | undefined)[] = []
  flowing.forEach(({ at, p }, k) => { const d = results[k]; cotangents[at] = d === undefined ? undefined : converted(d, dtypeOf(p)) })
  return cotangents
}
