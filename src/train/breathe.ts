/** Turns of Node's loop, in which signals are heard. */
import { setImmediate as turn } from 'node:timers/promises'

/** The loop turns, once to its end and once through, so that a signal that came while programs were compiled is heard before there is anything to lose. */
export async function breathe(): Promise<void> {
  for (let i = 0; i < 2; i++) await turn()
}
