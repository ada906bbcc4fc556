/** Experts that choose tokens (Zhou et al. 2022): each as many, so that none is idle and none overflows. */
import { hiddenName, type Dim } from '../../core/dim.ts'
import { scatter, topK } from '../../graph/indexing.ts'
import { loose, where } from '../../graph/tensor.ts'
import type { Tensor } from '../../graph/types.ts'
import { filledWith } from './loosely.ts'
import type { Scores } from './routing.ts'

type T = Tensor<string>
export interface Choosing { readonly token: Dim; readonly routes: Dim; readonly slots: number; readonly counts: T | undefined }

/** Of each expert the tokens with the highest scores for it; a token's answer is the sum over the experts that chose it. `unasked` are tokens that none chose: … token. */
export function chosenByExperts(x: T, { scores }: Scores, feed: (y: T) => T, { token, routes, slots: size, counts }: Choosing): { readonly value: T; readonly load: T; readonly unasked: T } {
  const slots: Dim = { name: hiddenName(routes.name, 'slots'), size }
  // Scores are above 0: padding is chosen last, and then with a gate of 0.
  const open = counts === undefined ? scores : where(counts, scores, 0)
  const found = topK(open, token.name, slots as Dim<never>)
  const [gates, at] = [loose(found.values), loose(found.indices)]
  const answers = feed(x.take(token.name, at))
  const value = scatter(filledWith(0, x.shape, x.dtype), token.name, at, answers.mul(gates.cast(x.dtype)), 'add')
  const taken = gates.greater(0)
  const times = scatter(filledWith(0, scores.shape.filter(d => d.name !== routes.name), 'i32'), token.name, at, taken.cast('i32'), 'add') as T
  const idle = times.equal(0)
  return { value: loose(value), load: loose(taken.cast('i32').sum(slots.name)), unasked: (counts === undefined ? idle : idle.and(counts)).cast('i32') }
}
