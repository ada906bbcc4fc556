/** Functions that sum, of half precision. */
import { sumsIn } from '../graph/half-precision.ts'
import type { Tensor } from '../graph/types.ts'

/** Half-precision operands are widened, and the result is narrowed once. */
export const wide = <D extends string, E extends string>(x: Tensor<D>, f: (x: Tensor<D>) => Tensor<E>): Tensor<E> => f(x.cast(sumsIn(x.dtype))).cast(x.dtype)
