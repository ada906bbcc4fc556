/** Copies of what this process has to write: taken off the devices at once, written whenever the disk comes to it. */
import { sizeOf } from '../core/dim.ts'
import { dtypes } from '../core/dtype.ts'
import type { MeshArray, Processes } from '../engine/index.ts'
import type { PlannedFile, PlannedPart, PlannedTensor } from './plan.ts'
import { eachRun } from './stored.ts'

/** Bytes of a file, in memory that is nobody else's. */
export interface Run { readonly at: number; readonly bytes: Uint8Array }

/** A tensor of which all parts are here is put together, if it has no more bytes: what one array can hold. */
const largestWhole = 2 ** 31

/** Memory for copies, the same for every save of a run: pages that are new to the process cost the system several times what copying into them does. */
export class Staging {
  private readonly kept: ArrayBuffer[] = []
  private taken = 0

  /** What was taken may be overwritten from now on. */
  restart(): void { this.taken = 0 }

  take(bytes: number): ArrayBuffer {
    const found = this.kept[this.taken]
    const memory = found?.byteLength === bytes ? found : new ArrayBuffer(bytes)
    this.kept[this.taken++] = memory
    return memory
  }
}

/**
 * The bytes of an array that are this process's to write, with the places in the array where they belong: over all processes, every byte once.
 * They are copies: what a backend gives for the host may be the device's own memory, which the next step is donated.
 */
export async function* ownRuns(array: MeshArray, staging: Staging): AsyncGenerator<Run> {
  const width = dtypes[array.dtype].bytes
  const size = sizeOf(array.shape) * width
  const whole = array.sharding.size > 0 && array.backend.processes.count === 1 && size <= largestWhole ? new Uint8Array(staging.take(size)) : undefined
  let part: ArrayBuffer | undefined
  // Parts that are put together are read one after another, into the same memory.
  const memory = (bytes: number): ArrayBuffer => { part = whole === undefined ? staging.take(bytes) : part ?? staging.take(bytes); return part }
  for await (const { data, each } of array.ownParts(memory)) {
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
    const runs: Run[] = []
    each((global, local, length) => {
      const run = bytes.subarray(local * width, (local + length) * width)
      if (whole === undefined) runs.push({ at: global * width, bytes: run })
      else whole.set(run, global * width)
    })
    yield* runs
  }
  if (whole !== undefined && size > 0) yield { at: 0, bytes: whole }
}

/**
 * By file of the plan. Heads are rank 0's. What was staged before is overwritten. A tensor that an array lies scattered in is put together
 * where one process has all of it: it is written at once.
 */
export async function stage(files: readonly PlannedFile[], places: readonly PlannedTensor<MeshArray>[], { rank, count }: Pick<Processes, 'rank' | 'count'>, staging: Staging): Promise<Run[][]> {
  staging.restart()
  const runs = files.map((f): Run[] => (rank === 0 ? [{ at: 0, bytes: f.head }] : []))
  const whole = new Map<string, Uint8Array>()
  const wholeOf = ({ file, begin, size }: PlannedPart): Uint8Array => {
    const key = `${file} ${begin}`
    const found = whole.get(key)
    if (found !== undefined) return found
    // What no array has of it is 0.
    const made = new Uint8Array(staging.take(size)).fill(0)
    whole.set(key, made)
    runs[file]?.push({ at: begin, bytes: made })
    return made
  }
  for (const { array, parts } of places) {
    for await (const { at, bytes } of ownRuns(array, staging)) {
      for (const part of parts) {
        const { piece, file, begin } = part
        const [first, last] = [Math.max(at, piece.from), Math.min(at + bytes.byteLength, piece.from + piece.count)]
        if (first >= last) continue
        const scattered = count === 1 && piece.run < piece.count ? wholeOf(part) : undefined
        eachRun(piece, first - piece.from, last - piece.from, (inPiece, inTensor, length) => {
          const from = piece.from + inPiece - at
          const run = bytes.subarray(from, from + length)
          if (scattered === undefined) runs[file]?.push({ at: begin + inTensor, bytes: run })
          else scattered.set(run, inTensor)
        })
      }
    }
  }
  return runs
}
