/** One request: what is read of it, what is asked for it, and what its end means. */
import type { z } from 'zod'
import { Refused, type Asked, type Told } from '../serve/asking.ts'
import type { EmbeddingQueue } from '../serve/embedding-queue.ts'
import { ApiError, apiError } from './errors.ts'
import type { Metrics } from './metrics.ts'
import type { ServedModel, WritingModel } from './models.ts'

/** Objects in objects, at most. */
const deepest = 64

/** How deep a text of JSON goes, without reading it. */
function depthOf(text: string): number {
  let [depth, most, quoted] = [0, 0, false]
  for (let i = 0; i < text.length; i++) {
    const c = text[i]
    if (quoted) {
      if (c === '\\') i++
      else if (c === '"') quoted = false
    } else if (c === '"') quoted = true
    else if (c === '[' || c === '{') most = Math.max(most, ++depth)
    else if (c === ']' || c === '}') depth--
  }
  return most
}

export interface CallOptions {
  readonly models: readonly ServedModel[]
  readonly metrics: Metrics
  /** Whose prompts may share what is kept of them. */
  readonly scope: string
  /** Once aborted, the client has gone or the server ends. */
  readonly signal: AbortSignal
  /** Milliseconds that an answer may take, its waiting counted; any number unless said. */
  readonly deadline?: number | undefined
  readonly text: () => Promise<string>
  readonly log: (event: { readonly event: string; readonly error?: string }) => void
}

const constraintField = ({ constraint }: Asked): string | undefined => (constraint?.type === 'tools' ? 'tools' : undefined)

export class Call {
  readonly models: readonly ServedModel[]
  readonly scope: string
  readonly #options: CallOptions
  readonly #controller = new AbortController()
  #late = false
  #timer: NodeJS.Timeout | undefined
  /** Answers that are being heard. */
  #open = 0

  constructor(options: CallOptions) {
    this.#options = options
    this.models = options.models
    this.scope = options.scope
    if (options.signal.aborted) this.#controller.abort()
    else options.signal.addEventListener('abort', this.abort, { once: true })
  }

  /** Aborted once nobody waits for the answer any more. */
  get signal(): AbortSignal { return this.#controller.signal }
  /** Nobody waits for the answer any more. */
  readonly abort = (): void => { this.#controller.abort() }
  readonly failed = (e: unknown): void => {
    if (!(e instanceof Refused)) this.#options.log({ event: 'failed', error: e instanceof Error ? e.stack ?? e.message : String(e) })
  }

  /** The body, as it must be. @throws ApiError that names the field */
  async read<S extends z.ZodType>(schema: S): Promise<z.infer<S>> {
    const text = await this.#options.text()
    if (depthOf(text) > deepest) throw new ApiError(400, `the body is nested deeper than ${deepest}`)
    let value: unknown
    try { value = JSON.parse(text) } catch { throw new ApiError(400, 'the body is not JSON') }
    const found = schema.safeParse(value)
    if (found.success) return found.data
    const [issue] = found.error.issues
    throw new ApiError(400, `${issue?.path.join('.') ?? 'the body'}: ${issue?.message ?? 'it is not as it must be'}`, { param: issue === undefined || issue.path.length === 0 ? null : issue.path.join('.') })
  }

  /** What an answer must be is worked out, so that what is wrong with it is told before anything is sent. @throws ApiError */
  async know({ answering, name }: WritingModel, asked: Asked): Promise<void> {
    if (asked.constraint === undefined) return
    try { await answering.know(asked) } catch (e) {
      this.#options.metrics.request(name, asked).ended('error')
      throw apiError(e, undefined, constraintField(asked))
    }
  }

  /** Asks a model, and counts what comes of it. @param field that the prompt came in @throws ApiError, at once */
  ask({ answering, name }: WritingModel, asked: Asked, field = 'prompt'): AsyncIterable<Told> {
    const hearing = this.#options.metrics.request(name, asked)
    let told: AsyncIterable<Told>
    try { told = answering.ask(asked, this.#controller.signal) } catch (e) {
      hearing.ended('error')
      // What else was asked with it is answered to nobody.
      this.abort()
      throw apiError(e, field, constraintField(asked))
    }
    this.#limit()
    return this.#heard(told, hearing)
  }

  /** Vectors of texts, counted as requests are. @throws Refused, at once; what the client's leaving is */
  async embed(model: string, embedding: EmbeddingQueue, rows: readonly (readonly number[])[]): Promise<Float32Array[]> {
    const ended = this.#options.metrics.embedding(model, rows.reduce((n, row) => n + row.length, 0))
    try {
      const vectors = await embedding.embed(rows, this.#controller.signal)
      ended('stop')
      return vectors
    } catch (e) {
      ended(this.#controller.signal.aborted ? 'abort' : 'error')
      this.requireConnected()
      throw e
    }
  }

  async *#heard(all: AsyncIterable<Told>, hearing: ReturnType<Metrics['request']>): AsyncGenerator<Told> {
    let end: 'stop' | 'length' | 'abort' | 'error' = 'abort'
    try {
      for await (const t of all) {
        hearing.told(t)
        if (t.type === 'end') end = t.reason
        yield t
      }
      this.#requireInTime()
    } catch (e) {
      end = 'error'
      throw e
    } finally {
      if (--this.#open === 0) clearTimeout(this.#timer)
      hearing.ended(this.#late ? 'error' : end)
      this.#options.signal.removeEventListener('abort', this.abort)
    }
  }

  /** From now on the answers may take so long. */
  #limit(): void {
    const { deadline } = this.#options
    this.#open++
    if (deadline !== undefined) this.#timer ??= setTimeout(() => { this.#late = true; this.abort() }, deadline).unref()
  }
  /** @throws ApiError where an answer was not there in time */
  #requireInTime(): void {
    if (this.#late) throw new ApiError(504, `the answer took longer than ${(this.#options.deadline ?? 0) / 1000} s, which is all that this server gives one: ask for fewer tokens`, { type: 'server_error', code: 'deadline' })
  }

  /** @throws ApiError where the client has gone: nobody reads it, and the log tells it from a success */
  requireConnected(): void {
    if (this.#controller.signal.aborted) throw new ApiError(499, 'the client closed the request', { code: 'client_closed' })
  }

  json(value: object): Response { return Response.json(value) }
}
