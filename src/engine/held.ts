/** What arrays hold on the devices: freed when it is disposed, or when nobody can reach the array any more. */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import type { DeviceBuffer } from '../runtime/backend.ts'

/** Why an array can no longer be used. */
export interface Gone { readonly how: 'disposed' | 'donated'; readonly to?: string }

/** The buffers of one array, by the order of its devices. It must not know the array, which it outlives: but for a moment after that was made. */
export class Held {
  /** None once they are freed. */
  buffers: readonly DeviceBuffer[]
  readonly bytes: number
  gone: Gone | undefined
  /** The argument of a call that will take it over, should the call come about. */
  claimed: string | undefined
  /** Its place among the arguments of a call that is being checked. */
  place: number | undefined
  /** The array, until it is watched. */
  array: object | undefined
  /** Its neighbours among arrays that were made as lately. */
  before: Held | undefined
  behind: Held | undefined
  private watched = false
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

  /** From now on it is freed when nobody can reach the array. */
  watch(): void {
    const { array } = this
    if (array === undefined) return
    unlink(this)
    unreachable.register(array, this, this)
    this.watched = true
  }

  private freeIfUnused(): void {
    if (this.gone === undefined || this.free || this.users > 0) return
    this.free = true
    if (this.watched) unreachable.unregister(this)
    else unlink(this)
    live.bytes -= this.bytes
    live.arrays--
    for (const buffer of this.buffers) buffer.dispose()
    // V8's record of what was watched lies in its old space until all of that is collected, and this with it: what it points at would be copied by every scavenge.
    this.buffers = none
  }
}
const none: readonly DeviceBuffer[] = []

const unreachable = new FinalizationRegistry<Held>(held => { held.end({ how: 'disposed' }) })

/**
 * Arrays that were made lately, in a ring through each list's head. Most are gone soon, taken over by the next step, and V8 takes long over what is to be watched: two calls, and a record in its old space that keeps the
 * array through each scavenge until all is collected. So an array is watched when it has been there for a while.
 */
const ring = (): Held => { const head = new Held([], 0); return head.before = head.behind = head }
const lately = { young: ring(), older: ring(), timer: undefined as NodeJS.Timeout | undefined }
/** Milliseconds: between one and two of these go by before an array is watched. */
const patience = 250

function unlink(held: Held): void {
  const { before, behind } = held
  if (before !== undefined) before.behind = behind
  if (behind !== undefined) behind.before = before
  held.before = held.behind = held.array = undefined
}

function watchAll(head: Held): void {
  while (head.behind !== undefined && head.behind !== head) head.behind.watch()
}

function grow(): void {
  const { young, older } = lately
  watchAll(older)
  lately.young = older
  lately.older = young
  lately.timer = young.behind === young ? undefined : setTimeout(grow, patience).unref()
}

/**
 * What all arrays hold. V8 does not know of it, and would let small objects that hold much lie for hours: when they hold twice as
 * much as after the last collection, it is asked for another.
 */
const live = { bytes: 0, arrays: 0, collecting: undefined as Promise<void> | undefined, most: { bytes: 128 * 2 ** 20, arrays: 20_000 } }
const least = { ...live.most }

/** Frees what `array` holds once it cannot be reached. */
export function watch(array: object, held: Held): void {
  const { young } = lately
  held.array = array
  held.before = young.before
  held.behind = young
  if (young.before !== undefined) young.before.behind = held
  young.before = held
  lately.timer ??= setTimeout(grow, patience).unref()
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
  // It finds only what is watched.
  watchAll(lately.young)
  watchAll(lately.older)
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
