/** What sees what in attention, said by places in a sequence and by numbers along it: so that any block of it can be told without the rest. */
import { names, type Dim } from '../core/dim.ts'
import { DimError } from '../core/errors.ts'
import { shown } from '../core/shown.ts'
import { userSite } from '../core/site.ts'
import { broadcastTo } from '../graph/make.ts'
import { iota, isTensor, loose, tensor } from '../graph/tensor.ts'
import type { AnyTensor, Scalar, Tensor } from '../graph/types.ts'

/** What a position of a sequence sees of the sequence itself. */
export interface Seeing<M extends string = string> {
  /** Whether a position sees only itself and those before it; it does unless said. */
  readonly causal?: boolean
  /** How far a position sees: itself and the `window` − 1 before it, and where it is not causal as many after it. A scalar (i32) is known when the program runs: of the layer, say. */
  readonly window?: number | Scalar
  /** Positions that all of their sequence see, those before them too (bools): a prefix, as of a question whose answer is learned (Raffel et al. 2020, prefix LM). */
  readonly prefix?: Tensor<M>
  /** Which document a position belongs to (i32). Documents do not see each other, and none changes a bit of another's results. */
  readonly segments?: Tensor<M>
}

/** What queries along `seq` see of keys along `kvSeq`, whole or of blocks of both. */
export interface Visibility {
  readonly seq: Dim
  readonly kvSeq: Dim
  readonly causal: boolean
  readonly window: number | AnyTensor | undefined
  /** Numbers along the queries: which document they belong to. */
  readonly queries: { readonly segments?: AnyTensor }
  /** Numbers along the keys. */
  readonly keys: { readonly segments?: AnyTensor; readonly prefix?: AnyTensor; readonly keep?: AnyTensor }
  /** The places of both in their sequences, i32, over `seq` and over `kvSeq`. */
  readonly places: { readonly seq: AnyTensor; readonly kvSeq: AnyTensor }
  /** Whether what is not visible must change no bit of anything. */
  readonly isolate: boolean
}

type T = Tensor<string>
/** The same along one dim more. */
const along = (x: AnyTensor, dim: Dim): T => tensor(broadcastTo(x.node, [...x.shape, dim]))

/**
 * What positions of a sequence see of each other: for the option `visible` of `attention`, whose queries lie along `seq` and whose keys along `kvSeq`.
 * @throws DimError for a window that is none
 */
export function seeing<M extends string = never>(seq: Dim, kvSeq: Dim, { causal = true, window, prefix, segments }: Seeing<M> = {}): Visibility {
  const scalar = isTensor(window) && window.shape.length === 0 && window.dtype === 'i32'
  if (window !== undefined && !scalar && !(Number.isInteger(window) && (window as number) > 0)) {
    throw new DimError({ code: 'option', what: `attention: window is ${isTensor(window) ? `${window.dtype} over ${names(window.shape).join(' ')}` : shown(window)}`, fix: 'give a whole number of positions, 1 or more, or a scalar of i32', at: userSite() })
  }
  const atKeys = (x: AnyTensor): T => (seq.name === kvSeq.name ? loose(x) : loose(x).rename(seq.name, kvSeq.name as never))
  return {
    seq, kvSeq, causal, window, isolate: segments !== undefined,
    queries: segments === undefined ? {} : { segments },
    keys: { ...(segments === undefined ? {} : { segments: atKeys(segments) }), ...(prefix === undefined ? {} : { prefix: atKeys(prefix) }) },
    places: { seq: iota(seq), kvSeq: iota(kvSeq) },
  }
}

/** Keys that `keep` (bools) leaves out are seen by none, and matter to none, as padding. */
export const keeping = (seq: Dim, kvSeq: Dim, keep: AnyTensor): Visibility =>
  ({ seq, kvSeq, causal: false, window: undefined, isolate: true, queries: {}, keys: { keep }, places: { seq: iota(seq), kvSeq: iota(kvSeq) } })

/** a along b's other dims too, where neither has all of the other's. */
const wider = (a: T, b: T): T => { const more = b.shape.filter(d => !names(a.shape).includes(d.name)); return more.length === 0 || a.shape.every(d => names(b.shape).includes(d.name)) ? a : more.reduce(along, a) }

/** Bools over dims of queries and keys, `seq` and `kvSeq` among them; undefined where everything sees everything. */
export function visibleIn({ seq, kvSeq, causal, window, queries, keys, places }: Visibility): T | undefined {
  const [i, j] = [along(places.seq, kvSeq), loose(places.kvSeq)]
  const before = (): T => i.greaterEqual(j)
  const distance = (): T => (causal && keys.prefix === undefined ? i.sub(j) : i.sub(j).abs())
  const told: (T | undefined)[] = [
    !causal ? undefined : keys.prefix === undefined ? before() : ((p: T, q: T): T => wider(p, q).or(q))(along(keys.prefix, seq), before()),
    window === undefined ? undefined : distance().less(isTensor(window) ? loose(window) : window as number),
    queries.segments === undefined || keys.segments === undefined ? undefined : along(queries.segments, kvSeq).equal(along(keys.segments, seq)),
    keys.keep === undefined ? undefined : along(keys.keep, seq),
  ]
  return told.filter(x => x !== undefined).reduce<T | undefined>((all, x) => (all === undefined ? x : x.shape.length < all.shape.length ? wider(all, x).and(x) : wider(x, all).and(all)), undefined)
}
