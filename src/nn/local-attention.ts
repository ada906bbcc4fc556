/** Attention in blocks, of a position to its own block and the one before (Mesh-TensorFlow's local attention; Parmar et al. 2018): costs seq · block, not seq². */
import { hiddenName, nameOf, type Dim, type DimLike } from '../core/dim.ts'
import { DimError } from '../core/errors.ts'
import { userSite } from '../core/site.ts'
import { dimIn } from '../graph/infer/checks.ts'
import { concat, shift } from '../graph/rearrange.ts'
import { broadcastTo } from '../graph/make.ts'
import { iota, loose, tensor } from '../graph/tensor.ts'
import type { AnyTensor, Minus, Tensor, Unsettled } from '../graph/types.ts'
import { attention } from './attention.ts'

export interface LocalAttention<M extends string = string> {
  /** Positions of a block; it divides the sequence. */
  readonly block: number
  /** Whether a position sees only itself and those before it; it does unless said. Where it does not it sees the block after, too. */
  readonly causal?: boolean
  /** Which document a position belongs to (i32, over some of x's dims). Documents do not see each other, and none changes a bit of another's results. */
  readonly segments?: Tensor<M>
  /** What products are multiplied by: 1 / √n unless said. */
  readonly scale?: number
}

/**
 * softmax(query · key / √n) · value, where a position sees of its sequence what lies in its own block and the one before, up to itself. Queries, keys and values
 * lie along `seq`; what is computed are blocks × block × 2 block scores. Along a split `seq` a device asks its neighbour for one block alone.
 * @throws DimError when a dim is missing, or blocks do not divide the sequence
 */
export function localAttention<Q extends string, V extends string, H extends Q | Unsettled<Q>, S extends (Q & V) | Unsettled<Q | V>, M extends string = never>(
  query: Tensor<Q>, key: Tensor<NoInfer<Q>>, value: Tensor<V>, over: { readonly headDim: DimLike<H>; readonly seq: DimLike<S> }, { block: size, causal = true, segments, scale }: LocalAttention<M>,
): Tensor<Minus<Q, H> | V> {
  const seq: Dim = dimIn(query.shape, over.seq, 'localAttention', userSite)
  for (const t of [loose(key), loose(value)]) dimIn(t.shape, over.seq, 'localAttention', userSite)
  if (!Number.isSafeInteger(size) || size < 1 || seq.size % size !== 0) throw new DimError({ code: 'option', what: `localAttention: blocks of ${size} do not divide "${seq.name}" of size ${seq.size}`, fix: 'give a number that does', at: userSite() })
  // The blocks keep the sequence's name, so that what splits it splits them.
  const [blocks, inner, seen]: readonly Dim[] = [{ name: seq.name, size: seq.size / size }, { name: hiddenName(seq.name, 'block'), size }, { name: hiddenName(seq.name, 'seen'), size: (causal ? 2 : 3) * size }]
  if (blocks === undefined || inner === undefined || seen === undefined) return tensor(query.node)
  const cut = (x: AnyTensor): Tensor<string> => loose(x).split(seq.name, [blocks, inner] as readonly Dim[])
  /** Of each block what it may see: the block before it, itself, and where it sees ahead the one after. Where there is none, `fill`. */
  const around = (x: AnyTensor, fill = 0): Tensor<string> => {
    const own = cut(x)
    const [before, after] = [shift(own, seq.name, 1, { fill }), shift(own, seq.name, -1, { fill })]
    return loose(concat(causal ? [before, own] : [before, own, after], inner.name, { as: seen.name as never }))
  }
  const along = (x: AnyTensor, ...more: readonly Dim[]): Tensor<string> => tensor(broadcastTo(x.node, [...x.shape, ...more]))
  const places = iota(seq)
  const [here, there] = [cut(places), around(places, -1)]
  const real = along(there.greaterEqual(0), inner)
  const ordered = causal ? real.and(along(here, seen).greaterEqual(along(there, inner))) : real
  const visible = segments === undefined ? ordered : ((): Tensor<string> => {
    const same = along(cut(segments), seen).equal(along(around(segments), inner))
    return same.and(ordered)
  })()
  const options = { visible, isolate: segments !== undefined, ...(scale === undefined ? {} : { scale }) }
  const found = attention<string, string, string, string, string, string, string>(cut(query), around(key), around(value), { headDim: nameOf(over.headDim), kvSeq: seen.name }, options)
  return tensor(loose(found).merge([seq.name, inner.name], seq as Dim<never>).node)
}
