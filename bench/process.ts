/** A worker process that is asked one thing at a time and idles in between, so that what is measured runs alone. */
import { spawn, type ChildProcess } from 'node:child_process'
import { join, resolve } from 'node:path'
import { createInterface, type Interface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { canBuild } from '../src/runtime/compiler.ts'
import { kernelsLibrary } from '../src/runtime/pjrt/cpu/library.ts'
import { leave, type Mpi } from '../test/mpi/support.ts'
import type { Answers, Request } from './task.ts'

export type Environment = Readonly<Record<string, string | undefined>>

/** What can be set for the C library's allocator. */
export const environments = {
  plain: { GLIBC_TUNABLES: undefined },
  // As the command sets them for itself where it cannot keep large blocks by its own code (src/runtime/pjrt/cpu/allocator.ts).
  'huge pages': { GLIBC_TUNABLES: 'glibc.malloc.hugetlb=1:glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=1099511627776' },
} as const satisfies Record<string, Environment>
/** Ours as the command starts. */
export const asCommand: Environment = environments[canBuild(kernelsLibrary) ? 'plain' : 'huge pages']
/** Peers as their users start them; `MESHWORK_BENCH_PEERS=huge-pages` gives them what the command would set. */
export const asUsers: Environment = environments[process.env['MESHWORK_BENCH_PEERS'] === 'huge-pages' ? 'huge pages' : 'plain']

export class Worker {
  readonly name: string
  readonly #child: ChildProcess
  readonly #lines: AsyncIterator<string>
  readonly #reader: Interface
  readonly #exit: Promise<number | null>

  constructor(name: string, command: string, args: readonly string[], environment: Environment) {
    this.name = name
    const env: NodeJS.ProcessEnv = { ...process.env, ...environment }
    const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'], env })
    this.#child = child
    this.#exit = new Promise(resolve => {
      child.on('error', () => { resolve(null) })
      child.on('exit', resolve)
    })
    this.#reader = createInterface(child.stdout)
    this.#lines = this.#reader[Symbol.asyncIterator]()
    // A worker that died is noticed where its answer is missing.
    child.stdin.on('error', () => {})
  }

  async ask<K extends keyof Answers>(request: Extract<Request, { readonly do: K }>): Promise<Answers[K]> {
    return await this.say(JSON.stringify(request)) as Answers[K]
  }

  /** One line there, one line of JSON back. */
  async say(line: string): Promise<unknown> {
    this.#child.stdin?.write(`${line}\n`)
    const { value, done } = await this.#lines.next()
    if (done === true) throw new Error(`${this.name} ended (exit code ${await this.#exit ?? 'none'}) instead of answering ${line}`)
    return JSON.parse(value) as unknown
  }

  /** Ends it by closing its input; by force where that does not help. */
  async stop(): Promise<void> {
    this.#child.stdin?.end()
    const force = setTimeout(() => this.#child.kill('SIGKILL'), 10_000)
    await this.#exit
    clearTimeout(force)
    this.#reader.close()
  }
}

const here = (file: string): string => fileURLToPath(new URL(file, import.meta.url))

export const startOurs = (name: string, environment: Environment): Worker =>
  new Worker(name, process.execPath, ['--expose-gc', '--import', 'tsx', here('worker.ts')], environment)

/** The worker of another checkout, with its own dependencies: what there was before a change. */
export const startOther = (name: string, folder: string, environment: Environment): Worker =>
  new Worker(name, process.execPath, ['--expose-gc', '--import', 'tsx', join(resolve(folder), 'bench', 'worker.ts')], environment)

/** JAX on one device. */
export const startJax = (name: string, python: string, environment: Environment): Worker =>
  new Worker(name, python, [here('tiny/peer.py')], { ...environment, JAX_PLATFORMS: 'cpu', PYTHONDONTWRITEBYTECODE: '1' })

/** The same worker on every rank. */
export const startRanks = (name: string, mpi: Mpi, ranks: number, environment: Environment): Worker =>
  new Worker(name, mpi.mpirun, ['-n', String(ranks), process.execPath, '--import', 'tsx', here('worker.ts')], { ...leave, ...environment })

/** A C program on every rank. */
export const startNative = (name: string, mpi: Mpi, ranks: number, program: string): Worker =>
  new Worker(name, mpi.mpirun, ['-n', String(ranks), program], leave)

/** DTensor and DDP, a gloo process a device. */
export const startTorchMesh = (name: string, python: string, environment: Environment): Worker =>
  new Worker(name, python, [here('mpi/peer.py')], { ...environment, PYTHONPATH: here('../test/oracle'), PYTHONDONTWRITEBYTECODE: '1' })

export const startTorch = (name: string, python: string, environment: Environment): Worker =>
  new Worker(name, python, [here('peer.py')], { ...environment, PYTHONPATH: here('../test/oracle'), PYTHONDONTWRITEBYTECODE: '1' })

/** Whole runs of the trainer, and the same in PyTorch. */
export const startTrainer = (name: string, environment: Environment): Worker =>
  new Worker(name, process.execPath, ['--import', 'tsx', here('train/worker.ts')], environment)
export const startTorchLoop = (name: string, python: string, environment: Environment): Worker =>
  new Worker(name, python, [here('train/peer.py')], { ...environment, PYTHONPATH: here('../test/oracle'), PYTHONDONTWRITEBYTECODE: '1' })

/** Python's safetensors; `task` is a file. */
export const startSafetensors = (name: string, python: string, task: string): Worker =>
  new Worker(name, python, [here('checkpoint/peer.py'), task], { PYTHONDONTWRITEBYTECODE: '1' })
/** Hugging Face's tokenizers. */
export const startTokenizers = (name: string, python: string, environment: Environment): Worker =>
  new Worker(name, python, [here('tokenize/peer.py')], { ...environment, PYTHONDONTWRITEBYTECODE: '1' })

/** Runs `work` with workers that are stopped whatever happens. */
export async function withWorkers<T>(workers: readonly Worker[], work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } finally {
    await Promise.all(workers.map(w => w.stop()))
  }
}
