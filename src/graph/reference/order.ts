/** Lines of elements along a dim, and their order. */
import { sizeOf, type Dim } from '../../core/dim.ts'

/** The offsets of the elements along a dim, a list for each position of the other dims, row-major. */
export function lines(shape: readonly Dim[], dim: string): number[][] {
  const at = shape.findIndex(d => d.name === dim)
  const [outer, size, inner] = [sizeOf(shape.slice(0, at)), shape[at]?.size ?? 1, sizeOf(shape.slice(at + 1))]
  return Array.from({ length: outer * inner }, (_, l) =>
    Array.from({ length: size }, (_, j) => (Math.floor(l / inner) * size + j) * inner + l % inner))
}

/** Which element comes first, second, …: equal ones in their order, NaN last when ascending and, as the largest, first when descending. */
export function ranked(values: readonly number[], descending: boolean): number[] {
  const rank = (x: number, y: number): number => (Number.isNaN(x) ? (Number.isNaN(y) ? 0 : 1) : Number.isNaN(y) ? -1 : x - y || 0)
  const sign = descending ? -1 : 1
  return values.map((_, i) => i).sort((a, b) => {
    const [x = 0, y = 0] = [values[a], values[b]]
    return sign * (x === y ? 0 : rank(x, y))
  })
}
