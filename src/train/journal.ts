/** journal.jsonl: what happened to a run beside its steps, with the time: starts, plans, checkpoints, samples of text, warnings. It is never cut. */
import { appendFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { PlanEvent, TrainEvent } from './events.ts'

export const journalName = 'journal.jsonl'

/** A line; `at` is in milliseconds since 1970. */
export type JournalEntry = { readonly at: number } & (
  | { readonly type: 'start'; readonly from: number; readonly steps: number; readonly pid: number; readonly host: string; readonly hosts: readonly string[]; readonly checkpoint?: string }
  | PlanEvent
  | { readonly type: 'checkpoint'; readonly step: number; readonly path: string; readonly bytes: number; readonly waitMs: number; readonly totalMs: number }
  | { readonly type: 'sample'; readonly step: number; readonly prompt: string; readonly text: string }
  | { readonly type: 'warning'; readonly text: string; readonly step: number }
  | { readonly type: 'bad'; readonly step: number; readonly why: string; readonly documents?: readonly string[] }
)
type Line<E> = E extends unknown ? Omit<E, 'at'> : never

/** Lines in their order; what cannot be written is left out, as a run does not hang on it. */
export class Journal {
  readonly #path: string
  #last: Promise<void> = Promise.resolve()
  constructor(folder: string) { this.#path = join(folder, journalName) }

  add(line: Line<JournalEntry>): void {
    const text = `${JSON.stringify({ at: Date.now(), ...line })}\n`
    this.#last = this.#last.then(() => appendFile(this.#path, text)).catch(() => undefined)
  }
  /** What the events of a run come to here. */
  hear(event: TrainEvent, step: number): void {
    if (event.type === 'plan' || event.type === 'checkpoint' || event.type === 'sample' || event.type === 'bad') this.add(event)
    else if (event.type === 'warning') this.add({ ...event, step })
  }
  /** Waits for what is being written. */
  flush(): Promise<void> { return this.#last }
}
