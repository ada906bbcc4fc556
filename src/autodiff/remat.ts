/** Which values of a loop's body are kept for its gradient; what is not kept is computed again (Chen et al. 2016). */
import { names } from '../core/dim.ts'
import { operand, shapeOf, type Node } from '../graph/node.ts'

export type Remat = 'everything' | 'nothing' | 'contractions'

/** A contraction against a weight: no dim is shared, so it is where the work and the collectives are. Scores of attention are not. */
const isWeightContraction = (n: Node): boolean => {
  if (n.op !== 'dot') return false
  const right = names(shapeOf(operand(n, 1)))
  return names(shapeOf(operand(n, 0))).every(d => n.attrs.over.includes(d) || !right.includes(d))
}

/** Recompute `everything`, `nothing`, or all but the `contractions` with weights, so that no collective is repeated. */
export const keeps: { readonly [R in Remat]: (n: Node) => boolean } = {
  everything: () => false,
  nothing: () => true,
  contractions: isWeightContraction,
}
