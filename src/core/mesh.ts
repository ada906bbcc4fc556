/** The mesh: devices arranged along named axes, numbered row-major. */
import { legalName } from './dim.ts'
import { LayoutError, type Site } from './errors.ts'
import { didYouMean } from './nearest.ts'
import { userSite } from './site.ts'

export interface Axis<out A extends string = string> { readonly name: A; readonly size: number }

export interface Mesh<out A extends string = string> {
  readonly axes: readonly Axis<A>[]
  /** Devices in all. */
  readonly size: number
}

/**
 * A mesh of devices; the last axis varies fastest: `mesh({ batch: 2, model: 2 })` puts devices 0 and 1 in one model group.
 * @throws LayoutError when a name is not an identifier or a size not a positive integer.
 */
export function mesh<const S extends Record<string, number>>(sizes: S): Mesh<keyof S & string> {
  const axes = Object.entries(sizes).map(([name, size]) => {
    if (!legalName.test(name)) throw new LayoutError({ code: 'axis-name', what: `"${name}" cannot name a mesh axis`, fix: 'use letters, digits, "_" and "."; begin with a letter', at: userSite() })
    if (!Number.isSafeInteger(size) || size < 1) {
      throw new LayoutError({ code: 'axis-size', what: `mesh axis "${name}" has size ${size}`, fix: 'a size is a whole number, at least 1', at: userSite() })
    }
    return Object.freeze({ name: name as keyof S & string, size })
  })
  return Object.freeze({ axes: Object.freeze(axes), size: axes.reduce((n, a) => n * a.size, 1) })
}

export const formatMesh = (m: Mesh): string => m.axes.map(a => `${a.name}=${a.size}`).join(' × ') || 'one device'

/** Whether both arrange as many devices in one way, under the same names. */
export const sameMesh = (a: Mesh, b: Mesh): boolean =>
  a === b || (a.axes.length === b.axes.length && a.axes.every(({ name, size }, i) => name === b.axes[i]?.name && size === b.axes[i].size))

/** The axis of that name. @throws LayoutError with the nearest name, and `details` of who asked. */
export function axisOf(m: Mesh, name: string, at?: Site, details: Readonly<Record<string, string>> = {}): Axis {
  for (const a of m.axes) if (a.name === name) return a
  throw new LayoutError({ code: 'unknown-axis', what: `the mesh has no axis "${name}"`, details, fix: didYouMean(name, m.axes.map(a => a.name)), at })
}

/** Devices between neighbours along `axis`, in row-major numbering. */
export function strideOf(m: Mesh, axis: string): number {
  const at = m.axes.indexOf(axisOf(m, axis))
  return m.axes.slice(at + 1).reduce((n, a) => n * a.size, 1)
}

/** How many parts a dim that takes these axes is cut into. */
export function partsOf(m: Mesh, axes: readonly string[]): number {
  let parts = 1
  for (const a of axes) parts *= axisOf(m, a).size
  return parts
}

/** Which part `device` holds of a dim that takes these axes; the first axis is the major one. */
export const partOf = (m: Mesh, axes: readonly string[], device: number): number =>
  axes.reduce((part, a) => part * axisOf(m, a).size + (Math.floor(device / strideOf(m, a)) % axisOf(m, a).size), 0)

/** The groups within which a collective over `axes` runs, members ordered by their part. */
export function replicaGroups(m: Mesh, axes: readonly string[]): number[][] {
  const rest = m.axes.map(a => a.name).filter(a => !axes.includes(a))
  const groups: number[][] = Array.from({ length: partsOf(m, rest) }, () => [])
  for (let device = 0; device < m.size; device++) {
    const group = groups[partOf(m, rest, device)]
    if (group !== undefined) group[partOf(m, axes, device)] = device
  }
  return groups
}
