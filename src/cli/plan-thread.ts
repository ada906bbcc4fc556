/** Plans, made one after another in a thread of their own, which begins with the first and ends when it has had nothing to do for a while. */
import { Worker } from 'node:worker_threads'
import type { Planner, PlanFound, PlanWork } from '../dashboard/index.ts'
import { threadEntry, withLines } from '../io/thread.ts'
import { offeredMachines } from './machines.ts'
import { recipeNames } from './recipes.ts'

interface Job { readonly work: PlanWork; readonly signal: AbortSignal; readonly done: (found: PlanFound) => void; readonly failed: (e: unknown) => void }
/** Milliseconds after which an idle thread gives its memory back, and those that one plan may take. */
const [idle, longest] = [120_000, 60_000]

export class PlanThread implements Planner {
  #worker: Worker | undefined
  #under: Job | undefined
  #limit: NodeJS.Timeout | undefined
  #idle: NodeJS.Timeout | undefined
  readonly #waiting: Job[] = []

  recipes(): Promise<readonly string[]> { return recipeNames() }
  machines(): Promise<readonly string[]> { return offeredMachines() }

  /** What is no more wanted when its turn comes is not worked out. @throws the signal's reason, or what broke */
  plan(work: PlanWork, signal: AbortSignal): Promise<PlanFound> {
    return new Promise((done, failed) => {
      this.#waiting.push({ work, signal, done, failed })
      this.#next()
    })
  }

  async close(): Promise<void> {
    const worker = this.#worker
    this.#worker = undefined
    clearTimeout(this.#idle)
    for (const job of this.#waiting.splice(0)) job.failed(new Error('the page is closed'))
    this.#settle(job => { job.failed(new Error('the page is closed')) })
    await worker?.terminate()
  }

  #next(): void {
    if (this.#under !== undefined) return
    const job = this.#waiting.shift()
    if (job === undefined) {
      clearTimeout(this.#idle)
      this.#idle = setTimeout(() => { this.#end() }, idle)
      this.#idle.unref()
      return
    }
    if (job.signal.aborted) {
      job.failed(job.signal.reason)
      return this.#next()
    }
    clearTimeout(this.#idle)
    this.#under = job
    const worker = this.#worker ??= this.#start()
    worker.postMessage(job.work)
    this.#limit = setTimeout(() => { this.#end(new Error(`a plan took more than ${longest / 1000} s`)) }, longest)
    this.#limit.unref()
  }

  #settle(tell: (job: Job) => void): void {
    const job = this.#under
    this.#under = undefined
    clearTimeout(this.#limit)
    if (job !== undefined) tell(job)
  }

  #start(): Worker {
    const worker = new Worker(threadEntry('cli/plan-worker'), { name: 'plans', execArgv: [...withLines] })
    worker.on('message', (found: PlanFound) => {
      if (worker !== this.#worker) return
      this.#settle(job => { job.done(found) })
      this.#next()
    })
    worker.on('error', (e: Error) => { if (worker === this.#worker) this.#end(e) })
    worker.unref()
    return worker
  }

  /** Lets the thread go; what is under way has failed. */
  #end(why: Error = new Error('the thread of plans is gone')): void {
    const worker = this.#worker
    this.#worker = undefined
    this.#settle(job => { job.failed(why) })
    void worker?.terminate()
    if (this.#waiting.length > 0) this.#next()
  }
}
