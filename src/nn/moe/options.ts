/** What there is to say of a layer of experts, and what it is told of is checked. */
import type { Dim } from '../../core/dim.ts'
import { DimError } from '../../core/errors.ts'
import { shown } from '../../core/shown.ts'
import { userSite } from '../../core/site.ts'
import type { Key } from '../../graph/random.ts'
import type { Tensor } from '../../graph/types.ts'
import type { LinearWeight } from '../linear.ts'

/** How tokens find experts. */
export interface Router {
  /** How many experts a token goes to; where experts choose, on average. */
  readonly chosen: number
  /** Of the router's logits: `softmax` over the experts (unless said), or `sigmoid` of each (DeepSeek-V3). */
  readonly scores?: 'softmax' | 'sigmoid'
  /** Whether the scores of a token's experts are made to sum to 1. They are not unless said: Switch's are not, Mixtral's are. */
  readonly renormalised?: boolean
  /** What the scores are multiplied by then; 1 unless said. */
  readonly scale?: number
  /** Experts lie in so many equal groups, of which a token may use the best `chosen`, by their best expert or the sum of their best two (DeepSeek-V2, V3). */
  readonly within?: { readonly groups: number; readonly chosen: number; readonly by: 'best' | 'bestTwo' }
  /** Whether tokens choose experts (unless said), or experts tokens (Zhou et al. 2022): then each has as many, whatever comes behind them, and a token's experts depend on those after it. */
  readonly by?: 'tokens' | 'experts'
}
/**
 * How many tokens of a group an expert takes. `dropless`: all that choose it, in as many turns as the busiest expert needs. Else `slots` of them, or `factor` times what each has where all have as many;
 * what chooses it behind that gets nothing from it: all first choices come before all second ones, earlier tokens before later ones.
 */
export type Capacity = 'dropless' | { readonly factor: number } | { readonly slots: number }

export interface MoeOptions {
  readonly router: Router
  /** `dropless` unless said. */
  readonly capacity?: Capacity
  /** How many groups the tokens of a line are cut into; 1 unless said. Each group has its own places: a number of the model, not of a mesh. */
  readonly groups?: number
  /** Of the experts' first product. */
  readonly activation: (x: Tensor<string>) => Tensor<string>
  /** What the router sees is multiplied by, drawn from 1 − `amount` to 1 + `amount`: in training (Fedus et al. 2021). */
  readonly jitter?: { readonly key: Key; readonly amount: number }
  /** Bools along dims of the tokens: those that are false (padding) go to no expert and count nowhere. */
  readonly counts?: Tensor<string>
}
/** Dims of x, other than those of tokens and `embed`, along which nothing is joined: `usage` is told of each of their elements by itself. As the batch's in the blocks of a pipeline, which see a part of it. */
export interface Apart<A extends string> { readonly apart?: readonly A[] }

/** Weights of experts beside one another; `gate` where units are gated: activation(gate x) · up x, else activation(up x). */
export type ExpertWeights = { readonly gate?: LinearWeight<'experts' | 'expertHidden' | 'embed'>; readonly up: LinearWeight<'experts' | 'expertHidden' | 'embed'>; readonly down: LinearWeight<'experts' | 'expertHidden' | 'embed'> }
export type MoeWeights = {
  /** Its dim is not `experts`, which a layout may split: every token asks all of it. */
  readonly router: Tensor<'routes' | 'embed'>
  /** Added to the scores where experts are chosen, and nowhere else (Wang et al. 2024): it has no gradient, `balancedBias` moves it. */
  readonly bias?: Tensor<'routes'>
  readonly experts: ExpertWeights
}
export type MoeDims = { readonly [N in 'embed' | 'experts' | 'expertHidden' | 'routes']: Dim<N> } & { /** The dim along which tokens of a line lie. */ readonly tokens: Dim }

/** @throws DimError for what no layer of experts can have */
export function checkMoe({ experts, routes, tokens, embed }: MoeDims, { router, capacity, groups = 1, jitter, apart = [] }: MoeOptions & Apart<string>, lines: readonly Dim[]): void {
  const wrong = (what: string, fix: string): DimError => new DimError({ code: 'option', what: `moe: ${what}`, details: { experts: String(experts.size) }, fix, at: userSite() })
  const count = (n: unknown): n is number => Number.isSafeInteger(n) && (n as number) >= 1
  const { chosen, within, by } = router
  if (routes.size !== experts.size) throw wrong(`the router tells ${routes.size} experts apart, and there are ${experts.size}`, 'give routes the size of experts')
  if (!count(chosen) || chosen > experts.size) throw wrong(`router.chosen is ${shown(chosen)}`, `give a whole number from 1 to ${experts.size}`)
  if (router.scale !== undefined && !Number.isFinite(router.scale)) throw wrong(`router.scale is ${shown(router.scale)}`, 'give a number')
  if (jitter !== undefined && !(jitter.amount > 0 && jitter.amount < 1)) throw wrong(`jitter.amount is ${shown(jitter.amount)}`, 'give a share above 0 and below 1, or no jitter')
  if (!count(groups) || tokens.size % groups !== 0) throw wrong(`groups is ${shown(groups)}, and there are ${tokens.size} tokens along "${tokens.name}"`, 'give a number that divides them')
  const joined = apart.find(name => name === tokens.name || name === embed.name || !lines.some(e => e.name === name))
  if (joined !== undefined) throw wrong(`apart has ${shown(joined)}`, `name dims of x that are neither "${tokens.name}" nor "${embed.name}"`)
  if (typeof capacity === 'object') {
    if ('factor' in capacity && !(capacity.factor > 0 && capacity.factor < Infinity)) throw wrong(`capacity.factor is ${shown(capacity.factor)}`, 'give a number above 0, such as 1.25')
    if ('slots' in capacity && !count(capacity.slots)) throw wrong(`capacity.slots is ${shown(capacity.slots)}`, 'give a whole number of at least 1')
  } else if (by === 'experts') throw wrong('experts choose tokens, and it is not said how many', 'give a capacity: { factor: 1 } is as many as there are choices')
  if (within === undefined) return
  if (by === 'experts') throw wrong('groups of experts (router.within) are for tokens to choose from', 'leave one of both out')
  if (!count(within.groups) || experts.size % within.groups !== 0) throw wrong(`router.within.groups is ${shown(within.groups)}`, `give a number that divides ${experts.size}`)
  if (!count(within.chosen) || within.chosen > within.groups) throw wrong(`router.within.chosen is ${shown(within.chosen)}`, `give a whole number from 1 to ${within.groups}`)
  const size = experts.size / within.groups
  if (within.by === 'bestTwo' && size < 2) throw wrong(`groups of ${size} have no best two experts`, 'give fewer groups, or by: \'best\'')
  if (within.chosen * size < chosen) throw wrong(`${within.chosen} groups of ${size} experts have fewer than ${chosen}`, 'let tokens use more groups')
}

/** How many places an expert has in a group of tokens. */
export const slotsOf = (capacity: Exclude<Capacity, 'dropless'>, tokens: number, { experts }: Pick<MoeDims, 'experts'>, { chosen }: Router): number =>
  Math.min(tokens, 'slots' in capacity ? capacity.slots : Math.ceil(capacity.factor * chosen * tokens / experts.size))
