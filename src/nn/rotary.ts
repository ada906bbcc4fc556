/** Rotary position embedding (Su et al. 2021). */
import { nameOf, type Dim, type DimLike } from '../core/dim.ts'
import { DimError } from '../core/errors.ts'
import { shown } from '../core/shown.ts'
import { userSite } from '../core/site.ts'
import { dimIn, floats } from '../graph/infer/checks.ts'
import { roll, shift } from '../graph/rearrange.ts'
import { broadcast, iota, where } from '../graph/tensor.ts'
import type { Tensor, Unsettled } from '../graph/types.ts'
import { wide } from './wide.ts'

export interface Rotary {
  /** Of the frequencies, base^(−2i / n); 10000 unless said. */
  readonly base?: number
  /** Which elements are turned together: i and i + n/2 (`halves`, the default; GPT-NeoX and Llama), or 2i and 2i + 1 (`neighbours`; the paper and GPT-J). */
  readonly pairs?: 'halves' | 'neighbours'
}

/**
 * x with pairs of elements along a dim of size n turned by position · base^(−2i / n), for i from 0 to n/2 − 1, so that products of two
 * such tensors along it depend on how far their positions are apart. Angles are f32, of f64 f64; halves are turned in f32.
 * @param positions numbers, along some of x's dims: `iota(d.seq)`
 * @throws DimError when the dim is missing or its size odd, or an option is none
 */
export function rotary<D extends string, R extends D | Unsettled<D>, P extends D | Unsettled<D>>(
  x: Tensor<D>, over: DimLike<R>, positions: Tensor<P>, { base = 10000, pairs = 'halves' }: Rotary = {},
): Tensor<D | P | R> {
  const along: Dim<R> = { name: nameOf(over), size: dimIn(x.shape, over, 'rotary', userSite()).size }
  floats('rotary', x.dtype, x.shape, userSite())
  const wrong = (what: string, fix: string): DimError => new DimError({ code: 'option', what: `rotary: ${what}`, fix, at: userSite() })
  if (along.size % 2 !== 0) throw wrong(`dim "${along.name}" of size ${along.size} has no pairs`, 'make its size even')
  if (!(base > 0 && base < Infinity)) throw wrong(`base is ${base}`, 'give a number above 0')
  if (!['halves', 'neighbours'].includes(pairs)) throw wrong(`pairs is ${shown(pairs)}`, 'give halves or neighbours')
  const [half, halves] = [along.size / 2, pairs === 'halves']
  return wide(x, x => {
    const index = iota(along)
    const pair = halves ? index.rem(half) : index.div(2)
    const first = halves ? index.less(half) : index.rem(2).equal(0)
    const frequency = pair.cast(x.dtype).mul(-2 * Math.log(base) / along.size).exp()
    const angle = broadcast(positions.cast(x.dtype), [along]).mul(frequency)
    const other = halves ? roll(x, over, half) : where(first, shift(x, over, -1), shift(x, over, 1))
    return x.mul(angle.cos()).add(other.mul(where(first, angle.sin().neg(), angle.sin())))
  })
}
