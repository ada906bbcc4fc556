/** Which part of a tensor lies on which device: devices are numbered row-major, the last axis fastest. */
import type { TensorShown } from '../train/pictured-shape.ts'

export interface Sizes { readonly [name: string]: number }
export type Coordinates = Sizes

const axesOf = (mesh: Sizes): (readonly [string, number])[] => Object.entries(mesh)

export const coordinatesOf = (mesh: Sizes, device: number): Coordinates => {
  let left = device
  return Object.fromEntries(axesOf(mesh).reverse().map(([axis, size]) => {
    const at = left % size
    left = Math.floor(left / size)
    return [axis, at] as const
  }).reverse())
}
export const deviceAt = (mesh: Sizes, at: Coordinates): number => axesOf(mesh).reduce((n, [axis, size]) => n * size + (at[axis] ?? 0), 0)

/** A device's share of a dim: elements `from` to `to`, without that. */
export interface Range { readonly dim: string; readonly part: number; readonly parts: number; readonly from: number; readonly to: number }

/** What a device holds of a tensor: of each dim that is split, its part; the first axis is the major one. */
export const rangesOf = ({ dims, layout }: Pick<TensorShown, 'dims' | 'layout'>, mesh: Sizes, at: Coordinates): Range[] => Object.entries(layout).map(([dim, axes]) => {
  const parts = axes.reduce((n, axis) => n * (mesh[axis] ?? 1), 1)
  const part = axes.reduce((n, axis) => n * (mesh[axis] ?? 1) + (at[axis] ?? 0), 0)
  const size = (dims[dim] ?? 0) / parts
  return { dim, part, parts, from: part * size, to: (part + 1) * size }
})

/** The number of a device's part among all different ones, and how many these are. */
export const partOf = (ranges: readonly Range[]): { readonly part: number; readonly parts: number } =>
  ranges.reduce((sum, r) => ({ part: sum.part * r.parts + r.part, parts: sum.parts * r.parts }), { part: 0, parts: 1 })

export const rangeText = (ranges: readonly Range[]): string => (ranges.length === 0 ? 'all of it' : ranges.map(r => `${r.dim} ${r.to - r.from === 1 ? String(r.from) : `${r.from}–${r.to - 1}`}`).join(', '))
