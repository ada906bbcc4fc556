/**
 * How the parts of a sequence come to meet. In a ring (Liu, Zaharia and Abbeel 2023) keys and values go round, a part at a time, and the softmax is summed online; backward they go round once
 * more, and their gradients with them, so that n parts take n − 1 hops of each. In zigzag (Llama 3's order; Zhu 2024, ring-flash-attention) lane i holds parts i and 2n − 1 − i of
 * twice as many, so that under a causal mask every lane has as much to do in each turn. Gathered, all lanes see all keys at once.
 */
import type { Dim } from '../core/dim.ts'
import { concat, index, roll, slice, stack } from '../graph/rearrange.ts'
import { scan } from '../graph/scan.ts'
import { full, iota, loose, where } from '../graph/tensor.ts'
import type { Tensor } from '../graph/types.ts'
import { met, metBack, ordered, present, type Changes, type Keys, type Known, type Queries, type Sums, type Terms } from './meeting.ts'

type T = Tensor<string>
/** Of both sides, over lanes and the rows or keys of one. */
export interface Sides {
  readonly queries: { readonly q: T; readonly segments?: T }
  readonly keys: { readonly k: T; readonly v: T; readonly segments?: T; readonly prefix?: T; readonly keep?: T }
}
/** A way to meet: forward, and back. */
export interface Ring {
  readonly forward: (t: Terms, sides: Sides) => Sums
  readonly backward: (t: Terms, sides: Sides, known: Known) => Changes
}
type Travelling = Sides['keys']
/** To the next lane, or back to the one before. */
const sent = <X extends { readonly [name: string]: T | undefined }>(t: Terms, x: X, by: 1 | -1): X =>
  Object.fromEntries(Object.entries(x).filter(([, y]) => y !== undefined).map(([name, y]) => [name, roll(y as T, t.lanes.name, by)])) as X
const summed = (a: Changes, b: Changes): Changes => ({ dq: a.dq.add(b.dq), dk: a.dk.add(b.dk), dv: a.dv.add(b.dv) })
/** Of each lane the one whose keys it has after so many turns. */
const source = ({ lanes }: Terms, turn: T, by: 1 | -1): T => (by === 1 ? loose(iota(lanes)).add(lanes.size).sub(turn) : loose(iota(lanes)).add(turn)).rem(lanes.size)
const numbered = (turn: number): T => loose(full(turn, [], 'i32'))

/** Keys and values as one tensor, where they are of one dtype. */
type Packed = Partial<Travelling> & { readonly kv?: T }
function together(t: Terms, { k, v }: Travelling): { readonly packed: (keys: Travelling) => Packed; readonly unpacked: (keys: Packed) => Travelling } {
  if (k.dtype !== v.dtype) return { packed: keys => keys, unpacked: keys => keys as Travelling }
  const elements = (x: T): number => x.shape.find(d => d.name === t.headDim.name)?.size ?? 1
  const width = elements(k)
  const like = k.shape.map(d => (d.name === t.headDim.name ? { name: d.name, size: elements(v) } : d))
  return {
    packed: ({ k, v, ...others }) => ({ kv: loose(concat([k, ordered(v, like)], t.headDim.name)), ...others }),
    unpacked: ({ kv, ...others }) => ({ ...others, k: slice(kv as T, t.headDim.name, { end: width }), v: slice(kv as T, t.headDim.name, { start: width }) }),
  }
}

/** What a lane does with its own keys, and in a later turn with those of `from`. */
interface Turns {
  readonly own: (t: Terms, sides: Sides) => Sums
  readonly next: (t: Terms, queries: Sides['queries'], keys: Travelling, from: T, sums: Sums) => Sums
  readonly ownBack: (t: Terms, sides: Sides, known: Known) => Changes
  readonly nextBack: (t: Terms, queries: Sides['queries'], known: Known, keys: Travelling, from: T) => Changes
}

