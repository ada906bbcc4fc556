/** Distances between positions in buckets, wider the farther they are: what T5's attention biases are learned for (Raffel et al. 2020). */
import type { Dim } from '../core/dim.ts'
import { DimError } from '../core/errors.ts'
import { userSite } from '../core/site.ts'
import { broadcast, iota } from '../graph/tensor.ts'
import type { Tensor } from '../graph/types.ts'

export interface Buckets {
  readonly count: number
  /** From this distance on all are in the last one. */
  readonly farthest: number
  /** Whether what comes after has buckets of its own, half of them; else it is as near as what is at the same place. */
  readonly bothWays: boolean
}

/**
 * For each query and key the bucket of how far the key lies before it, or behind it: i32. Distances below half of a direction's buckets
 * have one each, larger ones share the rest by their logarithms.
 * @throws DimError where there are too few buckets, or `farthest` is too near
 */
export function relativeBuckets<S extends string, T extends string>(seq: Dim<S>, kvSeq: Dim<T>, how: Buckets): Tensor<S | T> {
  return bucketsOf<S | T>(broadcast<T, readonly [Dim<S>]>(iota(kvSeq), [seq] as never).sub(broadcast<S, readonly [Dim<T>]>(iota(seq), [kvSeq] as never)), how)
}

/** The same of how far keys lie ahead of queries, i32: below 0 where they lie before them. @throws DimError as `relativeBuckets` */
export function bucketsOf<D extends string>(ahead: Tensor<D>, { count, farthest, bothWays }: Buckets): Tensor<D> {
  const own = bothWays ? count / 2 : count
  const near = Math.floor(own / 2)
  const wrong = (what: string, fix: string): DimError => new DimError({ code: 'option', what: `relativeBuckets: ${what}`, fix, at: userSite() })
  if (!Number.isSafeInteger(own) || near < 1) throw wrong(`there are ${count} buckets`, bothWays ? 'give an even number of at least 4' : 'give at least 2')
  if (!Number.isSafeInteger(farthest) || farthest <= near) throw wrong(`farthest is ${farthest}`, `give a whole number above ${near}, whose distances have buckets of their own`)
  const distance: Tensor<D> = bothWays ? ahead.abs() : ahead.neg().maximum(0)
  // Whole numbers are compared with whole numbers: no device's logarithm decides.
  const bucket = limits(near, own, farthest).reduce<Tensor<D>>((sum, limit) => sum.add(distance.greaterEqual(limit).cast('i32')), distance.minimum(near))
  return bothWays ? bucket.add(ahead.greater(0).cast('i32').mul(own)) : bucket
}

/** The distances at which the buckets behind the near ones begin but for the first, whose is `near`. In f32, step by step, as the models were trained with it. */
function limits(near: number, own: number, farthest: number): number[] {
  const { fround, log } = Math
  const bucketOf = (distance: number): number => {
    const turns = fround(fround(log(fround(distance / near))) / fround(log(farthest / near)))
    return Math.min(own - 1, near + Math.trunc(fround(turns * (own - near))))
  }
  const found: number[] = []
  for (let distance = near; found.length < own - 1 - near; distance++) while (found.length < bucketOf(distance) - near) found.push(distance)
  return found
}
