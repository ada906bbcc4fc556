/** A contraction of numbers of 16 or of 8 bits that were widened for it is one of those that gives f32: the same products and sums, at less reading. */
import { isBits, isEight, type DType } from '../../core/dtype.ts'
import { dtypeOf, nodesOf, operand } from '../../graph/node.ts'
import type { LocalAttrs, LocalNode } from '../local.ts'
import type { Pass } from './rewrite.ts'

const before = (n: LocalNode): LocalNode | undefined => (n.op === 'convert' && n.attrs.dtype === 'f32' && isBits(dtypeOf(operand(n, 0))) ? operand(n, 0) : undefined)

/** Whether factors of these dtypes are contracted as they are: halves of one kind; floats of 8 bits, of which cuBLASLt takes either format, but not two of f8e5m2. */
export const contractedTogether = (a: DType, b: DType): boolean => (a === b ? isBits(a) && a !== 'f8e5m2' : isEight(a) && isEight(b))

export const contractHalves: Pass = (body, make) => {
  const replaced = new Map<LocalNode, LocalNode>()
  for (const n of nodesOf<LocalAttrs, 'dot'>(body.outputs, 'dot')) {
    const [a, b] = [before(operand(n, 0)), before(operand(n, 1))]
    if (a !== undefined && b !== undefined && contractedTogether(dtypeOf(a), dtypeOf(b))) replaced.set(n, make('dot', [a, b], { ...n.attrs, gives: 'f32' }, n.site))
  }
  return replaced
}
