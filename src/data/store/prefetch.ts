/** Batches made ahead of who takes them. The position is how many were taken: what has been made and not taken is made again by whoever goes on. */
import type { Rows } from '../rows.ts'
import { WorkerPool } from './pool.ts'
import { batchMaker, fieldsOf, type BatchJob, type DataSource, type SourceSpec } from './source.ts'

export interface PrefetchOptions {
  /** The first step. */
  readonly from?: number
  /** Rows of each step: those of this process. */
  readonly rows: Rows
  /** Batches made ahead; 0 makes each when it is asked for. 2 unless told. */
  readonly depth?: number
  /** Threads that make them, of a source of stores; 1 unless told. */
  readonly workers?: number
}

export interface Taken<B> {
  readonly step: number
  readonly batch: B
  /** Milliseconds that the taker waited for it. */
  readonly waited: number
}

export interface Prefetcher<B> {
  /** The next step's batch. Its arrays are the taker's own. @throws what making it threw. */
  next(): Promise<Taken<B>>
  /** Milliseconds waited so far, in all. */
  readonly waited: number
  close(): Promise<void>
}

type Made<B> = () => Promise<B>

/** A source of stores is read in worker threads, any other where it is; a depth of 0 needs no threads. */
export function prefetch<B>(source: DataSource<B> & { readonly spec?: SourceSpec }, { from = 0, rows, depth = 2, workers = 1 }: PrefetchOptions): Prefetcher<B> {
  const threads = source.spec === undefined || depth === 0 ? undefined : inThreads<B>(source.spec, rows, depth, Math.max(1, Math.min(workers, depth)))
  const begin = threads?.begin ?? ((step: number): Made<B> => {
    const batch = Promise.resolve().then(() => source.batch(step, rows))
    batch.catch(() => undefined)
    return () => batch
  })
  const ahead: Made<B>[] = []
  let [taken, begun, waited] = [from, from, 0]
  const fill = (): void => { while (begun < taken + depth) ahead.push(begin(begun++)) }
  fill()
  return {
    get waited() { return waited },
    async next() {
      const start = performance.now()
      const made = ahead.shift() ?? begin(begun++)
      const step = taken++
      const batch = await made()
      const ms = performance.now() - start
      waited += ms
      fill()
      return { step, batch, waited: ms }
    },
    async close() { await threads?.close() },
  }
}

function inThreads<B>(spec: SourceSpec, rows: Rows, depth: number, workers: number): { readonly begin: (step: number) => Made<B>; readonly close: () => Promise<void> } {
  const pool = new WorkerPool<BatchJob, null>({ kind: 'batches', init: spec }, workers, () => { const make = batchMaker(spec); return job => Promise.resolve(make(job)) })
  const fields = fieldsOf(spec, rows.to - rows.from)
  const bytes = fields.reduce((n, f) => n + 4 * f.length, 0)
  const free = Array.from({ length: depth + 1 }, () => new SharedArrayBuffer(bytes))
  return {
    begin(step) {
      const into = free.pop() ?? new SharedArrayBuffer(bytes)
      const done = pool.run({ step, rows, into })
      done.catch(() => undefined)
      return async () => {
        await done
        const batch: { [field: string]: Int32Array | Float32Array } = {}
        let at = 0
        for (const { name, type, length } of fields) {
          // A copy: devices may read from it long after the shared memory has the next batch.
          batch[name] = type === 'i32' ? new Int32Array(into, at, length).slice() : new Float32Array(into, at, length).slice()
          at += 4 * length
        }
        free.push(into)
        return batch as B
      }
    },
    close: () => pool.close(),
  }
}
