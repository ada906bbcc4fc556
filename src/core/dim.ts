/** Named dimensions: the only way a tensor's extents are spoken of. */
import { DimError } from './errors.ts'
import { userSite } from './site.ts'

/** A named dimension. The name is a type; the size stays a run-time number. */
export interface Dim<out N extends string = string> {
  readonly name: N
  readonly size: number
}

/** A dim is given as itself or by its name. */
export type DimLike<N extends string> = N | Dim<N>

/** Names of dims and of axes. */
export const legalName: RegExp = /^[A-Za-z_][\w.]*$/

/** A name for a dim that an op makes on its way, of a dim of the user's: nobody can write it, and no layout has a rule for it. */
export const hiddenName = (of: string, what: string): string => `~${of.replace(/^~/, '')}.${what}`
export const isHidden = (name: string): boolean => name.startsWith('~')
const known = (name: string): boolean => legalName.test(isHidden(name) ? name.slice(1) : name)

/**
 * A dimension of `size` elements.
 * @throws DimError when the name is not an identifier or the size not a positive integer.
 */
export const dim = <N extends string>(name: N, size: number): Dim<N> => Object.freeze(legalDim({ name, size }, name => legalName.test(name)))

/** @throws DimError when it cannot be one. */
export function legalDim<D extends Dim>(d: D, legal: (name: string) => boolean = known): D {
  if (typeof d !== 'object' || d === null || typeof d.name !== 'string') throw notADim(d, 'a dim, with its size')
  const { name, size } = d
  if (!legal(name)) {
    throw new DimError({ code: 'dim-name', what: `"${name}" cannot name a dim`, fix: 'use letters, digits, "_" and "."; begin with a letter', at: userSite() })
  }
  if (!Number.isSafeInteger(size) || size < 1) {
    throw new DimError({ code: 'dim-size', what: `dim "${name}" has size ${size}`, fix: 'a size is a whole number, at least 1', at: userSite() })
  }
  return d
}
const notADim = (found: unknown, wanted: string): DimError =>
  new DimError({ code: 'not-a-dim', what: `${typeof found === 'string' ? `"${found}"` : String(found)} is given for a dim`, fix: `give ${wanted}`, at: userSite() })

/** Several dims at once: `dims({ batch: 8, seq: 128 })`. */
export function dims<const S extends Record<string, number>>(sizes: S): { readonly [K in keyof S & string]: Dim<K> } {
  const made = Object.fromEntries(Object.entries(sizes).map(([name, size]) => [name, dim(name, size)]))
  return made as { readonly [K in keyof S & string]: Dim<K> }
}

export const nameOf = <N extends string>(d: DimLike<N>): N => {
  if (typeof d === 'string') return d
  // What is not written in TypeScript may give anything.
  const name = (d as Dim<N> | undefined)?.name
  if (typeof name !== 'string') throw notADim(d, 'a dim, or its name')
  return name
}
export const names = (shape: readonly Dim[]): string[] => shape.map(d => d.name)
/** Elements in a tensor of this shape. */
export const sizeOf = (shape: readonly Dim[]): number => shape.reduce((n, d) => n * d.size, 1)
/** `batch=8 seq=128`, or `scalar`. */
export const formatShape = (shape: readonly Dim[]): string => shape.map(d => `${d.name}=${d.size}`).join(' ') || 'scalar'
