/** All that a run's files tell of how it went, in bounded room: read once, then only what is new. */
import { join } from 'node:path'
import type { EvalRow, PlanEvent, StepRow } from '../train/events.ts'
import { journalName, type JournalEntry } from '../train/journal.ts'
import { fieldsIn, infoOf, linesFrom, markAt } from './lines.ts'
import { evaluationIn, journalMark, markIn, planIn, rowIn, startIn, stepRowIn } from './rows.ts'
import { columns, type Column, type Mark, type Series } from './shape.ts'
import { Spans } from './spans.ts'

/** Lines after which others get a turn. */
const atOnce = 2000
/** Marks and evaluations that are kept, and places in the file. */
const [mostMarks, mostEvaluations, mostPlaces] = [2000, 4000, 4096]
/** Rows that are read again for a closer look. */
const mostAgain = 20_000
/** Rows that are told one by one; of more the reader asks for a series. */
export const mostRows = 500

/** What came since a place. */
export interface News { readonly steps: readonly StepRow[]; readonly evaluations: readonly EvalRow[]; readonly marks: readonly Mark[]; readonly next: string }

/** What one reading has found, from a place to another. */
interface Found { readonly from: string; readonly steps: StepRow[]; readonly evaluations: EvalRow[]; readonly marks: Mark[] }

interface Place { readonly step: number; readonly at: number; readonly elapsed: number }
const rest = (): Promise<void> => new Promise(resolve => { setImmediate(resolve) })

export class History {
  readonly #metrics: string
  readonly #journal: string
  #spans = new Spans()
  #places: Place[] = []
  #placeEvery = 256
  #untilPlace = 0
  #evaluations: EvalRow[] = []
  #evaluationEvery = 1
  #evaluationsSeen = 0
  #marks: Mark[] = []
  #marksLeftOut = 0
  /** How far both files have been read, and what stood before that place. */
  #read = 0
  #mark = 0
  #journalRead = 0
  /** When it was read last, and what the last readings have found: all who follow are told of these without reading again. */
  #refreshed = -Infinity
  #found: Found[] = []
  plan: PlanEvent | undefined
  start: (JournalEntry & { readonly type: 'start' }) | undefined
  #busy: Promise<void> = Promise.resolve()

  constructor(folder: string) {
    this.#metrics = join(folder, 'metrics.jsonl')
    this.#journal = join(folder, journalName)
  }

