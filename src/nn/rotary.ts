/** Rotary position embedding (Su et al. 2021). */
import { nameOf, type Dim, type DimLike } from '../core/dim.ts'
import { DimError } from '../core/errors.ts'
import { shown } from '../core/shown.ts'
import { userSite } from '../core/site.ts'
import { dimIn, floats } from '../graph/infer/checks.ts'
import { concat, parts, roll, shift } from '../graph/rearrange.ts'
import { sumsIn } from '../graph/half-precision.ts'
import { broadcast, iota, loose, tensor, where } from '../graph/tensor.ts'
import type { AnyTensor, Tensor, Unsettled } from '../graph/types.ts'
import type { Frequencies } from './frequencies.ts'
import { numbersAlong } from './numbers.ts'
import { wide } from './wide.ts'

export interface Rotary {
  /** Of the frequencies, base^(−2i / n); 10000 unless said. */
  readonly base?: number
  /** Which elements are turned together: i and i + n/2 (`halves`, the default; GPT-NeoX and Llama), or 2i and 2i + 1 (`neighbours`; the paper and GPT-J). */
  readonly pairs?: 'halves' | 'neighbours'
  /** Of `rotaryFrequencies`, in place of `base`; for `halves`. Of fewer elements than the dim has the first are turned, and the others stay. */
  readonly frequencies?: Frequencies
}

/** Cosines and sines of angles, over the positions' dims and the dim that is turned, of as many elements as are turned: those of sines signed, as they meet the other half. */
export interface Angles { readonly cos: Tensor<string>; readonly sin: Tensor<string> }

/** What turns elements along `over` at positions (numbers along any dims). Where layers share them they are made once. */
export function rotaryAngles(positions: AnyTensor, over: Dim, { values, scale }: Frequencies, dtype: 'f32' | 'f64' = 'f32'): Angles {
  const along: Dim = { name: over.name, size: 2 * values.length }
  const angle = loose(broadcast(loose(positions).cast(dtype), [along])).mul(numbersAlong(along, [...values, ...values], dtype))
  const signs = numbersAlong(along, [...values.map(() => -scale), ...values.map(() => scale)], dtype)
  const cos = angle.cos()
  return { cos: scale === 1 ? cos : cos.mul(scale), sin: angle.sin().mul(signs) }
}

/** x with pairs i and i + n/2 of the first n elements along `over` turned by angles of them. */
export function turned<D extends string>(x: Tensor<D>, over: string, { cos, sin }: Angles): Tensor<D> {
  const whole = dimIn(x.shape, over, 'rotary', userSite)
  const size = dimIn(cos.shape, over, 'rotary', userSite).size
  const turn = (x: Tensor<string>): Tensor<string> => wide(x, x => x.mul(cos.cast(x.dtype)).add(loose(roll(x, over, size / 2)).mul(sin.cast(x.dtype))))
  if (size === whole.size) return tensor(turn(loose(x)).node)
  if (size > whole.size) throw new DimError({ code: 'option', what: `rotary: ${size} elements are to be turned along "${over}" of size ${whole.size}`, fix: 'give frequencies for as many, or for fewer', at: userSite() })
  const [first, rest] = parts(loose(x), over, [size, whole.size - size])
  return tensor(concat([turn(loose(first)), loose(rest)], over).node)
}

/**
 * x with pairs of elements along a dim of size n turned by position · base^(−2i / n), for i from 0 to n/2 − 1, so that products of two
 * such tensors along it depend on how far their positions are apart. Angles are f32, of f64 f64; halves are turned in f32.
 * @param positions numbers, along some of x's dims: `iota(d.seq)`
 * @throws DimError when the dim is missing or its size odd, or an option is none
 */
export function rotary<D extends string, R extends D | Unsettled<D>, P extends D | Unsettled<D>>(
  x: Tensor<D>, over: DimLike<R>, positions: Tensor<P>, { base = 10000, pairs = 'halves', frequencies }: Rotary = {},
): Tensor<D | P | R> {
  const along: Dim<R> = { name: nameOf(over), size: dimIn(x.shape, over, 'rotary', userSite).size }
  floats('rotary', x.dtype, x.shape, userSite)
  const wrong = (what: string, fix: string): DimError => new DimError({ code: 'option', what: `rotary: ${what}`, fix, at: userSite() })
  if (frequencies !== undefined && pairs === 'halves') return tensor(turned(loose(x), along.name, rotaryAngles(positions, along, frequencies, sumsIn(x.dtype) === 'f64' ? 'f64' : 'f32')).node)
  if (frequencies !== undefined) throw wrong('frequencies are given for neighbours', 'turn halves, or give a base')
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