/** Keys are sent on before a turn computes with them, so that they travel meanwhile. */
const ring = ({ own, next, ownBack, nextBack }: Turns): Ring => ({
  forward: (t, { queries, keys }) => {
    const first = own(t, { queries, keys })
    if (t.lanes.size === 1) return first
    const later: Dim = { name: `${t.lanes.name}Turns`, size: t.lanes.size - 2 }
    type State = { readonly keys: Travelling; readonly sums: Sums }
    const begin: State = { keys: sent(t, keys, 1), sums: first }
    const last = later.size === 0 ? begin : (scan(later as Dim<never>, begin as never, { turn: iota(later) }, (s: never, { turn }) => {
      const { keys, sums } = s as State
      return [{ keys: sent(t, keys, 1), sums: next(t, queries, keys, source(t, loose(turn).add(1), 1), sums) } as never, {}] as const
    })[0] as State)
    return next(t, queries, last.keys, source(t, numbered(t.lanes.size - 1), 1), last.sums)
  },
  backward: (t, { queries, keys }, known) => {
    const first = ownBack(t, { queries, keys }, known)
    if (t.lanes.size === 1) return first
    const later: Dim = { name: `${t.lanes.name}Turns`, size: t.lanes.size - 2 }
    // Keys and values travel as one: nothing that has travelled before is kept for it. The gradients of keys begin where these come to first, so that they too take one hop less than there are lanes.
    type State = { readonly keys: Packed; readonly dq: T; readonly dk: T; readonly dv: T }
    const zero = (x: T): T => loose(full(0, x.shape as unknown as readonly Dim<never>[], x.dtype))
    const step = (keys: Packed, turn: T, s: Omit<State, 'keys'>): Omit<State, 'keys'> => {
      const { dq, dk, dv } = summed(s, nextBack(t, queries, known, unpacked(keys), source(t, turn, -1)))
      return { dq, ...sent(t, { dk, dv }, -1) }
    }
    const { packed, unpacked } = together(t, keys)
    const begin: State = { keys: sent(t, packed(keys), -1), dq: first.dq, dk: zero(first.dk), dv: zero(first.dv) }
    const { keys: far, ...rest } = later.size === 0 ? begin : (scan(later as Dim<never>, begin as never, { turn: iota(later) }, (s: never, { turn }) => {
      const { keys, ...sums } = s as State
      return [{ keys: sent(t, keys, -1), ...step(keys, loose(turn).add(1), sums) } as never, {}] as const
    })[0] as State)
    const { dq, dk, dv } = step(far, numbered(t.lanes.size - 1), rest)
    return { dq, dk: dk.add(first.dk), dv: dv.add(first.dv) }
  },
})

const lane = ({ lanes }: Terms): T => loose(iota(lanes))
const placed = <X extends object>(x: X, first: T): X & { readonly first: T } => ({ ...x, first })

const plain: Turns = {
  own: (t, { queries, keys }) => met(t, placed(queries, lane(t).mul(t.rows.size)), placed(keys, lane(t).mul(t.keys.size)), undefined),
  next: (t, queries, keys, from, sums) => met(t, placed(queries, lane(t).mul(t.rows.size)), placed(keys, from.mul(t.keys.size)), sums),
  ownBack: (t, { queries, keys }, known) => metBack(t, placed(queries, lane(t).mul(t.rows.size)), known, placed(keys, lane(t).mul(t.keys.size))),
  nextBack: (t, queries, known, keys, from) => metBack(t, placed(queries, lane(t).mul(t.rows.size)), known, placed(keys, from.mul(t.keys.size))),
}

/** The halves of what lies along `rows` or `keys`: of each lane the early part and the late one. */
const half = (x: T, along: Dim, which: 0 | 1): T => index(x.split(along.name, [{ name: `${along.name}Halves`, size: 2 }, { name: along.name, size: along.size / 2 }] as readonly Dim[]), `${along.name}Halves`, which)
const halves = <X extends object>(x: X, along: Dim): readonly [X, X] => {
  const of = (which: 0 | 1): X => Object.fromEntries(Object.entries(present(x as { readonly [name: string]: T | undefined })).map(([name, y]) => [name, half(y as T, along, which)])) as X
  return [of(0), of(1)]
}
const whole = (early: T, late: T, along: Dim): T => loose(stack<string, string>([early, late], { name: `${along.name}Halves`, size: 2 } as Dim<never>)).merge([`${along.name}Halves`, along.name], along)
const picked = <X extends object>(p: T, a: X, b: X): X => Object.fromEntries(Object.entries(present(a as { readonly [name: string]: T | undefined })).map(([name, x]) => [name, where(p, x as T, (b as { readonly [name: string]: T })[name] as T)])) as X
const halved = (t: Terms): Terms => ({ ...t, rows: { ...t.rows, size: t.rows.size / 2 }, keys: { ...t.keys, size: t.keys.size / 2 } })
/** Where nothing but causality says what is seen, halves of other lanes are seen whole or not at all. */
const bare = (t: Terms, keys: Travelling): boolean => t.window === undefined && keys.segments === undefined && keys.keep === undefined

