/** Random orders. */
import type { Dim } from '../core/dim.ts'
import { argsort } from './indexing.ts'
import { randomBits, type Key } from './random.ts'
import { loose, tensor } from './tensor.ts'
import type { Tensor } from './types.ts'

/** The numbers below the dim's size in a random order, i32: the places of as many random words when they are sorted. */
export const permutation = <N extends string>(key: Key, dim: Dim<N>): Tensor<N> => tensor(argsort(loose(randomBits(key, [dim])), dim.name).node)
