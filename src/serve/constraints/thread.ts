/** Places in answers that a thread of their own works out, one after another: whoever takes too long is refused, and the thread replaced. */
import { Worker } from 'node:worker_threads'
import { UsageError } from '../../core/errors.ts'
import { threadEntry } from '../../io/thread.ts'
import { Refused, type Constraint } from '../asking.ts'
import type { TokenTexts } from '../grammar/index.ts'
import type { Place } from '../writing.ts'
import { pack, type Found, type Packed, type Work } from './work.ts'

/** Tokens from the beginning on, the last one first. */
export interface Path { readonly token: number; readonly before: Path | undefined; readonly length: number }
function tokensOf(path: Path | undefined): Int32Array {
  const tokens = new Int32Array(path?.length ?? 0)
  for (let at = path; at !== undefined; at = at.before) tokens[at.length - 1] = at.token
  return tokens
}
export const behind = (token: number, before: Path | undefined): Path => ({ token, before, length: (before?.length ?? 0) + 1 })

/** A constraint that the thread knows by its number. */
export interface Away { readonly grammar: number; readonly constraint: Constraint }
interface Job { readonly work: () => Work; readonly done: (found: Found) => void; readonly failed: (e: unknown) => void; /** Whether somebody still waits for it. */ readonly wanted: () => boolean }

interface Thread { readonly worker: Worker; ready: boolean }

/** Milliseconds that one place may take. */
const longest = 5000
/** Places that are waited for, at most. */
const mostWaiting = 256

const tooLong = (): UsageError => new UsageError({ code: 'constraint', what: 'what may come next takes too long to be worked out', fix: 'ask for less at once: fewer and shorter patterns, no repeats within repeats' })

class AwayPlace implements Place {
  readonly #thread: ConstraintThread
  readonly #away: Away
  readonly #path: Path | undefined
  readonly #serial: number
  #wanted = true
  mask: Uint32Array = new Uint32Array(0)
  mayEnd = false
  gone = false
  pending: Promise<void> | undefined

  constructor(thread: ConstraintThread, away: Away, path: Path | undefined, serial: number, before: number | undefined) {
    this.#thread = thread
    this.#away = away
    this.#path = path
    this.#serial = serial
    const work = (): Work => ({ ...away, serial, before, path: tokensOf(path) })
    this.pending = thread.find(work, () => this.#wanted).then(found => {
      if ('mask' in found) [this.mask, this.mayEnd] = [found.mask, found.mayEnd]
      else this.gone = true
      this.pending = undefined
    })
    this.pending.catch(() => undefined)
  }

  after(token: number): Place { return this.#thread.place(this.#away, behind(token, this.#path), this.#serial) }
  /** The place that answers begin at is waited for by whoever comes later, too. */
  leave(): void { this.#wanted = this.#path === undefined }
}

export class ConstraintThread {
  readonly #texts: () => TokenTexts
  readonly #longest: number
  #packed: Packed | undefined
  #thread: Thread | undefined
  #serial = 0
  #under: { readonly job: Job; timer: NodeJS.Timeout | undefined } | undefined
  readonly #waiting: Job[] = []

  /** @param longest milliseconds that one place may take; 5 s unless said */
  constructor(texts: () => TokenTexts, within: number = longest) {
    this.#texts = texts
    this.#longest = within
  }

  place(away: Away, path: Path | undefined, before?: number): Place { return new AwayPlace(this, away, path, this.#serial++, before) }

  /** @throws UsageError for what is wrong with a constraint, or takes too long; Refused where too much is waited for */
  find(work: () => Work, wanted: () => boolean): Promise<Found> {
    return new Promise((done, failed) => {
      if (this.#waiting.length >= mostWaiting) return failed(new Refused({ type: 'busy', retryAfter: 1 }))
      this.#waiting.push({ work, wanted, done, failed })
      this.#next()
    })
  }

  async close(): Promise<void> {
    const thread = this.#thread
    this.#thread = undefined
    this.#waiting.length = 0
    await thread?.worker.terminate()
  }

  #next(): void {
    if (this.#under !== undefined) return
    const job = this.#waiting.shift()
    if (job === undefined) {
      // What has nothing to do keeps no process alive.
      this.#thread?.worker.unref()
      return
    }
    if (!job.wanted()) {
      job.failed(new Error('nobody waits for it'))
      return this.#next()
    }
    const thread = this.#thread ??= this.#start()
    this.#under = { job, timer: undefined }
    thread.worker.ref()
    thread.worker.postMessage(job.work())
    // A thread that begins reads its program and the tokens first.
    if (thread.ready) this.#limit(thread)
  }

  #limit(thread: Thread): void {
    const under = this.#under
    if (under === undefined) return
    // An answer that came while this thread had no time for it is in time.
    under.timer = setTimeout(() => { setImmediate(() => { if (this.#under === under) this.#replace(thread, tooLong()) }) }, this.#longest)
  }

  #settle(tell: (job: Job) => void): void {
    const under = this.#under
    if (under === undefined) return
    clearTimeout(under.timer)
    this.#under = undefined
    tell(under.job)
    this.#next()
  }

  #start(): Thread {
    const worker = new Worker(threadEntry('serve/constraints/worker'), { workerData: this.#packed ??= pack(this.#texts()), name: 'constraints', execArgv: [] })
    const thread: Thread = { worker, ready: false }
    worker.on('message', (found: Found | 'ready') => {
      if (thread !== this.#thread) return
      if (found === 'ready') {
        thread.ready = true
        return this.#limit(thread)
      }
      this.#settle(job => {
        if (!('failed' in found)) job.done(found)
        else job.failed(found.failed.code === 'constraint' ? new UsageError(found.failed) : new Error(found.failed.what))
      })
    })
    worker.on('error', (e: Error) => { this.#replace(thread, e) })
    worker.on('exit', code => { this.#replace(thread, new Error(`the thread of constraints ended with code ${code}`)) })
    return thread
  }

  /** What is under way has failed; what waits is for another thread. */
  #replace(thread: Thread, why: Error): void {
    if (thread !== this.#thread) return
    this.#thread = undefined
    void thread.worker.terminate()
    this.#settle(job => { job.failed(why) })
  }
}
