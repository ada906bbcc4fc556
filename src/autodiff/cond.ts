/** The gradient of a choice is a choice of the gradients: the branch that was taken is computed again, and walked back. */
import { isFloat } from '../core/dtype.ts'
import { condNodes } from '../graph/cond.ts'
import { inputNode } from '../graph/input.ts'
import { fullNode } from '../graph/make.ts'
import { dtypeOf, operand, shapeOf, typeOf, type Node } from '../graph/node.ts'
import type { Cotangents, Wanted } from './vjps/vjp.ts'

export function condVjp(n: Node<'cond'>, g: Cotangents, { wants, keep, pullback }: Wanted): Cotangents {
  const { yes, no } = n.attrs
  const active = yes.inputs.map((p, i) => ({ p, at: i + 1 })).filter(({ p, at }) => isFloat(dtypeOf(p)) && wants(operand(n, at)))
  const given = yes.outputs.flatMap((y, i) => { const d = g[i]; return d === undefined ? [] : [{ i, d, param: inputNode(`d.y${i}`, 'compute', typeOf(y)) }] })
  const [a = [], b = []] = [yes, no].map(branch =>
    pullback(given.map(({ i }) => branch.outputs[i] ?? n), given.map(({ param }) => param), active.map(({ p }) => p), keep))
  // What neither branch depends on gets no cotangent; what only one depends on gets zero from the other.
  const flowing = active.map(({ p, at }, k) => ({ p, at, yes: a[k], no: b[k] })).filter(f => f.yes !== undefined || f.no !== undefined)
  const zero = (p: Node): Node => fullNode(0, shapeOf(p), dtypeOf(p))
  const results = condNodes(
    operand(n, 0), [...yes.inputs, ...given.map(({ param }) => param)], [...n.inputs.slice(1), ...given.map(({ d }) => d)],
    flowing.map(f => f.yes ?? zero(f.p)), flowing.map(f => f.no ?? zero(f.p)),
  )
  const cotangents: (Node | undefined)[] = []
  flowing.forEach(({ at }, k) => { cotangents[at] = results[k] })
  return cotangents
}