/** Where the late half of a lane begins. */
const late = (t: Terms, lane: T, size: number): T => lane.neg().add(2 * t.lanes.size - 1).mul(size)
/** A lane's two halves, and where they are. */
function both<X extends object>(t: Terms, x: X, along: Dim, of: T): readonly [X & { readonly first: T }, X & { readonly first: T }] {
  const [a, b] = halves(x, along)
  return [placed(a, of.mul(along.size / 2)), placed(b, late(t, of, along.size / 2))]
}
const bothQueries = (t: Terms, queries: Sides['queries']): readonly [Queries, Queries] => both(t, queries, t.rows, lane(t))
const bothKeys = (t: Terms, keys: Travelling, from: T): readonly [Keys, Keys] => both(t, keys, t.keys, from)
const bothSums = (t: Terms, sums: Sums): readonly [Sums, Sums] => halves(sums, t.rows)
const wholeSums = (t: Terms, a: Sums, b: Sums): Sums => ({ most: whole(a.most, b.most, t.rows), sum: whole(a.sum, b.sum, t.rows), value: whole(a.value, b.value, t.rows) })
const wholeChanges = (t: Terms, q: readonly [T, T], k: readonly [T, T], v: readonly [T, T]): Changes => ({ dq: whole(...q, t.rows), dk: whole(...k, t.keys), dv: whole(...v, t.keys) })
const none = (p: T, x: T): T => where(p, x, 0)

/** Of three pairs of halves two are seen in each turn: the late queries see the early keys, and either early queries these too, or late queries the late keys. */
const zigzag: Turns = {
  own: (t, { queries, keys }) => {
    const [[q0, q1], [k0, k1], h] = [bothQueries(t, queries), bothKeys(t, keys, lane(t)), halved(t)]
    return wholeSums(t, met(h, q0, k0, undefined), met(h, q1, k1, met(h, q1, k0, undefined, bare(t, keys))))
  },
  next: (t, queries, keys, from, sums) => {
    const [[q0, q1], [k0, k1], [s0, s1], h] = [bothQueries(t, queries), bothKeys(t, keys, from), bothSums(t, sums), halved(t)]
    const before = from.less(lane(t))
    const s = met(h, picked(before, q0, q1), picked(before, k0, k1), picked(before, s0, s1), bare(t, keys))
    return wholeSums(t, picked(before, s, s0), met(h, q1, k0, picked(before, s1, s), bare(t, keys)))
  },
  ownBack: (t, { queries, keys }, known) => {
    const [[q0, q1], [k0, k1], [n0, n1], h] = [bothQueries(t, queries), bothKeys(t, keys, lane(t)), halves(known, t.rows), halved(t)]
    const [a, b, c] = [metBack(h, q0, n0, k0), metBack(h, q1, n1, k0, bare(t, keys)), metBack(h, q1, n1, k1)]
    return wholeChanges(t, [a.dq, b.dq.add(c.dq)], [a.dk.add(b.dk), c.dk], [a.dv.add(b.dv), c.dv])
  },
  nextBack: (t, queries, known, keys, from) => {
    const [[q0, q1], [k0, k1], [n0, n1], h] = [bothQueries(t, queries), bothKeys(t, keys, from), halves(known, t.rows), halved(t)]
    const before = from.less(lane(t))
    const [a, b] = [metBack(h, picked(before, q0, q1), picked(before, n0, n1), picked(before, k0, k1), bare(t, keys)), metBack(h, q1, n1, k0, bare(t, keys))]
    const split = (x: T): readonly [T, T] => [none(before, x), none(before.not(), x)]
    const [[dq0, dq1], [dk0, dk1], [dv0, dv1]] = [split(a.dq), split(a.dk), split(a.dv)]
    return wholeChanges(t, [dq0, dq1.add(b.dq)], [dk0.add(b.dk), dk1], [dv0.add(b.dv), dv1])
  },
}

/** The keys of all lanes are one sequence, which has no lanes. */
const inOne = <X extends object>(t: Terms, keys: X): X & { readonly first: T } => {
  const all = Object.fromEntries(Object.entries(present(keys as { readonly [name: string]: T | undefined })).map(([name, x]) => [name, (x as T).merge([t.lanes.name, t.keys.name], { name: t.keys.name, size: t.lanes.size * t.keys.size })])) as unknown as X
  return placed(all, numbered(0))
}
const gather: Ring = {
  forward: (t, { queries, keys }) => met(t, placed(queries, lane(t).mul(t.rows.size)), inOne(t, keys), undefined),
  backward: (t, { queries, keys }, known) => {
    // Keys and values come as one, once more: held since the forward pass they would be as large as if sequences were not split.
    const { packed, unpacked } = together(t, keys)
    const own: Keys = placed(unpacked(inOne(t, packed(keys))), numbered(0))
    const { dq, dk, dv } = metBack(t, placed(queries, lane(t).mul(t.rows.size)), known, own)
    return { dq, dk: dk.sum(t.lanes.name), dv: dv.sum(t.lanes.name) }
  },
}

export const rings: { readonly ring: Ring; readonly zigzag: Ring; readonly gather: Ring } = { ring: ring(plain), zigzag: ring(zigzag), gather }
