/** Images as models of them take them: bytes in, numbers of mean 0 to compute with. */
import { z } from 'zod'
import type { Dim } from '../core/dim.ts'
import type { DType } from '../core/dtype.ts'
import { full, iota, where } from '../graph/tensor.ts'
import type { Tensor } from '../graph/types.ts'

export interface ImageConfig {
  readonly height: number
  readonly width: number
  /** Colours of a pixel. */
  readonly channels: number
  /** The value of a full pixel: 255, or 1 of floats. */
  readonly brightest: number
  /** Pixels are computed with as shares of the brightest, less `mean`, over `std`: one for all colours, or one of each. */
  readonly mean: readonly number[]
  readonly std: readonly number[]
}
const count = z.int().min(1).max(2 ** 31 - 1)
type Numbers = z.ZodDefault<z.ZodArray<z.ZodNumber>>
export const imageFields: { height: z.ZodInt; width: z.ZodInt; channels: z.ZodDefault<z.ZodInt>; brightest: z.ZodDefault<z.ZodNumber>; mean: Numbers; std: Numbers } = {
  height: count, width: count, channels: count.default(3), brightest: z.number().positive().default(255), mean: z.array(z.number()).min(1).default([0.5]), std: z.array(z.number().positive()).min(1).default([0.5]),
}

type ImageDims = { readonly [N in 'batch' | 'height' | 'width' | 'channels']: Dim<N> }
export const imageShape = (d: ImageDims): readonly [Dim<'batch'>, Dim<'height'>, Dim<'width'>, Dim<'channels'>] => [d.batch, d.height, d.width, d.channels]
export function pixelsOf(images: Tensor<'batch' | 'height' | 'width' | 'channels'>, { brightest, mean, std }: ImageConfig, channels: Dim<'channels'>, compute: DType): typeof images {
  const each = (f: (i: number) => number): Tensor<'channels'> => {
    const [one = 1, ...others] = Array.from({ length: Math.max(mean.length, std.length) }, (_, i) => f(i))
    return others.reduce((all, x, i) => where(iota(channels).equal(i + 1), full(x, [channels]), all), full(one, [channels]))
  }
  const of = (list: readonly number[], i: number): number => list[i] ?? list[0] ?? 0
  return images.cast('f32').mul(each(i => 1 / (brightest * of(std, i)))).sub(each(i => of(mean, i) / of(std, i))).cast(compute)
}
