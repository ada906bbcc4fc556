/** What is told of each step, in files: metrics.jsonl and TensorBoard's events. A run that goes on cuts them where its checkpoint was. */
import { open, readdir, rm, type FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { FileError } from '../core/errors.ts'
import { cannotWrite, isSystemError } from '../io/atomic.ts'
import type { EvalRow, StepRow, TrainEvent } from './events.ts'
import { openEventFile, prefix, type EventFile } from './tensorboard.ts'

export interface Lengths { readonly metricsBytes: number; readonly eventsBytes: number }

/** A row as JSON. Numbers that JSON lacks are text: "NaN", "Infinity". */
export const jsonLine = (row: object): string => `${JSON.stringify(row, (_, x: unknown) => (typeof x === 'number' && !Number.isFinite(x) ? String(x) : x))}\n`

/**
 * What cannot be written for now, as the disk is full, is kept and written later, whole lines in their order: a run does not end by it before its own end.
 */
export class Log {
  private readonly path: string
  private readonly metrics: FileHandle
  private readonly events: EventFile
  private length: number
  private waiting: Buffer[] = []
  /** Whether that has been told, and nothing since was wholly written. */
  private ill = false

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

  /** Resolves to why it cannot be written for now, the first time that it cannot. */
  async tell(event: TrainEvent): Promise<FileError | undefined> {
    const row = rowOf(event)
    if (row === undefined) return undefined
    if (event.type === 'step') this.drawStep(event)
    if (event.type === 'eval') this.drawEvaluation(event)
    this.waiting.push(Buffer.from(jsonLine(row)))
    try {
      await this.write()
      if (event.type !== 'eval') return undefined
      await this.events.flush()
      this.ill = false
      return undefined
    } catch (e) {
      if (!(e instanceof FileError)) throw e
      const first = !this.ill
      this.ill = true
      return first ? e : undefined
    }
  }

  /** Lines that wait, as far as there is room. @throws FileError */
  private async write(): Promise<void> {
    const bytes = Buffer.concat(this.waiting)
    if (bytes.length === 0) return
    try {
      await this.metrics.appendFile(bytes)
    } catch (cause) {
      // A disk that fills up first takes a part.
      await this.metrics.truncate(this.length).catch(() => undefined)
      throw isSystemError(cause) ? cannotWrite(this.path, cause) : cause
    }
    this.waiting = []
    this.length += bytes.length
  }

  private drawStep({ step, loss, gradNorm, updateNorm, paramNorm, learningRate, lossScale, time }: StepRow): void {
    for (const [tag, value] of Object.entries({ loss, gradNorm, updateNorm, paramNorm, learningRate, ...(lossScale === undefined ? {} : { lossScale }) })) this.events.scalar(step, `train/${tag}`, value)
    for (const [tag, value] of Object.entries(time)) this.events.scalar(step, `time/${tag}`, value as number)
  }

  private drawEvaluation({ step, evalLoss, metrics }: EvalRow): void {
    this.events.scalar(step, 'eval/loss', evalLoss)
    for (const [name, value] of Object.entries(metrics)) this.events.scalar(step, `eval/${name}`, value)
  }

  /** Puts both on the disk, and says how long they are. @throws FileError where there is no room for them */
  async sync(): Promise<Lengths> {
    await this.write()
    await this.metrics.datasync()
    const eventsBytes = await this.events.sync()
    this.ill = false
    return { metricsBytes: this.length, eventsBytes }
  }

  /** Takes back what was told since, but that the run went back. */
  async cut({ metricsBytes, eventsBytes }: Lengths): Promise<void> {
    const { kept, behind } = await cutAt(this.metrics, metricsBytes)
    const told = Buffer.concat([behind, ...this.waiting]).toString().split('\n')
    this.length = kept
    this.waiting = told.filter(line => line.startsWith('{"type":"rewind"')).map(line => Buffer.from(`${line}\n`))
    await this.events.cut(eventsBytes)
  }

  /** @throws FileError where what waits cannot be written now either */
  async close(): Promise<void> {
    try {
      await this.write()
    } finally {
      try { await this.events.close() } finally { await this.metrics.close() }
    }
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

/** What metrics.jsonl says of an event. */
function rowOf(event: TrainEvent): object | undefined {
  if (event.type === 'rewind' || event.type === 'skipped') return event
  if (event.type !== 'step' && event.type !== 'eval') return undefined
  const { type: _, ...row } = event
  if (!('steps' in row)) return row
  const { steps: __, ...rest } = row
  return rest
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
