/** Vectors of texts for many who ask at once: whatever waits is computed together, and each vector hangs on its own text alone. */
import { failingFor, Refused, type Load } from './asking.ts'
import type { RowProgram } from './rows.ts'
import type { Turn, Turns } from './turns.ts'

export interface EmbeddingQueueOptions {
  readonly turns: Turns
  /** Rows of a step, over all devices. */
  readonly rows: number
  /** Numbers of a vector. */
  readonly size: number
  readonly vocab: number
  /** Texts that may wait. */
  readonly queue: number
}

interface Waiting { readonly tokens: readonly number[]; readonly signal: AbortSignal | undefined; readonly done: (vector: Float32Array) => void; readonly failed: (e: unknown) => void }

export class EmbeddingQueue {
  readonly size: number
  readonly vocab: number
  /** Tokens of a text at most. */
  readonly window: number
  readonly #options: EmbeddingQueueOptions
  readonly #program: Pick<RowProgram, 'run'>
  readonly #turn: Turn
  #waiting: Waiting[] = []
  #running = 0
  #began: number | undefined
  #failedAt = -Infinity
  #turning = false

  constructor(program: Pick<RowProgram, 'run' | 'window'>, options: EmbeddingQueueOptions) {
    this.#program = program
    this.#options = options
    this.window = program.window
    this.size = options.size
    this.vocab = options.vocab
    this.#turn = options.turns.add(order => program.run((JSON.parse(order) as number[][]).map(tokens => ({ tokens }))))
  }

  load(): Load { return { slots: this.#options.rows, running: this.#running, texts: [], waiting: this.#waiting.length, waitingTokens: this.#waiting.reduce((n, w) => n + w.tokens.length, 0), blocks: 0, blocksUsed: 0, drafted: 0, accepted: 0, failing: performance.now() - this.#failedAt < failingFor, stepSeconds: this.#began === undefined ? 0 : (performance.now() - this.#began) / 1000 } }

  /** A vector for each text, given as tokens. @throws Refused, at once; the signal's reason */
  embed(texts: readonly (readonly number[])[], signal?: AbortSignal): Promise<Float32Array[]> {
    const invalid = (why: string, fix: string): Refused => new Refused({ type: 'invalid', field: 'prompt', why, fix })
    for (const tokens of texts) {
      if (tokens.length === 0) throw invalid('a text has no tokens', 'give at least one')
      if (tokens.length > this.window) throw invalid(`a text has ${tokens.length} tokens, and the window is ${this.window}`, 'give a shorter one')
      const odd = tokens.find(id => !(id >= 0 && id < this.vocab))
      if (odd !== undefined) throw invalid(`there is no token ${odd}: ids are below ${this.vocab}`, 'give ids of this model\'s tokenizer')
    }
    if (this.#waiting.length + texts.length > this.#options.queue) throw new Refused({ type: 'busy', retryAfter: 1 })
    const vectors = texts.map(tokens => new Promise<Float32Array>((done, failed) => { this.#waiting.push({ tokens, signal, done, failed }) }))
    if (!this.#turning) {
      this.#turning = true
      void this.#turns()
    }
    return Promise.all(vectors)
  }

  async #turns(): Promise<void> {
    // Whoever asks more at once is heard before the first step.
    await Promise.resolve()
    while (this.#waiting.length > 0) {
      const all = this.#waiting.splice(0, this.#options.rows)
      const wanted = all.filter(w => w.signal?.aborted !== true)
      for (const w of all) if (w.signal?.aborted === true) w.failed(w.signal.reason)
      if (wanted.length === 0) continue
      this.#running = wanted.length
      this.#began = performance.now()
      try {
        const vectors = await this.#turn(() => JSON.stringify(wanted.map(w => w.tokens)), () => this.#program.run(wanted.map(({ tokens }) => ({ tokens }))))
        this.#failedAt = -Infinity
        for (const [i, w] of wanted.entries()) w.done(vectors[i] as Float32Array)
      } catch (e) {
        this.#failedAt = performance.now()
        for (const w of wanted) w.failed(e)
      }
      this.#running = 0
      this.#began = undefined
    }
    // In the same breath as the last look: who asks later begins anew.
    this.#turning = false
  }
}
