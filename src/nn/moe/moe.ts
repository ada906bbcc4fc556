/** Layers of experts (Shazeer et al. 2017): each token goes to a few of many feed-forward nets. */
import { hiddenName, type Dim } from '../../core/dim.ts'
import { userSite } from '../../core/site.ts'
import { cond, whereAny } from '../../graph/cond.ts'
import { dimIn } from '../../graph/infer/checks.ts'
import { uniform } from '../../graph/random.ts'
import { scan } from '../../graph/scan.ts'
import { expectDims, iota, loose, tensor, where } from '../../graph/tensor.ts'
import type { Scalar, Tensor } from '../../graph/types.ts'
import { loadOf, usageOf, type Usage } from './balance.ts'
import { returned, sent, type Between } from './dispatch.ts'
import { chosenByExperts } from './expert-choice.ts'
import { answered } from './feed.ts'
import { along, filledWith } from './loosely.ts'
import { checkMoe, slotsOf, type Apart, type MoeDims, type MoeOptions, type MoeWeights } from './options.ts'
import { contents, placeOf, placesOf, type Places } from './places.ts'
import { choices, scored, type Choices } from './routing.ts'

type T = Tensor<string>
export type Moe<D extends string, A extends string = never> = {
  /** Of each token the answers of its experts, by their gates: x's dims. */
  readonly value: Tensor<D>
  readonly usage: Usage<A>
}
/** Of a turn of a dropless layer, against what each expert has where all have as many. */
const roomy = 1.25

/**
 * x's tokens through the experts they choose, or that choose them. A group of tokens is one line along `tokens`, or a part of it (`groups`); all that lies along x's other dims
 * are other groups. Nothing between groups but the weights: with what numbers groups on a mesh axis and `experts` of the weights resting on it, tokens go to the experts and
 * back by an all-to-all each, and so do their gradients. Without drops a token's answer does not hang on any other token.
 * @throws DimError for options that no layer can have, and dims that are missing
 */
export function moe<D extends string, const A extends string = never>(x: Tensor<D>, weights: MoeWeights, d: MoeDims, options: MoeOptions & Apart<A>): Moe<D, A> {
  for (const dim of [d.tokens, d.embed]) dimIn(x.shape, dim.name, 'moe', userSite)
  checkMoe(d, options, x.shape)
  const { router, capacity = 'dropless', groups = 1, counts, jitter, apart = [] } = options
  const { tokens, routes } = d
  const token: Dim = { name: hiddenName(tokens.name, 'token'), size: tokens.size / groups }
  // The groups keep the tokens' name, so that what splits a line splits it between them.
  const parted: readonly Dim[] = [{ name: tokens.name, size: groups }, token]
  const cut = (y: T): T => y.split(tokens.name, parted)
  const lines = x.shape.filter(e => e.name !== d.embed.name)
  const grouped = cut(loose(x))
  const mask = counts === undefined ? undefined : cut(along(loose(counts), lines))
  const shaken = jitter === undefined ? loose(x) : loose(x.mul(loose(uniform(jitter.key, x.shape as readonly Dim[] as readonly [], { low: 1 - jitter.amount, high: 1 + jitter.amount })).cast(x.dtype)))
  const scores = scored(cut(shaken), weights, d, router)
  const shape = grouped.shape.filter(e => e.name !== d.embed.name)
  const counted = mask ?? filledWith(1, shape, 'bool')
  const whole = (y: T): Tensor<D> => expectDims(y.merge([tokens.name, token.name], tokens as Dim<never>), x.shape)
  const feed = (y: T): T => answered(y, weights.experts, d, options)

  if (router.by === 'experts' && capacity !== 'dropless') {
    const { value, load, unasked } = chosenByExperts(grouped, scores, feed, { token, routes, slots: slotsOf(capacity, token.size, d, router), counts: mask })
    return { value: whole(value), usage: usageOf(scores, load, counted, token, routes, unasked, apart) }
  }
  const all = choices(scores, weights.bias, d, router)
  const chosen: Choices = mask === undefined ? all : { ...all, experts: where(mask, all.experts, routes.size) }
  const places = placesOf(chosen, token, routes)
  const even = Math.ceil(roomy * router.chosen * token.size / routes.size)
  const slots: Dim = { name: hiddenName(routes.name, 'slots'), size: capacity === 'dropless' ? Math.min(token.size, even) : slotsOf(capacity, token.size, d, router) }
  const turn = (from: Scalar | number): T => {
    const between: Between = { token, routes, slots, chosen: chosen.chosen, queue: places.queue, ...contents(places, slots, from), ...placeOf(chosen, places, routes, slots, from) }
    return returned(feed(sent(grouped, between)), chosen.gates, between)
  }
  const load = loadOf(chosen.experts, chosen.chosen, token, routes)
  const dropped = capacity === 'dropless' ? filledWith(0, load.shape, 'i32') : load.sub(slots.size).maximum(0)
  return { value: whole(capacity === 'dropless' ? inTurns(turn, places, slots, token, apart) : turn(0)), usage: usageOf(scores, load, counted, token, routes, dropped, apart) }
}

const needed = (p: T, yes: () => T, no: () => T): T => (p.shape.length === 0 ? cond(tensor(p.node), yes, no) : whereAny(p, yes, no))
/** As many turns as the busiest expert of all groups needs, known when the program runs: what is left of them is not computed. */
function inTurns(turn: (from: Scalar | number) => T, { count }: Places, slots: Dim, token: Dim, apart: readonly string[]): T {
  const first = turn(0)
  const more: Dim = { name: hiddenName(slots.name, 'turns'), size: Math.ceil(token.size / slots.size) - 1 }
  if (more.size === 0) return first
  const busiest = count.max(...count.shape.map(e => e.name).filter(name => !apart.includes(name)))
  const from = iota(more).add(1).mul(slots.size)
  const [all] = scan(more as Dim<'turns'>, first, { from: from as unknown as Tensor<'turns'> }, (sum: T, { from: at }) =>
    [sum.add(needed(busiest.greater(at as unknown as T), () => turn(at), () => filledWith(0, first.shape, first.dtype))), {}] as const)
  return loose(all)
}
