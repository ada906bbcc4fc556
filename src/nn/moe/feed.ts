/** What experts compute of the tokens in their places. */
import type { Tensor } from '../../graph/types.ts'
import { loose } from '../../graph/tensor.ts'
import { linear, type LinearWeight } from '../linear.ts'
import type { ExpertWeights, MoeDims, MoeOptions } from './options.ts'

type T = Tensor<string>
/** … routes slots embed, and back. By the experts' own name for the dim of routes, and in the layout `experts` where a recipe says one, the tokens meet the weights. */
export function answered(x: T, { gate, up, down }: ExpertWeights, { embed, experts, expertHidden, routes }: MoeDims, { activation }: Pick<MoeOptions, 'activation'>): T {
  // A cotangent goes back to the layout that its tensor had, so where tokens come from is said, too.
  const there = x.rename(routes.name as string, experts.name).relayout('compute').relayout('experts', 'compute')
  const product = (y: T, w: LinearWeight<'experts' | 'expertHidden' | 'embed'>, over: string): T => loose(linear(y, w as unknown as LinearWeight<string>, over))
  const inner = product(there, up, embed.name)
  const hidden = gate === undefined ? activation(inner) : activation(product(there, gate, embed.name)).mul(inner)
  return product(hidden, down, expertHidden.name).relayout('compute').rename(experts.name as string, routes.name)
}
