/** Loops of a length found out at run time keep nothing for a gradient, so they have none. */
import { isFloat } from '../core/dtype.ts'
import { DimError } from '../core/errors.ts'
import { dtypeOf, type Node } from '../graph/node.ts'
import { activeInputs } from './active.ts'
import type { Cotangents, Wanted } from './vjps/vjp.ts'

/** @throws DimError where a gradient flows through the state. */
export function whileVjp(n: Node<'while'>, g: Cotangents, { wants }: Wanted): Cotangents {
  const { body, carries } = n.attrs
  const active = activeInputs(n, body, carries, wants)
  if (body.inputs.slice(0, carries).every((p, i) => g[i] === undefined || !active.has(p) || !isFloat(dtypeOf(p)))) return []
  throw new DimError({
    code: 'no-gradient', what: 'grad: a gradient flows through whileLoop, which has none: how many turns it would have to walk back is not known',
    fix: 'use scan over a dim of the most turns there can be, or stopGradient where none is wanted', at: n.site,
  })
}
