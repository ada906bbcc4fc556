/** The one stream of a tab: the table of runs, and what comes of those that are watched. Where a tab has got to is said by places in the files, so it may come again to another process. */
import { setTimeout as after } from 'node:timers/promises'
import type { Runs } from './runs.ts'
import type { Told } from './shape.ts'

/** Milliseconds between looks at what is watched, as often as a page draws, and looks at the table in these. */
const [every, tableEvery] = [500, 2]
/** Milliseconds in which all that is there is told. */
export const lastLooks: number = 2.5 * every
/** Runs that one tab watches. */
export const mostWatched = 64

/** The table, looked at as often as one tab would, however many look. */
export class Table {
  readonly runs: Runs
  #looked = 0
  #looking: Promise<unknown> | undefined
  constructor(runs: Runs) { this.runs = runs }

  async fresh(): Promise<void> {
    if (Date.now() - this.#looked < every * tableEvery * 0.9) return
    this.#looking ??= this.runs.look().finally(() => {
      this.#looked = Date.now()
      this.#looking = undefined
    })
    await this.#looking
  }
}

export interface Watched { readonly places: Map<string, string>; readonly signal: AbortSignal }

/** @param places of the runs that are watched, each where its reader has got to, and empty where it wants what comes from now on; it is kept up to date */
export async function* streamOf(table: Table, { places, signal }: Watched): AsyncGenerator<Told> {
  const { runs } = table
  let last = ''
  let rows: typeof runs.rows | undefined
  for (let look = 0; !signal.aborted; look++) {
    if (look % tableEvery === 0) await table.fresh()
    if (runs.rows !== rows) {
      rows = runs.rows
      const text = JSON.stringify(rows)
      if (text !== last) yield { type: 'runs', root: runs.root, runs: rows }
      last = text
    }
    for (const [run, place] of places) {
      const history = runs.historyOf(run)
      if (history === undefined) continue
      const news = place === '' ? undefined : await history.since(place, 0.8 * every)
      if (news === undefined) {
        if (place === '') await history.refresh()
        places.set(run, history.next)
        if (place !== '') yield { type: 'again', run }
      } else if (news.next !== place) {
        const { next, ...rows } = news
        places.set(run, next)
        yield { type: 'rows', run, ...rows }
      }
    }
    await after(every, undefined, { signal }).catch(() => undefined)
  }
}

/** What a client sends as `Last-Event-ID`, and what stands in its address. */
export const placesText = (places: ReadonlyMap<string, string>): string => new URLSearchParams([...places]).toString()
export const placesIn = (text: string): Map<string, string> => new Map([...new URLSearchParams(text)].slice(0, mostWatched))
