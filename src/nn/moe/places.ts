/** Which place of which expert each choice has: known from one stable sort, without a table of tokens × experts × places. */
import { hiddenName, type Dim } from '../../core/dim.ts'
import { cumsum } from '../../graph/cumulative.ts'
import { argsort, oneHot, scatter } from '../../graph/indexing.ts'
import { iota, loose, where } from '../../graph/tensor.ts'
import type { Scalar, Tensor } from '../../graph/types.ts'
import { filledWith } from './loosely.ts'
import type { Choices } from './routing.ts'

type T = Tensor<string>
/** Of groups of tokens; all i32. The queue is of all first choices, then all second ones, each in the tokens' order. */
export interface Places {
  readonly queue: Dim
  /** How many choices an expert has: … routes. */
  readonly count: T
  /** The queue by experts, and where an expert's begin there: … queue, … routes. */
  readonly order: T
  readonly begin: T
  /** Of each choice how many of its expert's come before it: … token chosen. */
  readonly rank: T
}

/** `experts` of a choice that goes nowhere is the number of experts. */
export function placesOf({ experts, chosen }: Choices, token: Dim, routes: Dim): Places {
  const queue: Dim = { name: hiddenName(token.name, 'queue'), size: token.size * chosen.size }
  const queued = experts.merge([chosen.name, token.name], queue as Dim<never>)
  const order = argsort(queued, queue.name)
  const count = loose(loose(oneHot(queued, routes as Dim<never>, 'i32')).sum(queue.name))
  const begin = cumsum(count, routes.name, { exclusive: true })
  const at = scatter(filledWith(0, order.shape, 'i32'), queue.name, order, loose(iota(queue))) as T
  // What goes nowhere is behind all.
  const ranks = at.sub(begin.take(routes.name, queued))
  return { queue, count, order, begin, rank: ranks.split(queue.name, [chosen, token] as readonly Dim[]) }
}

/** What lies in so many places of every expert, from one on: the place in the queue, and whether there is anything. … routes slots. */
export function contents({ order, begin, count, queue }: Places, slots: Dim, from: Scalar | number): { readonly queued: T; readonly filled: T } {
  const nth = loose(iota(slots)).add(from as number)
  const shape = [...begin.shape, slots]
  const wide = (t: T): T => filledWith(0, shape, 'i32').add(t)
  return { queued: order.take(queue.name, wide(begin).add(nth).clamp(0, queue.size - 1)), filled: wide(nth).less(wide(count)) }
}

/** Of each choice its place among `slots` of every expert in a row, from one place on, and whether it has one. … token chosen. */
export function placeOf({ experts }: Choices, { rank }: Places, routes: Dim, slots: Dim, from: Scalar | number): { readonly place: T; readonly held: T } {
  const within = rank.sub(from as number)
  const held = within.greaterEqual(0).and(within.less(slots.size)).and(experts.less(routes.size))
  return { place: where(held, experts.mul(slots.size).add(within), 0), held }
}
