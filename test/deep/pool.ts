/** Several parts of the deep run at once, each in a process that may die without the others. */
import { fork, spawn, type ChildProcess } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { queue } from '../../src/runtime/processes.ts'
import { openJob, type Job } from '../mpi/requests.ts'
import { flavourOf, watched } from '../mpi/support.ts'
import { everyTrial, programsOf } from '../support/op-table.ts'
import { root, type FilePart, type FuzzPart, type OpsPart, type Part } from './parts.ts'
import type { Answer } from './worker.ts'

export interface Outcome { readonly part: Part; readonly wrong: readonly string[]; readonly seconds: number }
interface Options {
  readonly workers: number
  /** Ends what runs; no outcome is told of it. */
  readonly signal: AbortSignal
  readonly mayBegin: () => boolean
  readonly onEnd: (o: Outcome) => void
}

/** A process for one part after another; a new one after a death. */
class Worker {
  private child: ChildProcess | undefined

  run(work: OpsPart | FuzzPart): Promise<readonly string[]> {
    const child = this.child ??= this.begin()
    return new Promise(resolve => {
      const onMessage = ({ wrong }: Answer): void => { child.off('exit', onExit); resolve(wrong) }
      const onExit = (code: number | null, signal: NodeJS.Signals | null): void => {
        child.off('message', onMessage)
        resolve([`the process that did it ended with ${signal ?? code}`])
      }
      child.once('message', onMessage)
      child.once('exit', onExit)
      child.send(work)
    })
  }

  private begin(): ChildProcess {
    const child = watched(fork(fileURLToPath(new URL('worker.ts', import.meta.url)), { execArgv: ['--import', 'tsx'], stdio: ['ignore', 'inherit', 'inherit', 'ipc'] }))
    child.on('exit', () => { this.child = undefined })
    return child
  }

  end(): void { this.child?.kill('SIGKILL') }
}

/** One job of four ranks of each MPI, for one part at a time: more of them would only wait for cores. */
class Jobs {
  private readonly cache = mkdtempSync(join(tmpdir(), 'meshwork-deep-'))
  private readonly jobs = new Map<string, Job>()
  private readonly inTurn = queue()

  constructor() {
    process.on('exit', () => { rmSync(this.cache, { recursive: true, force: true }) })
  }

  run({ where, mesh, names, seed, part, of }: OpsPart): Promise<readonly string[]> {
    return this.inTurn(async () => {
      const mpi = flavourOf(where)
      if (mpi === undefined) throw new Error(`there is no ${where} here`)
      const job = this.jobs.get(where) ?? await openJob(mpi, 4, this.cache)
      this.jobs.set(where, job)
      const wrong: string[] = []
      try {
        for (const trials of programsOf(names.flatMap(name => everyTrial(name, mesh, seed, part, of)))) {
          wrong.push(...await job.ask({ task: 'ops', mesh, trials, where }) as readonly string[])
        }
      } catch (e) {
        this.jobs.delete(where)
        wrong.push(e instanceof Error ? e.message : String(e))
      }
      return wrong
    })
  }

  async end(): Promise<void> {
    await Promise.all([...this.jobs.values()].map(job => job.close()))
  }
}

/** All tests of a file whose names match. */
function runFile({ file, pattern }: FilePart): Promise<readonly string[]> {
  const args = [join(root, 'node_modules/vitest/vitest.mjs'), 'run', file, ...pattern === '' ? [] : ['-t', pattern]]
  const child = watched(spawn(process.execPath, args, { cwd: root, env: { ...process.env, MESHWORK_DEPTH: 'all', NO_COLOR: '1' }, stdio: ['ignore', 'pipe', 'pipe'] }))
  let printed = ''
  const keep = (chunk: Buffer): void => { printed += chunk.toString() }
  child.stdout.on('data', keep)
  child.stderr.on('data', keep)
  return new Promise(resolve => {
    child.on('close', code => { resolve(code === 0 ? [] : [`${printed.slice(-8000)}\n  again: MESHWORK_DEPTH=all npx vitest run ${file}${pattern === '' ? '' : ` -t '${pattern}'`}`]) })
  })
}

/** Begins them in their order. Resolves when all that began have ended. */
export async function runParts(parts: readonly Part[], { workers, signal, mayBegin, onEnd }: Options): Promise<void> {
  const jobs = new Jobs()
  const left = [...parts]
  const lanes = Array.from({ length: Math.min(workers, parts.length) }, () => new Worker())
  const aborted = new Promise<void>(resolve => { signal.addEventListener('abort', () => { resolve() }, { once: true }) })
  const runWork = (lane: Worker, { work }: Part): Promise<readonly string[]> =>
    (work.kind === 'file' ? runFile(work) : work.kind === 'ops' && work.where.startsWith('mpi') ? jobs.run(work) : lane.run(work))
  const runLane = async (lane: Worker): Promise<void> => {
    for (;;) {
      const part = signal.aborted || !mayBegin() ? undefined : left.shift()
      if (part === undefined) break
      const began = performance.now()
      const wrong = await runWork(lane, part)
      if (!signal.aborted) onEnd({ part, wrong, seconds: (performance.now() - began) / 1000 })
    }
    lane.end()
  }
  await Promise.race([Promise.all(lanes.map(runLane)), aborted])
  for (const lane of lanes) lane.end()
  // What a stopped run has still running goes with this process.
  if (!signal.aborted) await jobs.end()
}
