/** The run folder: what a run was, how it went, and what came out of it. */
import { mkdir, open, readdir, rm, writeFile, type FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { FileError } from '../core/errors.ts'
import { writeFileAtomic } from '../core/atomic.ts'
import type { EvalRow, StepRow } from './events.ts'
import type { Run } from './run.ts'
import { openEventFile, type EventFile } from './tensorboard.ts'

export interface RunFolder {
  readonly path: string
  step(row: StepRow): Promise<void>
  evaluated(row: EvalRow): Promise<void>
  close(): Promise<void>
}

/** A folder that nobody uses yet: `runs/NAME-0`, or the next number. */
export async function freeFolder(parent: string, name: string): Promise<string> {
  const taken = new Set(await readdir(parent).catch(() => []))
  for (let i = 0; ; i++) if (!taken.has(`${name}-${i}`)) return join(parent, `${name}-${i}`)
}

/** Checks, before anything long is done, that a run can be written here. @throws FileError */
export async function checkFolder(path: string): Promise<void> {
  const files: string[] = await readdir(path).catch((e: NodeJS.ErrnoException) => {
    if (e.code === 'ENOENT') return []
    throw new FileError({ code: 'out-folder', what: `${path} cannot be used as a run folder: ${e.code === 'ENOTDIR' ? 'it is a file' : e.message}`, fix: 'give --out another folder' })
  })
  if (files.includes('run.json')) {
    throw new FileError({ code: 'run-exists', what: `${path} holds a run already`, fix: 'give --out another folder, or remove this one' })
  }
  // The nearest folder that exists must take new entries; nothing is left behind.
  const existed = files.length > 0 || (await readdir(path).then(() => true, () => false))
  try {
    const made = await mkdir(path, { recursive: true })
    const probe = join(path, `.probe-${process.pid}`)
    await writeFile(probe, '')
    await rm(probe)
    if (!existed && made !== undefined) await rm(made, { recursive: true })
  } catch (e) {
    throw new FileError({ code: 'out-folder', what: `${path} cannot be written: ${e instanceof Error ? e.message : String(e)}`, fix: 'give --out a folder that you may write to', cause: e })
  }
}

export async function createFolder(path: string, run: Run): Promise<RunFolder> {
  await checkFolder(path)
  await mkdir(path, { recursive: true })
  await writeFileAtomic(join(path, 'run.json'), `${JSON.stringify(run, null, 2)}\n`)
  const metrics: FileHandle = await open(join(path, 'metrics.jsonl'), 'a')
  const events: EventFile = await openEventFile(path)
  const line = (row: object): Promise<void> => metrics.appendFile(`${JSON.stringify(row)}\n`)
  return {
    path,
    async step(row) {
      await line(row)
      events.scalar(row.step, 'train/loss', row.loss)
      events.scalar(row.step, 'train/gradNorm', row.gradNorm)
      events.scalar(row.step, 'train/learningRate', row.learningRate)
      events.scalar(row.step, 'train/stepMs', row.stepMs)
    },
    async evaluated(row) {
      await line(row)
      events.scalar(row.step, 'eval/loss', row.evalLoss)
      await events.flush()
    },
    async close() {
      await events.close()
      await metrics.close()
    },
  }
}
