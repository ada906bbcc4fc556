/** Windows that slide along dims: padding, places, and the names of what results. */
import { formatShape, type Dim } from '../core/dim.ts'
import { DimError } from '../core/errors.ts'
import { shown } from '../core/shown.ts'
import { userSite } from '../core/site.ts'

/**
 * What stands before and after a dim: nothing (`valid`), as much as makes the result ⌈size / stride⌉ long, the odd one at the
 * end (`same`), so many on both sides, or [before, after]; negative numbers cut off.
 */
export type Padding = 'same' | 'valid' | number | readonly [low: number, high: number]

/** A dim's name, however it is given. */
export type Named<L> = L extends Dim<infer N> ? N : L extends string ? L : never
/** The dims of windows that go, and the names that come instead. */
export type Renamed<V> = V extends { readonly dim: infer L; readonly as: string } ? Named<L> : never
export type News<V> = V extends { readonly as: infer N extends string } ? N : never

/** What the rules of convolutions and pools ask of a number. */
export function atLeast(what: string, value: number, least: number, shape: readonly Dim[]): number {
  if (Number.isSafeInteger(value) && value >= least) return value
  throw new DimError({ code: 'window', what: `${what} is ${value}`, details: { tensor: formatShape(shape) }, fix: `give a whole number of at least ${least}`, at: userSite() })
}

/** How far a window of this span reaches beyond both ends of a dim. */
export function margins(padding: Padding, size: number, span: number, stride: number): readonly [number, number] {
  if (padding === 'valid') return [0, 0]
  if (typeof padding === 'number') return [padding, padding]
  if (Array.isArray(padding) && padding.length === 2) return padding as readonly [number, number]
  if (padding !== 'same') throw new DimError({ code: 'window', what: `padding is ${shown(padding)}`, fix: 'give same, valid, a number, or [before, after]', at: userSite() })
  const total = Math.max(0, (Math.ceil(size / stride) - 1) * stride + span - size)
  return [Math.floor(total / 2), Math.ceil(total / 2)]
}

/** Places of a window. @throws DimError when there is none */
export function placesOf(op: string, d: Dim, span: number, stride: number, [low, high]: readonly [number, number]): number {
  for (const p of [low, high]) atLeast(`${op} along "${d.name}": padding`, p, Number.MIN_SAFE_INTEGER, [d])
  const places = Math.floor((d.size + low + high - span) / stride) + 1
  if (places >= 1) return places
  throw new DimError({
    code: 'window', what: `${op} along "${d.name}": a window of ${span} does not fit into ${d.size} elements with padding ${low} and ${high}`, fix: 'pad more, or take a smaller window', at: userSite(),
  })
}
