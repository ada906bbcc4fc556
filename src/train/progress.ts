/** Where a run is, as far as the host knows it: saved with every checkpoint, and the same for a run that was interrupted as for one that was not. */
import { FileError } from '../core/errors.ts'

export interface Progress {
  /** Steps behind the run, those left out included. */
  readonly step: number
  /** The next batch. It differs from `step` where batches were passed over. */
  readonly batch: number
  /** Those of the last steps that were bad. */
  readonly bad: readonly number[]
  readonly rewinds: number
  /** The last evaluation that was told of, and behind which step: one that is due is made once, however often the run is interrupted. */
  readonly evaluated: { readonly step: number; readonly loss: number } | null
  /** Lengths of the files that a step is told to; 0 where there are none. */
  readonly metricsBytes: number
  readonly eventsBytes: number
}
export const beginning: Progress = { step: 0, batch: 0, bad: [], rewinds: 0, evaluated: null, metricsBytes: 0, eventsBytes: 0 }

/** Steps that bad ones are counted in. */
export const recently = 100

/** What a checkpoint says of it. @throws FileError where that is something else */
export function parseProgress(value: unknown, checkpoint: string): Progress {
  const found = value as Partial<Progress> | null
  const whole = (x: unknown): x is number => Number.isSafeInteger(x) && (x as number) >= 0
  const { step, batch, bad, rewinds, evaluated = null, metricsBytes, eventsBytes } = typeof found === 'object' && found !== null ? found : {}
  const knows = evaluated === null || (typeof evaluated === 'object' && whole(evaluated.step) && typeof evaluated.loss === 'number')
  if (knows && whole(step) && whole(batch) && whole(rewinds) && whole(metricsBytes) && whole(eventsBytes) && Array.isArray(bad) && bad.every(whole)) return { step, batch, bad, rewinds, evaluated, metricsBytes, eventsBytes }
  throw new FileError({ code: 'progress', what: `${checkpoint} does not say where its run was`, fix: 'it was saved by a program of another kind: its weights can be loaded by --init-from' })
}
