/** What is told of each step, in files: metrics.jsonl and TensorBoard's events. A run that goes on cuts them where its checkpoint was. */
import { open, readdir, rm, type FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { cannotWrite, isSystemError } from '../io/atomic.ts'
import type { EvalRow, StepRow, TrainEvent } from './events.ts'
import { openEventFile, prefix, type EventFile } from './tensorboard.ts'

export interface Lengths { readonly metricsBytes: number; readonly eventsBytes: number }

/** A row as JSON. Numbers that JSON lacks are text: "NaN", "Infinity". */
export const jsonLine = (row: object): string => `${JSON.stringify(row, (_, x: unknown) => (typeof x === 'number' && !Number.isFinite(x) ? String(x) : x))}\n`

export class Log {
  private readonly path: string
  private readonly metrics: FileHandle
  private readonly events: EventFile
  private length: number

  private constructor(path: string, metrics: FileHandle, events: EventFile, length: number) {
    this.path = path
    this.metrics = metrics
    this.events = events
    this.length = length
  }

  /** Opens both, as long as they were; `lost` are the rows behind that. `again` says that the run has been here before. @throws FileError */
  static async open(folder: string, { metricsBytes, eventsBytes }: Lengths, again: boolean): Promise<{ readonly log: Log; readonly lost: readonly StepRow[] }> {
    const path = join(folder, 'metrics.jsonl')
    try {
      const metrics = await open(path, 'a+')
      const { kept, behind } = await cutAt(metrics, metricsBytes)
      // What was told before the first checkpoint is told again, from the beginning.
      if (again && eventsBytes === 0) for (const old of (await readdir(folder)).filter(n => n.startsWith(prefix))) await rm(join(folder, old), { force: true })
      const events = await openEventFile(folder, eventsBytes)
      return { log: new Log(path, metrics, events, kept), lost: rowsIn(behind) }
    } catch (cause) {
      throw isSystemError(cause) ? cannotWrite(path, cause) : cause
    }
  }

  async tell(event: TrainEvent): Promise<void> {
    if (event.type === 'step') await this.step(event)
    else if (event.type === 'eval') await this.evaluated(event)
    else if (event.type === 'rewind' || event.type === 'skipped') await this.write(event)
  }

  private async write(row: object): Promise<void> {
    const line = Buffer.from(jsonLine(row))
    await this.metrics.appendFile(line).catch((cause: unknown) => { throw isSystemError(cause) ? cannotWrite(this.path, cause) : cause })
    this.length += line.length
  }

  private async step({ type: _, steps: __, ...row }: StepRow & { readonly type: 'step'; readonly steps: number }): Promise<void> {
    await this.write(row)
    const { step, loss, gradNorm, updateNorm, paramNorm, learningRate, lossScale, time } = row
    for (const [tag, value] of Object.entries({ loss, gradNorm, updateNorm, paramNorm, learningRate, ...(lossScale === undefined ? {} : { lossScale }) })) this.events.scalar(step, `train/${tag}`, value)
    for (const [tag, value] of Object.entries(time)) this.events.scalar(step, `time/${tag}`, value as number)
  }

  private async evaluated({ type: _, ...row }: EvalRow & { readonly type: 'eval' }): Promise<void> {
    await this.write(row)
    this.events.scalar(row.step, 'eval/loss', row.evalLoss)
    for (const [name, value] of Object.entries(row.metrics)) this.events.scalar(row.step, `eval/${name}`, value)
    await this.events.flush()
  }

  /** Puts both on the disk, and says how long they are. */
  async sync(): Promise<Lengths> {
    await this.metrics.datasync()
    return { metricsBytes: this.length, eventsBytes: await this.events.sync() }
  }

  /** Takes back what was told since. */
  async cut({ metricsBytes, eventsBytes }: Lengths): Promise<void> {
    await this.metrics.truncate(metricsBytes)
    this.length = metricsBytes
    await this.events.cut(eventsBytes)
  }

  async close(): Promise<void> {
    await this.events.close()
    await this.metrics.close()
  }
}

/** Cuts a file of lines, and says how long it is then, and what was behind. One that is shorter than it should be is cut behind its last whole line. */
async function cutAt(file: FileHandle, length: number): Promise<{ readonly kept: number; readonly behind: Uint8Array }> {
  const { size } = await file.stat()
  const from = Math.min(length, size)
  const [behind, end] = [Buffer.alloc(size - from), Buffer.alloc(size < length ? Math.min(size, 65536) : 0)]
  await file.read(behind, 0, behind.length, from)
  await file.read(end, 0, end.length, size - end.length)
  const kept = size < length ? size - end.length + end.lastIndexOf(10) + 1 : from
  await file.truncate(kept)
  return { kept, behind }
}

/** The steps of a file's end, the last line of which may be torn. */
function rowsIn(bytes: Uint8Array): StepRow[] {
  const rows: StepRow[] = []
  for (const line of new TextDecoder().decode(bytes).split('\n')) {
    try {
      const row = JSON.parse(line) as StepRow | null
      if (typeof row?.time?.stepMs === 'number') rows.push(row)
    } catch { /* Torn by whatever ended the run. */ }
  }
  return rows
}
