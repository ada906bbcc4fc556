/** What arrays hold on the devices: freed when it is disposed, or when nobody can reach the array any more. */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import type { DeviceBuffer } from '../runtime/backend.ts'

/** Why an array can no longer be used. */
export interface Gone { readonly how: 'disposed' | 'donated'; readonly to?: string }

/** The buffers of one array, by the order of its devices. It must not know the array, which it outlives. */
export class Held {
  readonly buffers: readonly DeviceBuffer[]
  readonly bytes: number
  gone: Gone | undefined
  /** The argument of a call that will take it over, should the call come about. */
  claimed: string | undefined
  private users = 0
  private free = false

  constructor(buffers: readonly DeviceBuffer[], bytes: number) {
    this.buffers = buffers
    this.bytes = bytes
  }

  /** Keeps the buffers until `release`, whatever becomes of the array. */
  hold(): void { this.users++ }

  release(): void {
    this.users--
    this.freeIfUnused()
  }

  /** From now on nobody may use the array. */
  end(gone: Gone): void {
    this.gone ??= gone
    this.freeIfUnused()
  }

  private freeIfUnused(): void {
    if (this.gone === undefined || this.free || this.users > 0) return
    this.free = true
    unreachable.unregister(this)
    live.bytes -= this.bytes
    live.arrays--
    for (const buffer of this.buffers) buffer.dispose()
  }
}

const unreachable = new FinalizationRegistry<Held>(held => { held.end({ how: 'disposed' }) })

/**
 * What all arrays hold. V8 does not know of it, and would let small objects that hold much lie for hours: when they hold twice as
 * much as after the last collection, it is asked for another.
 */
const live = { bytes: 0, arrays: 0, collecting: undefined as Promise<void> | undefined, most: { bytes: 128 * 2 ** 20, arrays: 20_000 } }
const least = { ...live.most }

/** Frees what `array` holds once it cannot be reached. */
export function watch(array: object, held: Held): void {
  unreachable.register(array, held, held)
  live.bytes += held.bytes
  live.arrays++
  if ((live.bytes > live.most.bytes || live.arrays > live.most.arrays) && live.collecting === undefined) collect()
}

let collector: (() => void) | undefined
function collectGarbage(): void {
  if (collector === undefined) {
    setFlagsFromString('--expose-gc')
    collector = runInNewContext('gc') as () => void
  }
  collector()
}

function collect(): void {
  collectGarbage()
  // What it found unreachable is freed when Node's loop turns.
  live.collecting = new Promise(resolve => {
    setTimeout(() => {
      live.collecting = undefined
      live.most = { bytes: Math.max(least.bytes, 2 * live.bytes), arrays: Math.max(least.arrays, 2 * live.arrays) }
      resolve()
    }, 0)
  })
}

/** What makes arrays waits for this before it hands them out: a loop of short programs may never let Node's loop turn by itself. */
export const collected = (): Promise<void> | undefined => live.collecting
