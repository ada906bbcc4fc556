/** Numbers of runs as curves: which axis they are drawn along, smoothed, and laid over each other. */
import type { Column, Series } from '../../dashboard/shape.ts'
import type { StepRow } from '../../train/events.ts'

export type Along = 'step' | 'seen' | 'elapsed'
type Numbers = readonly (number | null)[]
/** What has come of a run since its series was asked for, in as many columns. */
export interface Tail { readonly step: number[]; readonly seen: number[]; readonly elapsed: number[]; readonly values: Record<Column, (number | null)[]> }

const all: readonly Column[] = ['loss', 'gradNorm', 'updateNorm', 'paramNorm', 'learningRate', 'lossScale', 'stepMs', 'dataWaitMs', 'perSecond', 'ofPeak']
export const columns = all
export const emptyTail = (): Tail => ({ step: [], seen: [], elapsed: [], values: Object.fromEntries(all.map(c => [c, []])) as unknown as Tail['values'] })

/** Numbers that JSON lacks came as text, and are none here. */
const told = (x: unknown): number | null => (typeof x === 'number' && Number.isFinite(x) ? x : null)

/** Takes rows into the tail; those that go back are left out, as what is drawn goes on. @param last step before it @param elapsed seconds before it */
export function append(tail: Tail, rows: readonly StepRow[], last: number, elapsed: number): void {
  for (const row of rows) {
    if (row.step <= (tail.step.at(-1) ?? last)) continue
    tail.elapsed.push((tail.elapsed.at(-1) ?? elapsed) + (told(row.time.stepMs) ?? 0) / 1000)
    tail.step.push(row.step)
    tail.seen.push(row.seen)
    const fields: Readonly<Record<string, unknown>> = { ...row, ...row.time }
    for (const c of all) tail.values[c].push(told(fields[c]))
  }
}

export interface Curve { readonly x: readonly number[]; readonly y: Numbers }

/** A column of a run along an axis. */
export function curveOf(series: Series, tail: Tail | undefined, along: Along, column: Column): Curve {
  const [x, y] = [series[along], series.values[column] ?? []]
  return tail === undefined || tail.step.length === 0 ? { x, y } : { x: [...x, ...tail[along]], y: [...y, ...tail.values[column]] }
}

/** A mean in which each point before weighs `weight` times the one behind it; of the first points as if they had been there before (Kingma and Ba 2015, of Adam's averages). */
export function smoothed(y: Numbers, weight: number): Numbers {
  if (weight <= 0) return y
  let [sum, known] = [0, 0]
  return y.map(value => {
    if (value === null) return null
    sum = weight * sum + (1 - weight) * value
    known = weight * known + (1 - weight)
    return sum / known
  })
}

/** Where steps lie along an axis, by the nearest known one before. */
export function placeOf({ step, ...axes }: Pick<Series, Along>, along: Along): (at: number) => number {
  const other = along === 'step' ? step : axes[along]
  return at => {
    if (along === 'step' || step.length === 0) return at
    let [low, high] = [0, step.length - 1]
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if ((step[middle] ?? 0) <= at) low = middle
      else high = middle - 1
    }
    return other[low] ?? at
  }
}

/** Curves of several runs over one axis, as uPlot takes them: all that are anywhere in the first, and in the others what each run has there; `undefined` where it has nothing. */
export function laid(curves: readonly Curve[]): [number[], ...(number | null | undefined)[][]] {
  const [only] = curves
  if (curves.length === 1 && only !== undefined && only.x.every((x, i) => i === 0 || x > (only.x[i - 1] ?? 0))) return [[...only.x], [...only.y]]
  const xs = [...new Set(curves.flatMap(c => c.x))].sort((a, b) => a - b)
  const at = new Map(xs.map((x, i) => [x, i]))
  return [xs, ...curves.map(({ x, y }) => {
    const row = new Array<number | null | undefined>(xs.length)
    x.forEach((place, i) => { row[at.get(place) ?? 0] = y[i] })
    return row
  })]
}
