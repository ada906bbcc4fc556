/** Which batch a step of a run took: its own number, but for batches that the run went past. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { newestIn } from '../checkpoint/index.ts'
import { decodeHost } from '../checkpoint/host-state.ts'
import { parseProgress } from './progress.ts'

/** A step, counted from 0. */
export interface StepOf {
  readonly batch: number
  /** Whether metrics.jsonl tells of it. */
  readonly made: boolean
  /** The step was left out: nothing of it is in the parameters. */
  readonly skipped: boolean
}

interface Line { readonly type?: string; readonly step?: number; readonly to?: number; readonly batch?: number; readonly loss?: number; readonly skipped?: boolean }

/** From what the run's metrics.jsonl says. A file that is cut off is read as far as it goes. */
export async function batchOfStep(folder: string, step: number): Promise<StepOf> {
  const text = await readFile(join(folder, 'metrics.jsonl'), 'utf8').catch(() => '')
  const lines = text.split('\n').flatMap(line => { try { return line === '' ? [] : [JSON.parse(line) as Line | null ?? {}] } catch { return [] } })
  const rewinds = lines.flatMap(({ type, to, batch }) => (type === 'rewind' && to !== undefined && batch !== undefined ? [{ to, batch }] : []))
  const last = rewinds.filter(r => r.to <= step).at(-1)
  const made = lines.filter(l => l.step === step && l.loss !== undefined)
  const found = { made: made.length > 0, skipped: made.at(-1)?.skipped === true || lines.some(l => l.type === 'skipped' && l.step === step) }
  if (last !== undefined) return { ...found, batch: last.batch + step - last.to }
  return { ...found, batch: step + (rewinds.length === 0 ? await offsetOf(folder) : 0) }
}

/** How far batches are ahead of steps in a run that started from one that had gone past some. */
async function offsetOf(folder: string): Promise<number> {
  const newest = await newestIn(folder).catch(() => undefined)
  if (newest === undefined) return 0
  const progress = parseProgress(decodeHost(newest.manifest.host), newest.path)
  return progress.batch - progress.step
}
