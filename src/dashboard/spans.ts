/** Rows without end in bounded room: each span of them keeps the least and the greatest of each column, and when there are too many, two become one. */
import { columns, type Column, type Series } from './shape.ts'

/** A step in numbers; what is none is NaN. */
export interface Row { readonly step: number; readonly seen: number; readonly values: Readonly<Record<Column, number>> }

const places = ['step', 'seen', 'elapsed'] as const
type Place = (typeof places)[number]

export class Spans {
  readonly #most: number
  /** Rows of a span, and spans that are begun. */
  #width = 1
  #count = 0
  /** Rows in the last span. */
  #inLast = 0
  #rows = 0
  #elapsed: number
  /** Of each span the first and the last. */
  readonly #at: Readonly<Record<Place, Float64Array>>
  /** Of each span the least and the greatest; negative order means that the greatest came first. */
  readonly #values: Readonly<Record<Column, Float64Array>>
  readonly #greatestFirst: Readonly<Record<Column, Uint8Array>>

  /** @param most spans, an even number @param elapsed seconds of training before the first row */
  constructor(most = 4096, elapsed = 0) {
    this.#most = most
    this.#elapsed = elapsed
    const numbers = (): Float64Array => new Float64Array(2 * most)
    this.#at = { step: numbers(), seen: numbers(), elapsed: numbers() }
    this.#values = Object.fromEntries(columns.map(c => [c, numbers()])) as Record<Column, Float64Array>
    this.#greatestFirst = Object.fromEntries(columns.map(c => [c, new Uint8Array(most)])) as Record<Column, Uint8Array>
  }

  get rows(): number { return this.#rows }
  get elapsed(): number { return this.#elapsed }
  get width(): number { return this.#width }
  get lastStep(): number { return this.#count === 0 ? -1 : this.#at.step[2 * this.#count - 1] as number }

  add({ step, seen, values }: Row): void {
    if (this.#count === 0 || this.#inLast === this.#width) {
      if (this.#count === this.#most) this.#halve()
      if (this.#count === 0 || this.#inLast === this.#width) {
        this.#count++
        this.#inLast = 0
      }
    }
    this.#elapsed += Number.isFinite(values.stepMs) ? values.stepMs / 1000 : 0
    const at = this.#count - 1
    const here = { step, seen, elapsed: this.#elapsed }
    for (const place of places) {
      if (this.#inLast === 0) this.#at[place][2 * at] = here[place]
      this.#at[place][2 * at + 1] = here[place]
    }
    for (const c of columns) {
      const [x, own] = [values[c], this.#values[c]]
      if (this.#inLast === 0) {
        own[2 * at] = own[2 * at + 1] = x
        this.#greatestFirst[c][at] = 0
      } else this.#join(c, at, x, x, 0)
    }
    this.#inLast++
    this.#rows++
  }

  /** Takes what came behind a span into it. */
  #join(c: Column, at: number, least: number, greatest: number, greatestFirst: number): void {
    if (Number.isNaN(least)) return
    const own = this.#values[c]
    const [had, most] = [own[2 * at] as number, own[2 * at + 1] as number]
    if (Number.isNaN(had)) {
      [own[2 * at], own[2 * at + 1], this.#greatestFirst[c][at]] = [least, greatest, greatestFirst]
      return
    }
    const [lower, higher] = [least < had, greatest > most]
    // Where both are new their order is that in which they came; where one is, it came last.
    if (lower && higher) this.#greatestFirst[c][at] = greatestFirst
    else if (lower) this.#greatestFirst[c][at] = 1
    else if (higher) this.#greatestFirst[c][at] = 0
    if (lower) own[2 * at] = least
    if (higher) own[2 * at + 1] = greatest
  }

  #halve(): void {
    for (let i = 0; i < this.#most / 2; i++) {
      for (const place of places) {
        const own = this.#at[place]
        own[2 * i] = own[4 * i] as number
        own[2 * i + 1] = own[4 * i + 3] as number
      }
      for (const c of columns) {
        const [own, order] = [this.#values[c], this.#greatestFirst[c]]
        const [least, greatest, first] = [own[4 * i + 2] as number, own[4 * i + 3] as number, order[2 * i + 1] as number]
        own[2 * i] = own[4 * i] as number
        own[2 * i + 1] = own[4 * i + 1] as number
        order[i] = order[2 * i] as number
        this.#join(c, i, least, greatest, first)
      }
    }
    this.#count = this.#most / 2
    this.#inLast = this.#width * 2
    this.#width *= 2
  }

  /** Spans with rows in a range of steps, from and to (exclusive). */
  #range(from: number, to: number): readonly [number, number] {
    const { step } = this.#at
    let [begin, end] = [0, this.#count]
    while (begin < end && (step[2 * begin + 1] as number) < from) begin++
    while (end > begin && (step[2 * end - 2] as number) > to) end--
    return [begin, end]
  }

  /** How many rows there are between two steps, about. */
  rowsIn(from: number, to: number): number {
    const [begin, end] = this.#range(from, to)
    return (end - begin) * this.#width
  }

  /** At most `points` spans of a range of steps. */
  series(wanted: readonly Column[], { points, from = -Infinity, to = Infinity }: { readonly points: number; readonly from?: number; readonly to?: number }): Omit<Series, 'next' | 'rows'> {
    const [begin, end] = this.#range(from, to)
    const each = Math.max(1, Math.ceil((end - begin) / points))
    const span = each * this.#width
    const groups = Math.ceil((end - begin) / each)
    const spread = <T>(of: (first: number, last: number) => readonly [T, T]): T[] => Array.from({ length: groups }, (_, g) => {
      const both = of(begin + g * each, Math.min(end, begin + (g + 1) * each) - 1)
      return span === 1 ? [both[0]] : both
    }).flat()
    const place = (name: Place): number[] => spread((first, last) => [this.#at[name][2 * first] as number, this.#at[name][2 * last + 1] as number])
    const told = (x: number): number | null => (Number.isFinite(x) ? x : null)
    const value = (c: Column): (number | null)[] => spread((first, last) => {
      const own = this.#values[c]
      let [least, greatest, order] = [NaN, NaN, 0]
      for (let i = first; i <= last; i++) {
        const [low, high] = [own[2 * i] as number, own[2 * i + 1] as number]
        if (Number.isNaN(low)) continue
        const [lower, higher] = [Number.isNaN(least) || low < least, Number.isNaN(greatest) || high > greatest]
        if (lower && higher) order = this.#greatestFirst[c][i] as number
        else if (lower) order = 1
        else if (higher) order = 0
        if (lower) least = low
        if (higher) greatest = high
      }
      return order === 1 ? [told(greatest), told(least)] : [told(least), told(greatest)]
    })
    return { span, step: place('step'), seen: place('seen'), elapsed: place('elapsed'), values: Object.fromEntries(wanted.map(c => [c, value(c)])) }
  }
}
