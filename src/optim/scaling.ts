/** Loss scaling that follows the gradients (Micikevicius et al. 2018, §3.2): small ones survive f16, large ones are noticed. */
import { input } from '../graph/input.ts'
import { full, mapTree, where, zipTrees } from '../graph/tensor.ts'
import type { Scalar, Tree } from '../graph/types.ts'

export interface LossScaling {
  /** What the loss is multiplied by at first: a power of two, so that nothing is rounded. */
  readonly initial: number
  /** Steps in a row with finite gradients after which the scale is doubled. */
  readonly growEvery: number
}
/** The scale (f32), and the finite steps since it last changed (i32). */
export type Scale = { readonly scale: Scalar; readonly since: Scalar }

const [least, most] = [1, 2 ** 24]

export const scaleInput = (): Scale => ({ scale: input('scale', []), since: input('since', [], 'i32') })
export const initialScale = ({ initial }: LossScaling): Scale => ({ scale: full(initial, []), since: full(0, [], 'i32') })

/** The scale is halved after a step that overflowed, and doubled after `growEvery` steps in a row that did not. `finite` is a bool scalar. */
export function nextScale({ scale, since }: Scale, finite: Scalar, { growEvery }: LossScaling): Scale {
  const counted = since.add(1)
  const grows = counted.greaterEqual(growEvery)
  const grown = where(grows, scale.mul(2), scale).minimum(most)
  return { scale: where(finite, grown, scale.mul(0.5).maximum(least)), since: where(finite, where(grows.not(), counted, 0), 0) }
}

/** The gradients without the scale: half precision as f32. */
export const unscaled = <P extends Tree>(grads: P, { scale }: Scale): P => mapTree(grads, g => {
  const wide = g.dtype === 'f64' ? g : g.cast('f32')
  return wide.div(scale.cast(wide.dtype))
})

/** The first tree where `condition` (a bool scalar) holds, else the second. */
export const chosen = <T extends Tree>(condition: Scalar, yes: T, no: T): T => zipTrees(yes, no, (a, b) => where(condition, a, b))
