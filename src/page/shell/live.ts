/** What the page knows: the table of runs, and what is told of those that are watched. One stream brings all; where it breaks off it is taken up at the same place. */
import { computed, signal, type ReadonlySignal, type Signal } from '@preact/signals'
import type { RunRow, Told } from '../../dashboard/shape.ts'
import { Refusal, request } from './api.ts'
import { named } from './route.ts'
import { eventsIn } from './sse.ts'

export type Connection = 'connecting' | 'open' | 'token' | 'lost'
export const connection: Signal<Connection> = signal('connecting')
/** Undefined until they are known. */
export const runs: Signal<readonly RunRow[] | undefined> = signal(undefined)
export const root: Signal<string> = signal('')

/** Those that are looked at: the ones of the address; without any the one that was written last. */
export const chosen: ReadonlySignal<readonly RunRow[]> = computed(() => {
  const all = runs.value ?? []
  const found = named.value.flatMap(id => all.find(r => r.id === id) ?? [])
  return found.length > 0 ? found : [all.find(r => r.state === 'running') ?? all[0]].flatMap(r => r ?? [])
})

/** Hears what is told of a run. */
type Listener = (told: Told & { readonly type: 'rows' | 'again' }) => void
interface Watched { readonly hear: Listener; place: string }
const watched = new Map<string, Watched>()
let listening = new AbortController()

/** Follows a run from a place on. @returns what lets it go */
export function follow(run: string, from: string, hear: Listener): () => void {
  const own: Watched = { hear, place: from }
  watched.set(run, own)
  again()
  return () => {
    if (watched.get(run) !== own) return
    watched.delete(run)
    again()
  }
}

let due = false
/** The stream anew, once for all that changes at the same time. */
function again(): void {
  if (due) return
  due = true
  queueMicrotask(() => {
    due = false
    void listen()
  })
}

const wait = (milliseconds: number, signal: AbortSignal): Promise<void> => new Promise(resolve => {
  const timer = setTimeout(resolve, milliseconds)
  signal.addEventListener('abort', () => { clearTimeout(timer); resolve() }, { once: true })
})

function take(told: Told): void {
  if (told.type === 'runs') {
    root.value = told.root
    runs.value = told.runs
  } else watched.get(told.run)?.hear(told)
}

/** Hears the server for as long as the page is open; what is lost is looked for again, less and less often, and at once when a computer wakes. */
export async function listen(): Promise<void> {
  listening.abort()
  const { signal: stopped } = listening = new AbortController()
  const isOver = (): boolean => stopped.aborted
  for (let tries = 0; !isOver(); tries++) {
    try {
      const places = new URLSearchParams([...watched].map(([run, { place }]) => [run, place]))
      const response = await request(`api/events?${places}`, { signal: stopped })
      if (response.body !== null) {
        for await (const { data, id } of eventsIn(response.body)) {
          if (isOver()) return
          connection.value = 'open'
          tries = 0
          take(JSON.parse(data) as Told)
          for (const [run, place] of new URLSearchParams(id ?? '')) { const own = watched.get(run); if (own !== undefined) own.place = place }
        }
      }
      if (isOver()) return
      connection.value = 'lost'
    } catch (e) {
      // Another has begun to listen meanwhile.
      if (isOver()) return
      connection.value = e instanceof Refusal && e.status === 401 ? 'token' : 'lost'
      if (connection.value === 'token') return
    }
    await wait(Math.min(10_000, 500 * 2 ** tries), stopped)
  }
}
addEventListener('online', again)
document.addEventListener('visibilitychange', () => { if (document.visibilityState === 'visible' && connection.value === 'lost') again() })
