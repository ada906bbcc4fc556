/** Named dimensions: the only way a tensor's extents are spoken of. */
import { DimError } from './errors.ts'

/** A named dimension. The name is a type; the size stays a run-time number. */
export interface Dim<out N extends string = string> {
  readonly name: N
  readonly size: number
}

/** A dim is given as itself or by its name. */
export type DimLike<N extends string> = N | Dim<N>

const legalName = /^[A-Za-z_][\w.]*$/

/**
 * A dimension of `size` elements.
 * @throws DimError when the name is not an identifier or the size not a positive integer.
 */
export function dim<N extends string>(name: N, size: number): Dim<N> {
  if (!legalName.test(name)) {
    throw new DimError({ code: 'dim-name', what: `"${name}" cannot name a dim`, fix: 'use letters, digits, "_" and "."' })
  }
  if (!Number.isSafeInteger(size) || size < 1) {
    throw new DimError({ code: 'dim-size', what: `dim "${name}" has size ${size}`, fix: 'a size is a whole number, at least 1' })
  }
  return Object.freeze({ name, size })
}

/** Several dims at once: `dims({ batch: 8, seq: 128 })`. */
export function dims<const S extends Record<string, number>>(sizes: S): { readonly [K in keyof S & string]: Dim<K> } {
  const made = Object.fromEntries(Object.entries(sizes).map(([name, size]) => [name, dim(name, size)]))
  return made as { readonly [K in keyof S & string]: Dim<K> }
}

export const nameOf = <N extends string>(d: DimLike<N>): N => (typeof d === 'string' ? d : d.name)
export const names = (shape: readonly Dim[]): string[] => shape.map(d => d.name)
/** Elements in a tensor of this shape. */
export const sizeOf = (shape: readonly Dim[]): number => shape.reduce((n, d) => n * d.size, 1)
/** `batch=8 seq=128`, or `scalar`. */
export const formatShape = (shape: readonly Dim[]): string => shape.map(d => `${d.name}=${d.size}`).join(' ') || 'scalar'
