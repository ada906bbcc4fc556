/** Constants and broadcasts along dims that only the caller knows. */
import type { Dim } from '../../core/dim.ts'
import type { DType } from '../../core/dtype.ts'
import { broadcast, full, loose } from '../../graph/tensor.ts'
import type { Tensor } from '../../graph/types.ts'

type T = Tensor<string>
export const filledWith = (value: number, shape: readonly Dim[], dtype: DType): T => loose(full(value, shape as readonly Dim<never>[], dtype))
export const along = (x: T, dims: readonly Dim[]): T => loose(broadcast(x, dims as readonly Dim<never>[]))
