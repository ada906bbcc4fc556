/**
 * Tokens put into the places of experts, and answers brought back: both by looking up, forward and backward, since a place holds one token and a choice has one place. Where groups are
 * split and experts rest split, what is between the two is where an all-to-all goes and one returns.
 */
import { hiddenName, type Dim } from '../../core/dim.ts'
import { withGradient } from '../../graph/custom.ts'
import { loose, where } from '../../graph/tensor.ts'
import type { AnyTensor, Tensor } from '../../graph/types.ts'
import { along } from './loosely.ts'

type T = Tensor<string>
export interface Between {
  readonly token: Dim
  readonly routes: Dim
  readonly slots: Dim
  readonly chosen: Dim
  readonly queue: Dim
  /** Of each place its choice in the queue, and whether it has one: … routes slots. */
  readonly queued: T
  readonly filled: T
  /** Of each choice its place among those of all experts in a row, and whether it has one: … token chosen. */
  readonly place: T
  readonly held: T
}
const ints = ({ queued, filled, place, held }: Between): readonly T[] => [queued, filled, place, held]
/** What is looked up inside a function whose gradient is given has to be among its inputs. */
const inside = (b: Between, [queued, filled, place, held]: readonly AnyTensor[]): Between => ({ ...b, queued: loose(queued as AnyTensor), filled: loose(filled as AnyTensor), place: loose(place as AnyTensor), held: loose(held as AnyTensor) })
const none = [undefined, undefined, undefined, undefined] as const

/** The elements that a mask, of fewer dims, has; 0 elsewhere. */
const kept = (mask: T, x: T): T => where(mask, x, 0)

/** Of each place its token: … routes slots, and x's dims other than the tokens'. */
const atPlaces = (x: T, b: Between): T => kept(b.filled, x.take(b.token.name, b.queued.rem(b.token.size)))
/** Of each choice what is in its place: … token chosen. */
function atChoices(y: T, b: Between): T {
  const all: Dim = { name: hiddenName(b.routes.name, 'places'), size: b.routes.size * b.slots.size }
  return kept(b.held, y.merge([b.routes.name, b.slots.name], all as Dim<never>).take(all.name, b.place))
}

/** x's tokens in the experts' places: … routes slots embed; nothing in places without one. */
export const sent = (x: T, between: Between): T => loose(withGradient([x, ...ints(between)], ([x, ...given]): T => atPlaces(loose(x as AnyTensor), inside(between, given)), (g, _, [, ...given]) => {
  const b = inside(between, given)
  return [loose(atChoices(g, b).sum(b.chosen.name)), ...none]
}))

/** Of each token the sum of what its experts answered, times its gates; what has no place adds nothing. */
export function returned(y: T, gates: T, between: Between): T {
  const { chosen, queue, token } = between
  /** Of each place the gate of its choice. */
  const gatesAt = (gates: T, b: Between): T => kept(b.filled, gates.merge([chosen.name, token.name], queue as Dim<never>).take(queue.name, b.queued))
  return loose(withGradient([y, gates, ...ints(between)], ([y, gates, ...given]): T => {
    const found = atChoices(loose(y as AnyTensor), inside(between, given))
    return loose(found.mul(loose(gates as AnyTensor).cast(found.dtype)).sum(chosen.name))
  }, (g, _, [y, gates, ...given]) => {
    const [b, wide] = [inside(between, given), loose(gates as AnyTensor)]
    const back = atPlaces(g, b)
    const found = atChoices(loose(y as AnyTensor), b)
    const others = found.shape.filter(d => d.name !== chosen.name && !wide.shape.some(e => e.name === d.name)).map(d => d.name)
    return [back.mul(gatesAt(wide, b).cast(back.dtype)), loose(found.cast(wide.dtype).mul(along(g, [chosen]).cast(wide.dtype)).sum(...others)), ...none]
  }))
}
