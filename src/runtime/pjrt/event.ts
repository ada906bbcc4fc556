/** Awaits PJRT events without blocking Node's loop. */
import type { PluginLibrary } from './library.ts'
import { Struct } from './memory.ts'

/**
 * Resolves when the event is ready, rejects with its error, and frees it. The wait is one libuv thread: a callback from the
 * plugin's own thread would hold that thread until Node's loop turns, and would not keep the process alive.
 */
export async function awaitEvent(library: PluginLibrary, event: bigint): Promise<void> {
  if (event === 0n) return
  if (library.isReady(event)) {
    library.consume(event)
    return
  }
  try {
    await library.callAsync(new Struct('PJRT_Event_Await_Args').set('event', event))
  } finally {
    library.destroyEvent(event)
  }
}

/** Awaits all of them, one after another on one thread; every event is freed, the first failure is thrown. */
export async function awaitEvents(library: PluginLibrary, events: readonly bigint[]): Promise<void> {
  const failures: unknown[] = []
  for (const event of events) await awaitEvent(library, event).catch((failure: unknown) => { failures.push(failure) })
  if (failures.length > 0) throw failures[0]
}

/** Whether all are ready, failed or not. */
export const eventsReady = (library: PluginLibrary, events: readonly bigint[]): boolean => events.every(event => library.isReady(event))
