/** What the page knows of its server: its state as it is told, and the key that it wants. */
import { computed, signal, type ReadonlySignal, type Signal } from '@preact/signals'
import type { ModelState, ServerState } from '../server/state-shape.ts'
import { ApiFailure, stream } from './api.ts'
import { keep, kept } from './kept.ts'

export type Connection = 'connecting' | 'open' | 'key' | 'lost'

const keyName = 'meshwork-key'
/** Kept as long as the tab. */
export const key: Signal<string> = signal(kept('sessionStorage', keyName) ?? '')
export const connection: Signal<Connection> = signal('connecting')
export const server: Signal<ServerState | undefined> = signal(undefined)
export const models: ReadonlySignal<readonly ModelState[]> = computed(() => server.value?.models ?? [])
/** Those that write: what the playground can ask. */
export const writers: ReadonlySignal<readonly ModelState[]> = computed(() => models.value.filter(m => m.kind !== 'vectors'))
export const modelOf = (name: string): ModelState | undefined => writers.value.find(m => m.name === name)

let listening = new AbortController()

/** Hears the server until the page is left; what is lost is looked for again, less and less often. */
export async function listen(): Promise<void> {
  listening.abort()
  const { signal: stopped } = listening = new AbortController()
  for (let tries = 0; !stopped.aborted; tries++) {
    try {
      for await (const event of stream('state', { key: key.value, signal: stopped })) {
        server.value = event as unknown as ServerState
        connection.value = 'open'
        tries = 0
      }
      connection.value = 'lost'
    } catch (e) {
      // Another has begun to listen meanwhile.
      if (stopped.aborted) return
      connection.value = e instanceof ApiFailure && e.status === 401 ? 'key' : 'lost'
      if (connection.value === 'key') return
    }
    await new Promise(resolve => setTimeout(resolve, Math.min(10_000, 500 * 2 ** tries)))
  }
}

export function giveKey(given: string): void {
  key.value = given
  keep('sessionStorage', keyName, given)
  connection.value = 'connecting'
  void listen()
}
