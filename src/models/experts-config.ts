/** What there is to set of the experts of a decoder. */
import { z } from 'zod'

export interface ExpertsConfig {
  readonly count: number
  /** How many of them a token goes to. */
  readonly chosen: number
  /** The width of each. */
  readonly hidden: number
  /** Layers at the beginning that have none, but a feed-forward net as wide as the model's `hidden` (DeepSeek). */
  readonly dense: number
  /** What the router's logits become: `softmax` over the experts, or `sigmoid` of each (DeepSeek-V3). */
  readonly scores: 'softmax' | 'sigmoid'
  /** Whether the scores of a token's experts are made to sum to 1, and what they are multiplied by then. */
  readonly renormalised: boolean
  readonly scale: number
  /** Groups of experts, of which a token uses the best `chosen`, by their best expert or the sum of their best two. */
  readonly within?: { readonly groups: number; readonly chosen: number; readonly by: 'best' | 'bestTwo' } | undefined
  /** The width of an expert that all tokens go to, 0 for none; and whether its answer has a gate of its own (Qwen 2). */
  readonly shared: number
  readonly sharedGate: boolean
  /** How many times an even share of choices an expert takes of each group; all of them unless given, and when text is written. */
  readonly capacity?: number | undefined
  /** Groups that each window is cut into for it. */
  readonly groups: number
  /** What the loss that keeps experts evenly used is multiplied by. */
  readonly balance: number
  /** Whose use is balanced: each layer's over the whole batch, that of all `layers` together (as transformers does), or each group of tokens' by itself: the same however a batch is cut into microbatches. */
  readonly balanceOver: 'batch' | 'layers' | 'groups'
  /** What the mean square of the routers' log Σ exp is multiplied by. */
  readonly zLoss: number
  /** How far biases that choose experts move in a step (Wang et al. 2024); no biases unless given. 0 leaves them as they are. */
  readonly biasRate?: number | undefined
}
type Optional = 'dense' | 'scores' | 'renormalised' | 'scale' | 'shared' | 'sharedGate' | 'groups' | 'balance' | 'balanceOver' | 'zLoss'
export type ExpertsGiven = Omit<ExpertsConfig, Optional> & { readonly [K in Optional]?: ExpertsConfig[K] | undefined }

const count = z.int().min(1).max(2 ** 31 - 1)
const share = z.number().min(0)
export const expertsSchema: z.ZodType<ExpertsConfig, ExpertsGiven> = z.strictObject({
  count, chosen: count, hidden: count, dense: z.int().min(0).default(0), scores: z.enum(['softmax', 'sigmoid']).default('softmax'), renormalised: z.boolean().default(true), scale: z.number().gt(0).default(1),
  within: z.strictObject({ groups: count, chosen: count, by: z.enum(['best', 'bestTwo']) }).optional(),
  shared: z.int().min(0).default(0), sharedGate: z.boolean().default(false), capacity: z.number().gt(0).optional(), groups: count.default(1),
  balance: share.default(0.01), balanceOver: z.enum(['batch', 'layers', 'groups']).default('batch'), zLoss: share.default(0), biasRate: share.optional(),
}).superRefine((c, issues) => {
  const wrong = (path: string, message: string): void => { issues.addIssue({ code: 'custom', path: [path], message }) }
  if (c.chosen > c.count) wrong('chosen', `give at most ${c.count}, as many as there are experts`)
  if (c.sharedGate && c.shared === 0) wrong('sharedGate', 'give the shared expert a width, or it no gate')
  const { within } = c
  if (within === undefined) return
  if (c.count % within.groups !== 0) wrong('within', `give groups that divide count, which is ${c.count}`)
  else if (within.chosen > within.groups || within.chosen * c.count / within.groups < c.chosen) wrong('within', `let tokens use as many of the ${within.groups} groups as hold ${c.chosen} experts`)
  else if (within.by === 'bestTwo' && c.count / within.groups < 2) wrong('within', 'groups of one expert have no best two')
})
