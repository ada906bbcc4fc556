/** Which adapter is in which place, and who uses it: one that is dropped stays until the last answer with it has ended. */
import { UsageError } from '../core/errors.ts'

interface Slot { readonly name: string; /** Another of the same name, later, has another. */ readonly serial: number; users: number; dropped: boolean }
/** An adapter that an answer has from its beginning to its end. */
export interface Pinned { readonly slot: number; readonly serial: number }

export class AdapterSlots {
  /** The first place is that of no adapter. */
  readonly #slots: (Slot | undefined)[]
  #serial = 0

  constructor(count: number) { this.#slots = Array.from({ length: count }, () => undefined) }

  get names(): readonly string[] { return this.#slots.flatMap(s => (s === undefined || s.dropped ? [] : [s.name])) }

  /** Whoever asks now has it until `leave`; undefined where there is none of that name. */
  pin(name: string): Pinned | undefined {
    const at = this.#find(name)
    const slot = this.#slots[at]
    if (slot === undefined) return undefined
    slot.users++
    return { slot: at + 1, serial: slot.serial }
  }
  leave({ slot: place, serial }: Pinned): void {
    const slot = this.#slots[place - 1]
    if (slot?.serial === serial && --slot.users === 0 && slot.dropped) this.#slots[place - 1] = undefined
  }

  /** A place for one more, from 1 on; it is there once `fill` is called. @throws UsageError where none is free */
  place(): number {
    const at = this.#slots.indexOf(undefined)
    if (at >= 0) return at + 1
    throw new UsageError({ code: 'adapter', what: `there is room for ${this.#slots.length} adapters, all of it in use`, fix: 'drop one, or begin with more: --adapter-slots' })
  }
  /** An adapter lies in a place. One of the same name is dropped. */
  fill(place: number, name: string): void {
    this.drop(name)
    this.#slots[place - 1] = { name, serial: ++this.#serial, users: 0, dropped: false }
  }
  /** @returns whether there was one */
  drop(name: string): boolean {
    const at = this.#find(name)
    const slot = this.#slots[at]
    if (slot === undefined) return false
    slot.dropped = true
    if (slot.users === 0) this.#slots[at] = undefined
    return true
  }

  #find(name: string): number { return this.#slots.findIndex(s => s?.name === name && !s.dropped) }
}
