/** The runs that the view shows, as they are and as they go on: what is asked for once, and what the stream brings. */
import { signal, type Signal } from '@preact/signals'
import type { Mark, RunDetail, Series } from '../../dashboard/shape.ts'
import type { EvalRow } from '../../train/events.ts'
import { ask } from '../shell/api.ts'
import { follow } from '../shell/live.ts'
import { append, columns, emptyTail, type Tail } from './points.ts'

/** Spans that a run is drawn with, and steps after which it is asked for anew: so it takes as much room after a day as after an hour. */
const [points, mostTail] = [1000, 1000]
/** Marks and evaluations that are kept as they come. */
const mostKept = 4000
/** Milliseconds between drawings. */
const every = 500

export interface Range { readonly from: number; readonly to: number }

export class RunData {
  readonly id: string
  series: Series | undefined
  tail: Tail = emptyTail()
  detail: RunDetail | undefined
  evaluations: EvalRow[] = []
  marks: Mark[] = []
  problem: string | undefined
  /** Counts up with what is to be drawn. */
  readonly version: Signal<number> = signal(0)
  #range: Range | undefined
  #leave: (() => void) | undefined
  #over = new AbortController()
  #due: ReturnType<typeof setTimeout> | undefined
  #asking = false

  constructor(id: string, range: Range | undefined) {
    this.id = id
    this.#range = range
    void this.#ask()
  }

  /** Looks closer at some of its steps, or at all of them again. */
  look(range: Range | undefined): void {
    if (range?.from === this.#range?.from && range?.to === this.#range?.to) return
    this.#range = range
    void this.#ask()
  }

  close(): void {
    this.#over.abort()
    this.#leave?.()
    clearTimeout(this.#due)
  }

  async #ask(): Promise<void> {
    this.#over.abort()
    const { signal: over } = this.#over = new AbortController()
    this.#asking = true
    try {
      const query = new URLSearchParams({ id: this.id, points: String(points), columns: columns.join(','), ...(this.#range === undefined ? {} : { from: String(this.#range.from), to: String(this.#range.to) }) })
      const [series, detail] = await Promise.all([ask<Series>(`api/series?${query}`, { signal: over }), ask<RunDetail>(`api/run?${new URLSearchParams({ id: this.id })}`, { signal: over })])
      this.#leave?.()
      this.series = series
      this.tail = emptyTail()
      this.detail = detail
      this.evaluations = [...detail.evaluations]
      this.marks = [...detail.marks]
      this.problem = undefined
      // Where the files have grown between the two answers, what is told twice is known by its step.
      this.#leave = follow(this.id, series.next, told => { this.#hear(told) })
    } catch (e) {
      if (over.aborted) return
      this.problem = e instanceof Error ? e.message : String(e)
    }
    this.#asking = false
    this.version.value++
  }

  #hear(told: Parameters<Parameters<typeof follow>[2]>[0]): void {
    if (told.type === 'again') {
      if (!this.#asking) void this.#ask()
      return
    }
    const { series } = this
    if (series === undefined) return
    // What is looked at closely stays as it is.
    if (this.#range === undefined) append(this.tail, told.steps, series.step.at(-1) ?? -1, series.elapsed.at(-1) ?? 0)
    const lastEvaluated = this.evaluations.at(-1)?.step ?? -1
    this.evaluations.push(...told.evaluations.filter(e => e.step > lastEvaluated))
    const known = new Set(this.marks.slice(-mostKept).map(m => JSON.stringify(m)))
    this.marks.push(...told.marks.filter(m => !known.has(JSON.stringify(m))))
    if (this.evaluations.length > 2 * mostKept) this.evaluations.splice(0, mostKept)
    if (this.marks.length > 2 * mostKept) this.marks.splice(0, mostKept)
    if (this.tail.step.length > mostTail && !this.#asking) void this.#ask()
    this.#due ??= setTimeout(() => {
      this.#due = undefined
      this.version.value++
    }, document.visibilityState === 'visible' ? every : 10 * every)
  }
}
