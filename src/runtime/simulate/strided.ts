/** Arrays walked in another order than they lie: every op that only moves elements is a strided copy. */
import type { Cells } from './element.ts'

export const sizeOf = (shape: readonly number[]): number => shape.reduce((n, size) => n * size, 1)
/** The strides of a row-major array. */
export const stridesOf = (shape: readonly number[]): number[] => shape.map((_, i) => sizeOf(shape.slice(i + 1)))
/** The elements of a list at these places. */
export const pick = <T>(list: readonly T[], places: readonly number[]): T[] => places.map(i => list[i] as T)
export const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i)
export const without = (n: number, places: readonly number[]): number[] => range(n).filter(i => !places.includes(i))
export const sameList = (a: readonly number[], b: readonly number[]): boolean => a.length === b.length && a.every((x, i) => x === b[i])

/** Where each element of an index space lies, row-major. */
export function offsets(sizes: readonly number[], strides: readonly number[]): Int32Array {
  let all = new Int32Array(1)
  sizes.forEach((size, d) => {
    const stride = strides[d] as number
    const next = new Int32Array(all.length * size)
    for (let i = 0, at = 0; i < all.length; i++) for (let k = 0; k < size; k++) next[at++] = (all[i] as number) + k * stride
    all = next
  })
  return all
}

/** One walk through an index space, seen from several arrays: tables of offsets for all dims but the last, and that one's strides. */
export interface Walk { readonly tables: readonly Int32Array[]; readonly count: number; readonly steps: readonly number[] }

/** `strides[array][dim]`. Dims that follow on one another in every array become one, so that the inner loop is long. */
export function walk(sizes: readonly number[], strides: readonly (readonly number[])[]): Walk {
  const merged: { size: number; strides: number[] }[] = []
  sizes.forEach((size, d) => {
    const here = strides.map(s => s[d] as number)
    const last = merged.at(-1)
    if (size === 1) return
    const follows = last?.strides.every((s, a) => s === (here[a] as number) * size)
    if (follows) merged.pop()
    merged.push({ size: follows ? (last?.size ?? 1) * size : size, strides: here })
  })
  const inner = merged.pop() ?? { size: 1, strides: strides.map(() => 0) }
  const tables = strides.map((_, a) => offsets(merged.map(m => m.size), merged.map(m => m.strides[a] as number)))
  return { tables, count: inner.size, steps: inner.strides }
}

export type Copy = (to: Cells, toBase: number, from: Cells, fromBase: number) => void

/** Copies an index space from one array into another. */
export function copier(sizes: readonly number[], toStrides: readonly number[], fromStrides: readonly number[]): Copy {
  const { tables: [toTable, fromTable], count, steps: [toStep = 0, fromStep = 0] } = walk(sizes, [toStrides, fromStrides])
  return (to, toBase, from, fromBase) => {
    if (toTable === undefined || fromTable === undefined) return
    for (let o = 0; o < toTable.length; o++) {
      let t = toBase + (toTable[o] as number)
      let f = fromBase + (fromTable[o] as number)
      for (let i = 0; i < count; i++, t += toStep, f += fromStep) to[t] = from[f] as number
    }
  }
}
