/** Weights of 8 or 4 bits, for inference: whole numbers, and for each group of them along a dim a scale, with an offset where they were made elsewhere with one. */
import { hiddenName, nameOf, type Dim, type DimLike } from '../core/dim.ts'
import type { DType } from '../core/dtype.ts'
import { DimError } from '../core/errors.ts'
import { shown } from '../core/shown.ts'
import { userSite } from '../core/site.ts'
import { dimIn, floats } from '../graph/infer/checks.ts'
import { index, stack } from '../graph/rearrange.ts'
import { isTensor, loose, tensor, where } from '../graph/tensor.ts'
import type { AnyTensor, Tensor } from '../graph/types.ts'

/**
 * `values` are i8, or u8 of two numbers of 4 bits each: neighbours along the quantized dim, which has half its size there. `scale`
 * has as many elements along that dim as there are groups: a weight is its number times the scale, and more by the group's `offset` where there are offsets. All
 * keep the dim's name, so that a layout's rules split them alike. Of 4 bits a number is stored 8 more than it is; with offsets, as it is, from 0 to 15.
 */
export type Quantized<D extends string> = { readonly values: Tensor<D>; readonly scale: Tensor<D>; readonly offset?: Tensor<D> }
/** A weight whole or quantized. */
export type Weight<D extends string> = Tensor<D> | Quantized<D>

export interface Quantize {
  readonly bits: 8 | 4
  /** Neighbours along the dim that share a scale; 32 unless said, or all of a smaller dim. */
  readonly group?: number
}

const grouped = (x: Tensor<string>, { name, size }: Dim, groups: number): Tensor<string> =>
  x.split(name, [{ name, size: groups }, { name: hiddenName(name, 'group'), size: size / groups }] as readonly Dim[])
const merged = (x: Tensor<string>, along: Dim, inner: string): Tensor<string> => x.merge([along.name, hiddenName(along.name, inner)], along as Dim<never>)

/**
 * Each number as the nearest of 255 (8 bits) or 15 (4 bits) multiples of its group's scale, which the largest of the group decides:
 * 8.5 or 4.5 bits a weight in groups of 32. Along the dim that is contracted, errors average out.
 * @throws DimError when the dim is missing, groups do not divide it, or 4 bits do not pair off
 */
export function quantize<D extends string, R extends D>(x: Tensor<D>, over: DimLike<R>, { bits, group }: Quantize): Quantized<D> {
  const along = dimIn(x.shape, over, 'quantize', userSite)
  floats('quantize', x.dtype, x.shape, userSite)
  const wrong = (what: string, fix: string): DimError => new DimError({ code: 'option', what: `quantize along "${along.name}" of size ${along.size}: ${what}`, fix, at: userSite() })
  // Checked at run time because a caller may not be written in TypeScript.
  if (![8, 4].includes(bits)) throw wrong(`bits is ${shown(bits)}`, 'give 8 or 4')
  const size = group ?? Math.min(32, along.size)
  if (!Number.isSafeInteger(size) || size < 1 || along.size % size !== 0) throw wrong(`groups of ${size} do not divide it`, 'give a group that does')
  if (bits === 4 && along.size % 2 !== 0) throw wrong('numbers of 4 bits lie in pairs', 'use 8 bits, or a dim of even size')
  const most = bits === 8 ? 127 : 7
  const groups = grouped(loose(x).cast('f32'), along, along.size / size)
  const scale = groups.abs().max(hiddenName(along.name, 'group')).mul(1 / most).cast('bf16')
  const step = scale.cast('f32')
  const whole = merged(groups.div(where(step.equal(0), step.add(1), step)).round().clamp(-most, most), along, 'group')
  return { values: tensor(bits === 8 ? whole.cast('i8').node : paired(whole, along).node), scale: tensor(scale.node) }
}

/** Numbers from −7 to 7, two to a byte: the first in its low half, 8 more than it is. */
function paired(whole: Tensor<string>, { name, size }: Dim): Tensor<string> {
  const pairs = whole.add(8).cast('i32').split(name, [{ name, size: size / 2 }, { name: hiddenName(name, 'pair'), size: 2 }] as readonly Dim[])
  const [low, high] = [index(pairs, hiddenName(name, 'pair'), 0), index(pairs, hiddenName(name, 'pair'), 1)]
  return loose(loose(low).add(loose(high).mul(16))).cast('u8')
}

/** The weight as numbers of a dtype, in f32 on the way; `over` is the dim it was quantized along, at its whole size. */
export function dequantize<D extends string, R extends D>({ values, scale, offset }: Quantized<D>, over: Dim<R>, dtype: DType = 'f32'): Tensor<D> {
  const along: Dim = over
  const bytes = loose(values)
  const numbers = values.dtype === 'i8' ? bytes.cast('f32')
    : merged(stack<string, string>([bytes.and(15), bytes.shiftRight(4)].map(half => (offset === undefined ? half.cast('f32').sub(8) : half.cast('f32'))), { name: hiddenName(along.name, 'pair'), size: 2 } as Dim<never>), along, 'pair')
  const step = loose(scale).cast('f32')
  const scaled = grouped(numbers, along, dimIn(step.shape, along.name, 'dequantize', userSite).size).mul(step)
  return tensor(merged(offset === undefined ? scaled : scaled.add(loose(offset).cast('f32')), along, 'group').cast(dtype).node)
}

/** A weight as it is computed with, whole or quantized along `over`. */
export const weightIn = <D extends string, R extends D>(w: Weight<D>, over: Dim<R>, dtype: DType): Tensor<D> =>
  isTensor(w) ? (w as Tensor<D>).cast(dtype) : dequantize(w as Quantized<D>, over, dtype)

/** Rows of a weight that is quantized along another dim. */
export const rowsOf = <D extends string, R extends D, E extends string>(w: Weight<D>, dim: DimLike<R>, indices: Tensor<E>): Weight<Exclude<D, R> | E> => {
  const rows = (t: AnyTensor): Tensor<Exclude<D, R> | E> => tensor(loose(t).take(nameOf(dim), indices).node)
  if (isTensor(w)) return rows(w)
  const { values, scale, offset } = w as Quantized<D>
  return { values: rows(values), scale: rows(scale), ...(offset === undefined ? {} : { offset: rows(offset) }) }
}
