/** The run folder: what a run is, who works in it, how far it is, and what came out of it. */
import { randomBytes } from 'node:crypto'
import { appendFile, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { adapterWeightsName, newestIn } from '../checkpoint/index.ts'
import { FileError } from '../core/errors.ts'
import type { Plain } from '../core/plain.ts'
import { cannotWrite, isSystemError, writeFileAtomic } from '../io/atomic.ts'
import { claimFolder, claimName, type Claim } from '../io/claim.ts'
import { makeFolders, removeEmpty } from '../io/folders.ts'
import { shellPath } from '../io/shell.ts'
import { version } from '../io/version.ts'
import { journalName } from './journal.ts'
import { isPartKinds, type PartKinds } from './parts.ts'
import { identityOf, type Run } from './run.ts'
import { flatten } from './together.ts'
import { forget, wishes, wishName } from './wish.ts'

/** A folder, or the next free `PARENT/NAME-N`. */
export type FolderChoice = string | { readonly parent: string; readonly name: string }

/** What run.json says. */
export interface RunFile {
  /** Of this run, however often it is started. */
  readonly id: string
  readonly version: string
  /** Where its values come from: a recipe's name, or the path of a file; none where a program made them. */
  readonly recipe?: string | undefined
  /** What kinds its parts are of, where all of them are ours: it can be made again without its recipe. */
  readonly parts?: PartKinds | undefined
  /** Its settings, and the configurations of its parts. */
  readonly run: { readonly [field: string]: unknown }
  /** What decides its numbers. */
  readonly identity: Plain
}
/** How a run ended, or that it has not. */
export interface Summary { readonly state: 'finished' | 'stopped' | 'failed'; readonly steps: number; readonly evalLoss?: number | string; readonly why?: string; /** Of the error that it failed with. */ readonly code?: string }

/** What a run writes under fixed names. A folder that has one of them would lose it. */
const ours = ['metrics.jsonl', 'model.safetensors', adapterWeightsName, 'config.json', 'tokenizer.json', 'checkpoints']
const [runName, summaryName, goodputName] = ['run.json', 'summary.json', 'goodput.jsonl']

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

/** What a folder says of its run; undefined where there is none. @throws FileError where it cannot be read */
export async function readRunFile(path: string): Promise<RunFile | undefined> {
  const file = join(path, runName)
  const text = await readFile(file, 'utf8').catch((cause: unknown) => {
    if (isSystemError(cause) && (cause.code === 'ENOENT' || cause.code === 'ENOTDIR')) return undefined
    throw cause
  })
  if (text === undefined) return undefined
  const bad = (why: string, cause?: unknown): FileError => new FileError({ code: 'run-file', what: `${file} ${why}`, fix: 'give another folder, or remove this one', cause })
  let found: Partial<RunFile> | null
  try { found = JSON.parse(text) as Partial<RunFile> | null } catch (cause) { throw bad('is not JSON', cause) }
  const { id, run, identity, recipe, parts } = found ?? {}
  if (typeof id !== 'string' || typeof run !== 'object' || run === null || typeof identity !== 'object' || identity === null || (recipe !== undefined && typeof recipe !== 'string')) throw bad('is not what a run writes')
  if (parts !== undefined && !isPartKinds(parts)) throw bad('is not what a run writes')
  return { id, run, identity, version: String(found?.version), ...(recipe === undefined ? {} : { recipe }), ...(parts === undefined ? {} : { parts }) }
}

export async function readSummary(path: string): Promise<Summary | undefined> {
  try { return JSON.parse(await readFile(join(path, summaryName), 'utf8')) as Summary } catch { return undefined }
}

/** Whether what is at a path is nothing, a run of ours, or neither. @throws FileError where it is neither, or finished */
async function look(path: string, steps: number): Promise<RunFile | undefined> {
  const names: string[] = await readdir(path).catch(async (cause: unknown) => {
    if (!isSystemError(cause)) throw cause
    if (cause.code === 'ENOENT') return []
    const file = cause.code === 'ENOTDIR' && await stat(path).then(() => true, () => false)
    throw unusable(path, file ? 'it is a file' : cause.code === 'ENOTDIR' ? 'a part of the path is a file' : cause.message, cause)
  })
  const file = names.includes(runName) ? await readRunFile(path) : undefined
  const found = ours.find(f => names.includes(f))
  if (file === undefined && found !== undefined) throw new FileError({ code: 'run-exists', what: `${path} holds a ${found} already, which a run would overwrite`, fix: 'give another folder (--out DIR), or remove this one' })
  const summary = file === undefined ? undefined : await readSummary(path)
  if (summary?.state === 'finished' && summary.steps >= steps) {
    throw new FileError({ code: 'run-exists', what: `${path} holds a run that is finished, after ${summary.steps} steps`, fix: `give another folder (--out DIR), or remove this one: rm -r ${shellPath(path)}` })
  }
  return file
}

/**
 * Checks, before anything long is done, that a run can be written here, or goes on here; nothing is left behind. Of a length that is not counted yet, and of
 * data of which `identity` is not given, nothing is known by now.
 * @throws FileError
 */
export async function checkFolder(choice: FolderChoice, run: Run, identity?: Plain): Promise<void> {
  const path = typeof choice === 'string' ? choice : await freeFolder(choice)
  const isCounted = typeof run.steps === 'number'
  const before = await look(path, typeof run.steps === 'number' ? run.steps : Infinity)
  // A folder that a run has had: who has it now is told, and that none of its checkpoints can be used.
  if (await stat(join(path, claimName)).then(() => true, () => false)) await (await claimFolder(path)).release()
  if (before !== undefined) {
    await newestIn(path)
    // A schedule may hang on the length.
    const known = ({ data = null, optimizer, ...rest }: { readonly [field: string]: Plain }): Plain =>
      ({ ...rest, ...(identity === undefined ? {} : { data }), ...(isCounted && optimizer !== undefined ? { optimizer } : {}) })
    requireSameRunFile(path, { identity: known(before.identity as { readonly [field: string]: Plain }) }, { identity: known({ ...identityOf(run), data: identity ?? null }) })
  }
  try {
    const made = await makeFolders(path)
    const probe = join(path, `.probe-${process.pid}`)
    try {
      await writeFile(probe, '')
    } finally {
      await rm(probe, { force: true })
      await removeEmpty(made)
    }
  } catch (cause) {
    throw unusable(path, cause instanceof Error ? cause.message : String(cause), cause)
  }
}

/** A run's folder that this process has to itself. */
export class RunFolder {
  readonly path: string
  readonly file: RunFile
  /** Whether the run has been here before. */
  readonly again: boolean
  private readonly made: readonly string[]
  private readonly claim: Claim

  private constructor(path: string, file: RunFile, again: boolean, made: readonly string[], claim: Claim) {
    this.path = path
    this.file = file
    this.again = again
    this.made = made
    this.claim = claim
  }

  /**
   * Makes the folder, or takes the one of the same run that was interrupted.
   * @throws FileError where another process has it, where it holds another run, naming the difference, or where it cannot be written
   */
  static async open(choice: FolderChoice, run: Omit<RunFile, 'id' | 'version'>, steps: number): Promise<RunFolder> {
    const { path, made } = await place(choice).catch((cause: unknown) => {
      throw isSystemError(cause) ? unusable(typeof choice === 'string' ? choice : choice.parent, cause.message, cause) : cause
    })
    const claim = await claimFolder(path)
    try {
      const before = await look(path, steps)
      if (before !== undefined) requireSameRunFile(path, before, run)
      const file: RunFile = { id: before?.id ?? randomBytes(6).toString('hex'), version, ...run }
      await writeFileAtomic(join(path, runName), `${JSON.stringify(file, null, 2)}\n`)
      await rm(join(path, summaryName), { force: true })
      // What was asked of the run when it was here last.
      await forget(path)
      return new RunFolder(path, file, before !== undefined, made, claim)
    } catch (e) {
      await claim.release()
      throw e
    }
  }

  /** Where its checkpoints are. */
  get checkpoints(): string { return join(this.path, 'checkpoints') }

  async end(summary: Summary): Promise<void> {
    await writeFileAtomic(join(this.path, summaryName), `${JSON.stringify(summary, (_, x: unknown) => (typeof x === 'number' && !Number.isFinite(x) ? String(x) : x), 2)}\n`)
  }

  /** Notes what time went into, by start of the run: the last line of each counts. */
  async note(line: object): Promise<void> {
    const file = join(this.path, goodputName)
    await appendFile(file, `${JSON.stringify(line)}\n`).catch((cause: unknown) => { throw isSystemError(cause) ? cannotWrite(file, cause) : cause })
  }
  /** The lines that were noted, torn ones left out. */
  async notes(): Promise<readonly unknown[]> {
    const text = await readFile(join(this.path, goodputName), 'utf8').catch(() => '')
    return text.split('\n').flatMap(line => { try { return line === '' ? [] : [JSON.parse(line) as unknown] } catch { return [] } })
  }

  release(): Promise<void> { return this.claim.release() }

  /** Takes away what was written: a run that never made a step is none. */
  async discard(): Promise<void> {
    const events = (await readdir(this.path).catch(() => [])).filter(n => n.startsWith('events.out.tfevents.'))
    for (const name of [runName, 'metrics.jsonl', goodputName, summaryName, journalName, ...wishes.map(wishName), ...events]) await rm(join(this.path, name), { force: true })
    await this.claim.release()
    await rm(join(this.path, '.lock'), { force: true })
    await rm(join(this.path, 'checkpoints'), { recursive: true, force: true })
    await removeEmpty(this.made)
  }
}

/** The folder: of two runs that want a new one at the same time, each gets its own. */
async function place(choice: FolderChoice): Promise<{ readonly path: string; readonly made: readonly string[] }> {
  if (typeof choice === 'string') return { path: choice, made: await makeFolders(choice) }
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

/** The first thing in which two identities differ, and what each has there; undefined where they are the same. */
export function differenceOf(had: Plain, now: Plain): { readonly in: string; readonly there: string; readonly here: string } | undefined {
  const [a, b] = [flatten(had, ''), flatten(JSON.parse(JSON.stringify(now)), '')]
  const key = [...new Set([...Object.keys(a), ...Object.keys(b)])].find(k => a[k] !== b[k])
  return key === undefined ? undefined : { in: key, there: a[key] ?? 'none', here: b[key] ?? 'none' }
}

/** @throws FileError with the first difference */
function requireSameRunFile(path: string, { identity: had }: Pick<RunFile, 'identity'>, { identity: now }: Pick<RunFile, 'identity'>): void {
  const found = differenceOf(had, now)
  if (found === undefined) return
  throw new FileError({
    code: 'run-differs', what: `${path} holds another run: it differs in ${found.in}`, details: { there: found.there, here: found.here },
    fix: `go on with the same command line, or give another folder: --out DIR${found.in.startsWith('model') ? '' : `; to start from what was learnt there: --out DIR --init-from ${shellPath(path)}`}`,
  })
}
