/** Worker threads that do one job after another, and their results in the order of the jobs. */
import { Worker, type TransferListItem } from 'node:worker_threads'
import { DataError, MeshworkError, UsageError, type Problem } from '../../core/errors.ts'
import { threadEntry } from '../../io/thread.ts'

/** What a worker does, by its name in worker.ts, and what it is told once. */
export interface Task { readonly kind: string; readonly init: unknown }
export interface Request { readonly id: number; readonly job: unknown }
export type Reply = { readonly id: number; readonly result: unknown } | { readonly id: number; readonly failed: Failure }
/** An error on its way between threads, which lose an error's class. */
export interface Failure { readonly name: string; readonly problem: Problem; readonly stack: string }

const classes: { readonly [name: string]: new (p: Problem) => MeshworkError } = { DataError, UsageError }
export function failureOf(e: unknown): Failure {
  const error = e instanceof Error ? e : new Error(String(e))
  if (!(e instanceof MeshworkError)) return { name: error.name, problem: { code: 'worker', what: error.message }, stack: error.stack ?? '' }
  const { cause: _, ...problem } = e.problem
  return { name: e.name, problem, stack: error.stack ?? '' }
}
function errorOf({ name, problem, stack }: Failure): Error {
  const known = classes[name]
  const error = known === undefined ? new Error(problem.what) : new known(problem)
  error.stack = stack
  return error
}

/** One job after another: what does them keeps buffers and counts from one to the next, and a file's bytes are waited for in between. */
export function oneByOne<Job, Result>(work: (job: Job) => Promise<Result>): (job: Job) => Promise<Result> {
  let before: Promise<void> = Promise.resolve()
  return job => {
    const result = before.then(() => work(job))
    before = result.then(() => undefined, () => undefined)
    return result
  }
}

interface Waiting { readonly resolve: (result: unknown) => void; readonly reject: (e: unknown) => void }
interface Member { readonly worker: Worker; readonly waiting: Map<number, Waiting>; ended: Error | undefined }

export class WorkerPool<Job, Result> {
  readonly #members: Member[]
  readonly #here: ((job: Job) => Promise<Result>) | undefined
  #next = 0
  #closing = false

  /** Without workers, `here` does the jobs in this thread: where there is little to do, starting one takes longer than that. */
  constructor(task: Task, count: number, here: () => (job: Job) => Promise<Result>) {
    this.#here = count === 0 ? oneByOne(here()) : undefined
    const file = threadEntry('data/store/worker')
    this.#members = Array.from({ length: count }, () => {
      // What Node itself was told, such as --input-type, is for the program it was started with.
      const worker = new Worker(file, { workerData: task, name: task.kind, execArgv: [] })
      const member: Member = { worker, waiting: new Map(), ended: undefined }
      worker.on('message', (reply: Reply) => {
        const waiting = member.waiting.get(reply.id)
        member.waiting.delete(reply.id)
        // Nor while it is closed: the process would end before who waits for that.
        if (member.waiting.size === 0 && !this.#closing) worker.unref()
        if ('failed' in reply) waiting?.reject(errorOf(reply.failed))
        else waiting?.resolve(reply.result)
      })
      const end = (e: Error): void => {
        member.ended ??= e
        for (const { reject } of member.waiting.values()) reject(member.ended)
        member.waiting.clear()
      }
      worker.on('error', end)
      worker.on('exit', code => { if (!this.#closing) end(new Error(`a worker thread ended with code ${code}`)) })
      // A pool that is idle keeps no process alive.
      worker.unref()
      return member
    })
  }

  get size(): number { return this.#members.length }

  /** Gives a job to the worker with the fewest, or to the one named. */
  run(job: Job, { transfer = [], worker }: { readonly transfer?: readonly TransferListItem[]; readonly worker?: number } = {}): Promise<Result> {
    if (this.#here !== undefined) return this.#here(job)
    const member = worker === undefined ? this.#members.reduce((a, b) => (b.waiting.size < a.waiting.size ? b : a)) : this.#members[worker % this.size]
    if (member === undefined) throw new RangeError('the pool has no workers')
    return new Promise<Result>((resolve, reject) => {
      if (member.ended !== undefined) return reject(member.ended)
      const id = this.#next++
      member.waiting.set(id, { resolve: resolve as (r: unknown) => void, reject })
      member.worker.ref()
      member.worker.postMessage({ id, job } satisfies Request, [...transfer])
    })
  }

  /** The job on every worker. */
  all(job: Job): Promise<Result[]> {
    if (this.#here !== undefined) return this.#here(job).then(result => [result])
    return Promise.all(this.#members.map((_, worker) => this.run(job, { worker })))
  }

  async close(): Promise<void> {
    this.#closing = true
    await Promise.all(this.#members.map(m => m.worker.terminate()))
  }
}

/** Results in the order of `inputs`, which are taken as there is room: at most `ahead` are under way. */
export async function* inOrder<In, Out>(inputs: AsyncIterable<In>, ahead: number, work: (input: In) => Promise<Out>): AsyncGenerator<Out> {
  const under: Promise<Out>[] = []
  try {
    for await (const input of inputs) {
      const result = work(input)
      // Who waits for it is told; nobody may by the time it fails.
      result.catch(() => undefined)
      under.push(result)
      if (under.length >= ahead) yield await (under.shift() as Promise<Out>)
    }
    while (under.length > 0) yield await (under.shift() as Promise<Out>)
  } finally {
    await Promise.allSettled(under)
  }
}
