/** The run folder: what a run was, how it went, and what came out of it. */
import { mkdir, open, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { cannotWrite, isSystemError } from '../io/atomic.ts'
import { FileError } from '../core/errors.ts'
import { makeFolders, removeEmpty } from '../io/folders.ts'
import type { EvalRow, StepRow } from './events.ts'
import type { Run } from './run.ts'
import { openEventFile } from './tensorboard.ts'

/** A folder, or the next free `PARENT/NAME-N`. */
export type FolderChoice = string | { readonly parent: string; readonly name: string }

export interface RunFolder {
  readonly path: string
  step(row: StepRow): Promise<void>
  evaluated(row: EvalRow): Promise<void>
  close(): Promise<void>
  /** Closes it and takes away what was written: a run that never made a step is none. */
  discard(): Promise<void>
}

/** What a run writes under fixed names. A folder that has one of them would lose it. */
const ours = ['run.json', 'metrics.jsonl', 'model.safetensors', 'config.json', 'tokenizer.json']

/** A run's name as part of a path: what is no letter, digit, ".", "_" or "-" becomes "-". */
const fileName = (name: string): string => name.replace(/[^\p{L}\p{N}._-]+/gu, '-').replace(/^[.-]+/, '').slice(0, 80) || 'run'

/** The first number that is free. */
async function freeFolder({ parent, name }: Exclude<FolderChoice, string>): Promise<string> {
  const taken = new Set(await readdir(parent).catch(() => []))
  const base = fileName(name)
  for (let i = 0; ; i++) if (!taken.has(`${base}-${i}`)) return join(parent, `${base}-${i}`)
}

const unusable = (path: string, why: string, cause?: unknown): FileError =>
  new FileError({ code: 'out-folder', what: `${path} cannot be a run folder: ${why}`, fix: 'give another folder: --out DIR', cause })

async function checkEmpty(path: string): Promise<void> {
  const files: string[] = await readdir(path).catch(async (cause: unknown) => {
    if (!isSystemError(cause)) throw cause
    if (cause.code === 'ENOENT') return []
    const file = cause.code === 'ENOTDIR' && await stat(path).then(() => true, () => false)
    throw unusable(path, file ? 'it is a file' : cause.code === 'ENOTDIR' ? 'a part of the path is a file' : cause.message, cause)
  })
  const found = ours.find(f => files.includes(f))
  if (found === undefined) return
  throw new FileError({
    code: 'run-exists', what: found === 'run.json' ? `${path} holds a run already` : `${path} holds a ${found} already, which a run would overwrite`,
    fix: 'give another folder (--out DIR), or remove this one',
  })
}

/** Checks, before anything long is done, that a run can be written here; nothing is left behind. @throws FileError */
export async function checkFolder(choice: FolderChoice): Promise<void> {
  const path = typeof choice === 'string' ? choice : await freeFolder(choice)
  await checkEmpty(path)
  try {
    const made = await makeFolders(path)
    const probe = join(path, `.probe-${process.pid}`)
    await writeFile(probe, '').finally(() => rm(probe, { force: true })).finally(() => removeEmpty(made))
  } catch (cause) {
    throw unusable(path, cause instanceof Error ? cause.message : String(cause), cause)
  }
}

interface Claim { readonly path: string; readonly made: readonly string[] }

/** Makes the folder ours: of two runs that want it at the same time, one gets it. */
async function claim(choice: FolderChoice): Promise<Claim> {
  if (typeof choice === 'string') {
    await checkEmpty(choice)
    return { path: choice, made: await makeFolders(choice) }
  }
  const above = await makeFolders(choice.parent)
  for (;;) {
    const path = await freeFolder(choice)
    const won = await mkdir(path).then(() => true, (cause: unknown) => {
      if (isSystemError(cause) && cause.code === 'EEXIST') return false
      throw cause
    })
    if (won) return { path, made: [...above, path] }
  }
}

/** @throws FileError */
export async function createFolder(choice: FolderChoice, run: Run): Promise<RunFolder> {
  const { path, made } = await claim(choice).catch((cause: unknown) => {
    throw isSystemError(cause) ? unusable(typeof choice === 'string' ? choice : choice.parent, cause.message, cause) : cause
  })
  await writeFile(join(path, 'run.json'), `${JSON.stringify(run, null, 2)}\n`, { flag: 'wx' }).catch((cause: unknown) => {
    throw isSystemError(cause) ? cannotWrite(join(path, 'run.json'), cause) : cause
  })
  const metrics = await open(join(path, 'metrics.jsonl'), 'a')
  const events = await openEventFile(path)
  const line = (row: object): Promise<void> => metrics.appendFile(`${JSON.stringify(row)}\n`).catch((cause: unknown) => {
    throw isSystemError(cause) ? cannotWrite(join(path, 'metrics.jsonl'), cause) : cause
  })
  const close = async (): Promise<void> => {
    await events.close()
    await metrics.close()
  }
  return {
    path, close,
    async step(row) {
      await line(row)
      events.scalar(row.step, 'train/loss', row.loss)
      events.scalar(row.step, 'train/gradNorm', row.gradNorm)
      events.scalar(row.step, 'train/learningRate', row.learningRate)
      if (row.lossScale !== undefined) events.scalar(row.step, 'train/lossScale', row.lossScale)
      events.scalar(row.step, 'train/stepMs', row.stepMs)
    },
    async evaluated(row) {
      await line(row)
      events.scalar(row.step, 'eval/loss', row.evalLoss)
      await events.flush()
    },
    async discard() {
      await close()
      for (const file of ['run.json', 'metrics.jsonl'].map(f => join(path, f)).concat(events.path)) await rm(file, { force: true })
      await removeEmpty(made)
    },
  }
}
