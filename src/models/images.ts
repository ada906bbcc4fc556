/** Images as models of them take them: bytes in, numbers of mean 0 to compute with. */
import { z } from 'zod'
import type { Dim } from '../core/dim.ts'
import type { DType } from '../core/dtype.ts'
import type { Tensor } from '../graph/types.ts'

export interface ImageConfig {
  readonly height: number
  readonly width: number
  /** Colours of a pixel. */
  readonly channels: number
  /** The value of a full pixel: 255, or 1 of floats. */
  readonly brightest: number
  /** Pixels are given as shares of the brightest, less `mean`, over `std`. */
  readonly mean: number
  readonly std: number
}
const count = z.int().min(1).max(2 ** 31 - 1)
type Number = z.ZodDefault<z.ZodNumber>
export const imageFields: { height: z.ZodInt; width: z.ZodInt; channels: z.ZodDefault<z.ZodInt>; brightest: Number; mean: Number; std: Number } = {
  height: count, width: count, channels: count.default(3), brightest: z.number().positive().default(255), mean: z.number().default(0.5), std: z.number().positive().default(0.5),
}

type ImageDims = { readonly [N in 'batch' | 'height' | 'width' | 'channels']: Dim<N> }
export const imageShape = (d: ImageDims): readonly [Dim<'batch'>, Dim<'height'>, Dim<'width'>, Dim<'channels'>] => [d.batch, d.height, d.width, d.channels]
export const pixelsOf = <D extends string>(images: Tensor<D>, { brightest, mean, std }: ImageConfig, compute: DType): Tensor<D> =>
  images.cast('f32').mul(1 / (brightest * std)).sub(mean / std).cast(compute)
