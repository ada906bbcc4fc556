/** Curves of a machine, read between their points. */
import type { Points } from '../machine/machine.ts'

/** The value at `x`: straight in the logarithms of both between two points, beyond the ends as there. */
export function at(points: Points, x: number): number {
  const [first, last] = [points[0], points.at(-1)]
  if (first === undefined || last === undefined) throw new Error('a curve has no points')
  if (x <= first[0]) return first[1]
  if (x >= last[0]) return last[1]
  const i = points.findIndex(([p]) => p > x)
  const [[x0, y0], [x1, y1]] = [points[i - 1] ?? first, points[i] ?? last]
  return between(Math.log(x / x0) / Math.log(x1 / x0), y0, y1)
}

/** So far from one value to another, in their logarithms. */
export const between = (share: number, from: number, to: number): number => from * (to / from) ** share

/** The same of times by bytes: beyond the last point the speed is as there, and not the time. */
export function timeAt(points: Points, bytes: number): number {
  const last = points.at(-1)
  return last === undefined || bytes <= last[0] ? at(points, bytes) : last[1] * bytes / last[0]
}