  get evaluations(): readonly EvalRow[] { return this.#evaluations }
  get marks(): readonly Mark[] { return this.#marks }
  get marksLeftOut(): number { return this.#marksLeftOut }
  /** Where reading would go on: place in the metrics, what stands before it, place in the journal. */
  get next(): string { return `${this.#read}-${this.#mark}-${this.#journalRead}` }

  /** Reads what is new. A file that was cut is read again from its beginning. */
  refresh(): Promise<void> {
    this.#busy = this.#busy.then(async () => {
      await this.#refresh()
      this.#refreshed = performance.now()
    })
    return this.#busy
  }

  async #refresh(): Promise<void> {
    const [info, journal] = [await infoOf(this.#metrics), await infoOf(this.#journal)]
    if ((info?.size ?? 0) < this.#read || (this.#read > 0 && info?.size !== this.#read && await markAt(this.#metrics, this.#read) !== this.#mark)) this.#begin()
    const found: Found = { from: this.next, steps: [], evaluations: [], marks: [] }
    if ((info?.size ?? 0) > this.#read) {
      let lines = 0
      for await (const { text, at, next } of linesFrom(this.#metrics, this.#read, info?.size)) {
        this.#take(text, at, found)
        this.#read = next
        if (++lines % atOnce === 0) await rest()
      }
      this.#mark = await markAt(this.#metrics, this.#read)
    }
    if ((journal?.size ?? 0) > this.#journalRead) for await (const { text, next } of linesFrom(this.#journal, this.#journalRead, journal?.size)) {
      this.#journalRead = next
      const fields = fieldsIn(text)
      if (fields === undefined) continue
      this.plan = planIn(fields) ?? this.plan
      this.start = startIn(fields) ?? this.start
      const mark = journalMark(fields)
      if (mark !== undefined) {
        this.#keepMark(mark)
        found.marks.push(mark)
      }
    }
    if (this.next !== found.from) this.#keepFound(found)
  }

  /** As much as is told one by one; what is older, or more, is read again by who asks for it. */
  #keepFound(found: Found): void {
    this.#found.push(found)
    let rows = 0
    const least = this.#found.findLastIndex(f => (rows += f.steps.length + f.evaluations.length + f.marks.length) > mostRows)
    this.#found = this.#found.slice(least + 1)
  }

  #begin(): void {
    this.#spans = new Spans()
    this.#places = []
    this.#placeEvery = 256
    this.#untilPlace = 0
    this.#evaluations = []
    this.#evaluationEvery = 1
    this.#evaluationsSeen = 0
    this.#marks = []
    this.#marksLeftOut = 0
    this.#found = []
    this.#read = this.#mark = this.#journalRead = 0
  }

  #take(text: string, at: number, found: Found): void {
    const fields = fieldsIn(text)
    if (fields === undefined) return
    const row = rowIn(fields)
    if (row !== undefined) {
      if (found.steps.length <= mostRows) found.steps.push(stepRowIn(fields))
      // What is drawn goes on from left to right.
      if (row.step <= this.#spans.lastStep) return
      if (this.#untilPlace-- <= 0) this.#keepPlace({ step: row.step, at, elapsed: this.#spans.elapsed })
      this.#spans.add(row)
      return
    }
    const evaluation = evaluationIn(fields)
    if (evaluation !== undefined) {
      this.#keepEvaluation(evaluation)
      found.evaluations.push(evaluation)
    }
    const mark = markIn(fields)
    if (mark === undefined) return
    this.#keepMark(mark)
    found.marks.push(mark)
  }

  #keepPlace(place: Place): void {
    this.#places.push(place)
    this.#untilPlace = this.#placeEvery - 1
    if (this.#places.length < mostPlaces) return
    this.#places = this.#places.filter((_, i) => i % 2 === 0)
    this.#placeEvery *= 2
  }
  #keepEvaluation(row: EvalRow): void {
    if (this.#evaluationsSeen++ % this.#evaluationEvery !== 0) return
    this.#evaluations.push(row)
    if (this.#evaluations.length < mostEvaluations) return
    this.#evaluations = this.#evaluations.filter((_, i) => i % 2 === 0)
    this.#evaluationEvery *= 2
  }
  #keepMark(mark: Mark): void {
    this.#marks.push(mark)
    if (this.#marks.length <= mostMarks) return
    this.#marks.shift()
    this.#marksLeftOut++
  }

  /** At most so many points of a range of steps; where few rows are in it they are read again, one by one. */
  async series(wanted: readonly Column[], { points, from = -Infinity, to = Infinity }: { readonly points: number; readonly from?: number | undefined; readonly to?: number | undefined }): Promise<Series> {
    await this.refresh()
    const spans = this.#spans
    const about = { rows: spans.rows, next: this.next }
    const asked = { points, from, to }
    const rows = spans.rowsIn(from, to)
    // Drawn from what is kept, where that is fine enough, or a closer look would be too long.
    if (spans.width === 1 || rows / spans.width >= points || rows > mostAgain) return { ...about, ...spans.series(wanted, asked) }
    const place = this.#places.findLast(p => p.step <= from) ?? this.#places[0]
    const close = new Spans(2 * points + points % 2, place?.elapsed ?? 0)
    for await (const { text } of linesFrom(this.#metrics, place?.at ?? 0, this.#read)) {
      const fields = fieldsIn(text)
      const row = fields === undefined ? undefined : rowIn(fields)
      if (row === undefined) continue
      if (row.step > to) break
      if (row.step > close.lastStep) close.add(row)
    }
    return { ...about, ...close.series(wanted, asked) }
  }

  /** What came since a place, of what was read at most so many milliseconds ago; undefined where that is no place of these files any more, or more came than is told one by one. */
  async since(next: string, within = 0): Promise<News | undefined> {
    if (performance.now() - this.#refreshed > within) await this.refresh()
    else await this.#busy
    if (next === this.next) return { steps: [], evaluations: [], marks: [], next }
    const known = this.#found.findIndex(f => f.from === next)
    if (known >= 0) {
      const found = this.#found.slice(known)
      return { steps: found.flatMap(f => f.steps), evaluations: found.flatMap(f => f.evaluations), marks: found.flatMap(f => f.marks), next: this.next }
    }
    const [read = NaN, mark = NaN, journalRead = NaN] = next.split('-').map(Number)
    if (!(read <= this.#read) || !(journalRead <= this.#journalRead) || await markAt(this.#metrics, read) !== mark) return undefined
    const [steps, evaluations, marks]: [StepRow[], EvalRow[], Mark[]] = [[], [], []]
    for await (const { text } of linesFrom(this.#metrics, read, this.#read)) {
      const fields = fieldsIn(text)
      if (fields === undefined) continue
      if (rowIn(fields) !== undefined) steps.push(stepRowIn(fields))
      if (steps.length > mostRows) return undefined
      const [evaluation, marked] = [evaluationIn(fields), markIn(fields)]
      if (evaluation !== undefined) evaluations.push(evaluation)
      if (marked !== undefined) marks.push(marked)
    }
    for await (const { text } of linesFrom(this.#journal, journalRead, this.#journalRead)) {
      const mark = journalMark(fieldsIn(text) ?? {})
      if (mark !== undefined) marks.push(mark)
    }
    return { steps, evaluations, marks, next: this.next }
  }
}

export const isColumn = (name: string): name is Column => (columns as readonly string[]).includes(name)
