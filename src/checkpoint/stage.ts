/** Copies of what this process has to write: taken off the devices at once, written whenever the disk comes to it. */
import { sizeOf } from '../core/dim.ts'
import { dtypes } from '../core/dtype.ts'
import type { MeshArray } from '../engine/index.ts'
import type { PlannedFile, PlannedTensor } from './plan.ts'

/** Bytes of a file, in memory that is nobody else's. */
export interface Run { readonly at: number; readonly bytes: Uint8Array }

/** A tensor of which all parts are here is put together, if it has no more bytes: what one array can hold. */
const largestWhole = 2 ** 31

/**
 * The bytes of an array that are this process's to write, with the places in the array where they belong: over all processes, every byte once.
 * They are copies: what a backend gives for the host may be the device's own memory, which the next step is donated.
 */
export async function* ownRuns(array: MeshArray): AsyncGenerator<Run> {
  const width = dtypes[array.dtype].bytes
  const size = sizeOf(array.shape) * width
  const whole = array.backend.processes.count === 1 && size <= largestWhole ? new Uint8Array(size) : undefined
  for await (const { data, each } of array.ownParts()) {
    const part = new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
    if (whole !== undefined) {
      each((global, local, length) => { whole.set(part.subarray(local * width, (local + length) * width), global * width) })
      continue
    }
    const copy = part.slice()
    const runs: Run[] = []
    each((global, local, length) => { runs.push({ at: global * width, bytes: copy.subarray(local * width, (local + length) * width) }) })
    yield* runs
  }
  if (whole !== undefined && size > 0) yield { at: 0, bytes: whole }
}

/** By file of the plan, in rising order. Heads are rank 0's. */
export async function stage(files: readonly PlannedFile[], places: readonly PlannedTensor<MeshArray>[], rank: number): Promise<Run[][]> {
  const runs = files.map((f): Run[] => (rank === 0 ? [{ at: 0, bytes: f.head }] : []))
  for (const { array, file, begin } of places) {
    for await (const { at, bytes } of ownRuns(array)) runs[file]?.push({ at: begin + at, bytes })
  }
  return runs
}
