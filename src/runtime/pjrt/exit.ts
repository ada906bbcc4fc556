/** Leaves the process safely while a plugin's threads are at work. */
import { writeSync } from 'node:fs'
import { inspect } from 'node:util'
import { isMainThread } from 'node:worker_threads'
import { leaving } from '../../io/leave.ts'

/** A client, which may have work under way that nobody waits for. */
interface Worker { atWork(): boolean }

/** Clients that are open; at exit they decide how to leave. */
const clients = new Set<Worker>()

export const watchClient = (client: Worker): void => { clients.add(client) }
export const forgetClient = (client: Worker): void => { clients.delete(client) }

/**
 * Leaving in the middle of a step would first wait for it, since Node joins its thread pool, and then run the plugin's static
 * destructors under its own running threads, which can crash. So the process ends at once, with the code it was leaving with.
 */
export function guardExit(): void {
  if (!isMainThread) return
  const leave = leaving()
  let uncaught: { readonly error: unknown } | undefined
  process.on('uncaughtExceptionMonitor', (error) => { uncaught = { error } })
  process.once('exit', (code) => {
    if (![...clients].some(client => client.atWork())) return
    // Node would print it only after this.
    if (uncaught !== undefined) writeSync(2, `${inspect(uncaught.error)}\n`)
    leave(code)
  })
}
