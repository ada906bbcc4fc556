/** Which experts tokens go to, and what their answers are multiplied by. */
import { hiddenName, type Dim } from '../../core/dim.ts'
import { oneHot, topK } from '../../graph/indexing.ts'
import { sumsIn } from '../../graph/half-precision.ts'
import { loose, where } from '../../graph/tensor.ts'
import type { AnyTensor, Tensor } from '../../graph/types.ts'
import { softmax } from '../functional.ts'
import type { MoeDims, MoeWeights, Router } from './options.ts'

type T = Tensor<string>
export interface Scores {
  /** The router's, and what became of them: … routes, in f32 where tokens are halves. */
  readonly logits: T
  readonly scores: T
  /** Scores that sum to 1. */
  readonly shares: T
}
export interface Choices { /** i32, the best first: … chosen. */ readonly experts: T; /** … chosen. */ readonly gates: T; readonly chosen: Dim }

/** All of it in f32 where tokens are halves (Fedus et al. 2021): which expert is the best must not hang on a rounding. */
export function scored(x: T, { router }: MoeWeights, { embed, routes }: MoeDims, { scores: kind = 'softmax' }: Router): Scores {
  const wide = sumsIn(x.dtype)
  const logits = x.cast(wide).dot(loose(router).cast(wide), embed.name as string)
  if (kind === 'softmax') {
    const scores = softmax(logits, routes.name as string)
    return { logits, scores, shares: scores }
  }
  const scores = logits.sigmoid()
  return { logits, scores, shares: scores.div(scores.sum(routes.name as string).add(1e-20)) }
}

/** −∞ for experts of groups that a token may not use. */
function limited(scores: T, { name, size }: Dim, { groups, chosen, by }: NonNullable<Router['within']>): T {
  const [group, member, best]: readonly Dim[] = [{ name: hiddenName(name, 'group'), size: groups }, { name: hiddenName(name, 'member'), size: size / groups }, { name: hiddenName(name, 'best'), size: by === 'best' ? 1 : 2 }]
  if (group === undefined || member === undefined || best === undefined) return scores
  const cut = scores.split(name, [group, member])
  const of = loose(loose(topK(cut, member.name, best as Dim<never>).values).sum(best.name))
  const taken = loose(topK(of, group.name, { name: hiddenName(name, 'taken'), size: chosen } as Dim<never>).indices)
  const open = loose(oneHot(taken, { ...group, name: group.name } as Dim<never>, 'i32')).sum(hiddenName(name, 'taken')).greater(0)
  return where(loose(open), cut, -Infinity).merge([group.name, member.name], { name, size } as Dim<never>)
}

/** The best experts of each token; of equal ones the first. */
export function choices({ scores }: Scores, bias: AnyTensor | undefined, { routes }: MoeDims, { chosen: count, renormalised = false, scale = 1, within }: Router): Choices {
  const chosen: Dim = { name: hiddenName(routes.name, 'chosen'), size: count }
  const biased = bias === undefined ? scores : scores.add(loose(bias).cast(scores.dtype))
  const open = within === undefined ? biased : limited(biased, routes, within)
  const experts = loose(topK(open.stopGradient(), routes.name as string, chosen as Dim<never>).indices)
  // Of each choice its own score: a sum over a mask, whose gradient is a mask too, where looking it up would scatter.
  const picked = loose(where(loose(oneHot(experts, routes as Dim<never>, 'bool')), scores, 0).sum(routes.name as string))
  const gates = renormalised ? picked.div(picked.sum(chosen.name).add(1e-20)) : picked
  return { experts, gates: scale === 1 ? gates : gates.mul(scale), chosen }
}
