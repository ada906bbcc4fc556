/** A contraction of half-precision numbers that were widened for it is one in half precision that gives f32: the same products and sums, at half the reading. */
import { isHalf } from '../../core/dtype.ts'
import { dtypeOf, operand, orderOf } from '../../graph/node.ts'
import type { LocalNode } from '../local.ts'
import type { Pass } from './rewrite.ts'

const before = (n: LocalNode): LocalNode | undefined => (n.op === 'convert' && n.attrs.dtype === 'f32' && isHalf(dtypeOf(operand(n, 0))) ? operand(n, 0) : undefined)

export const contractHalves: Pass = (body, make) => {
  const replaced = new Map<LocalNode, LocalNode>()
  for (const n of orderOf(body.outputs)) {
    if (n.op !== 'dot') continue
    const [a, b] = [before(operand(n, 0)), before(operand(n, 1))]
    if (a !== undefined && b !== undefined && dtypeOf(a) === dtypeOf(b)) replaced.set(n, make('dot', [a, b], { ...n.attrs, gives: 'f32' }, n.site))
  }
  return replaced
}
