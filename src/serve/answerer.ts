/** A model that answers many at once: what is asked is scheduled, computed step by step, and told as it is drawn. */
import type { MeshworkError } from '../core/errors.ts'
import { failingFor, Refused, type Answering, type Asked, type Constraint, type Load, type Told, type Written } from './asking.ts'
import type { AdapterSlots, Pinned } from './adapter-slots.ts'
import { Channel } from './channel.ts'
import { orderOf, readOrder, sourceOrderOf, written, type Buckets, type Order, type SourceOrder } from './order.ts'
import { lengthOf, Schedule, type Part, type Sizes, type Step, type Text } from './schedule.ts'
import type { CacheSize } from '../models/index.ts'
import type { Outcome } from './steps.ts'
import type { Turn, Turns } from './turns.ts'
import { Writing, type Ended, type Place, type WritingOptions } from './writing.ts'

export interface AnswererOptions extends Omit<WritingOptions, 'place' | 'pinned' | 'start'> {
  /** Of a model with an encoder the token that answers begin with, and the one that fills up sources. */
  readonly encoder?: { readonly start: number; readonly padding: number } | undefined
  /** Where adapters lie, where there may be some. */
  readonly slots?: AdapterSlots
  readonly sizes: Sizes
  readonly buckets: Buckets
  /** Ids there are. */
  readonly vocab: number
  readonly queue: { readonly requests: number; readonly tokens: number }
  readonly turns: Turns
  /** Where an answer begins that must be as `Asked.constraint` says. @throws UsageError */
  readonly constrain?: (constraint: Constraint) => Place
  /** The step of a run that has made the weights, where there is one. */
  readonly step?: number | undefined
  /** Brings weights that `renew` was asked for onto the devices, in every process. @returns the step that has made them */
  readonly renewed?: (order: string) => Promise<number | undefined>
  /** What is wrong where no token can be drawn. */
  readonly notFinite: (logit: number) => Promise<MeshworkError>
}

/** What computes steps. */
export interface Computing {
  readonly size: CacheSize
  run(order: Order | SourceOrder): Promise<Outcome>
}

/** An answer, and who listens. */
interface Answer { readonly writing: Writing; readonly request: Request }
interface Request { readonly channel: Channel<Told>; readonly answers: Answer[]; pinned: Pinned | undefined; open: number; readonly promptLogprobs: (Written | undefined)[]; promptTold: boolean }

/** New weights that are waited for: by whom, and since when. */
interface Renewal { readonly order: string; readonly since: number; readonly done: () => void; readonly failed: (e: unknown) => void }
/** Milliseconds that new weights wait for answers that are being written with the old ones. */
const patience = 5000
/** Milliseconds that a step waits for what may come next in answers. */
const moment = 2

/** Of an answer that has failed: it is not looked at. */
const undrawn: ReturnType<Writing['drawn']> = { temperature: 0, topK: 0, topP: 1, minP: 0, key: () => [0, 0], changes: [], told: false }

export class Answerer implements Answering {
  readonly context: number
  readonly vocab: number
  readonly encoder: boolean
  readonly sizes: Sizes
  readonly #steps: Computing
  readonly #options: AnswererOptions
  #schedule: Schedule
  readonly #answers = new Map<Text, Answer>()
  readonly #turn: Turn
  readonly #renewing: Turn
  #renewal: Renewal | undefined
  #turning: Promise<void> | undefined
  #changed = (): void => {}
  #step: number | undefined
  #stepBegan: number | undefined
  #drafted = 0
  #accepted = 0
  #failedAt = -Infinity

  constructor(steps: Computing, options: AnswererOptions) {
    this.#steps = steps
    this.#options = options
    this.#turn = options.turns.add(order => steps.run(readOrder(order)))
    this.sizes = options.sizes
    this.#schedule = new Schedule(options.sizes)
    this.#step = options.step
    this.#renewing = options.turns.add(order => this.#options.renewed?.(order) ?? Promise.resolve(), { mayFail: true })
    this.context = options.sizes.context
    this.vocab = options.vocab
    this.encoder = options.encoder !== undefined
  }

  ask(asked: Asked, signal?: AbortSignal): AsyncIterable<Told> {
    this.#check(asked)
    const place = asked.constraint === undefined ? undefined : this.#options.constrain?.(asked.constraint)
    const request: Request = { channel: new Channel<Told>(() => { this.#leave(request) }), answers: [], pinned: asked.adapter === undefined ? undefined : this.#options.slots?.pin(asked.adapter), open: asked.choices, promptLogprobs: [undefined], promptTold: false }
    for (let choice = 0; choice < asked.choices; choice++) request.answers.push({ writing: new Writing(asked, choice, { ...this.#options, start: this.#options.encoder?.start, place, pinned: request.pinned }), request })
    for (const answer of request.answers) {
      this.#answers.set(answer.writing.text, answer)
      this.#schedule.add(answer.writing.text)
      this.#waitFor(answer)
    }
    if (signal !== undefined) {
      const aborted = (): void => { this.#leave(request); request.channel.end() }
      if (signal.aborted) aborted()
      else signal.addEventListener('abort', aborted, { once: true })
    }
    this.#go()
    return request.channel
  }

  /** Works out what an answer must be, so that `ask` finds it known. @throws Refused, UsageError for what is wrong with it */
  async know(asked: Asked): Promise<void> {
    this.#check(asked)
    if (asked.constraint !== undefined) await this.#options.constrain?.(asked.constraint).pending
  }

  get adapters(): readonly string[] { return this.#options.slots?.names ?? [] }
  /** How often a text has given its blocks to one that came before it. */
  get preemptions(): number { return this.#schedule.preemptions }

  load(): Load {
    const { waiting, running, texts, blocksUsed, sizes } = this.#schedule
    return { slots: sizes.requests * sizes.replicas, running, texts, waiting: waiting.length, waitingTokens: waiting.reduce((n, t) => n + lengthOf(t), 0), blocks: sizes.blocks * sizes.replicas, blocksUsed, drafted: this.#drafted, accepted: this.#accepted, failing: performance.now() - this.#failedAt < failingFor, stepSeconds: this.#stepBegan === undefined ? 0 : (performance.now() - this.#stepBegan) / 1000, ...(this.#step === undefined ? {} : { step: this.#step }) }
  }

  /**
   * New weights: what is being written is finished with the old ones, as far as a few seconds go, and goes on with the new ones otherwise; what waits begins with them.
   * Nothing is lost. Others that are still waited for are passed over. @param order tells every process's `renewed` which they are @throws what `renewed` does: then the old ones stay
   */
  renew(order: string): Promise<void> {
    this.#renewal?.done()
    return new Promise((done, failed) => {
      this.#renewal = { order, since: this.#renewal?.since ?? performance.now(), done, failed }
      this.#go()
    })
  }

  #check({ prompt, begun, choices, constraint, adapter, maxTokens, promptLogprobs }: Asked): void {
    const invalid = (field: keyof Asked, why: string, fix: string): Refused => new Refused({ type: 'invalid', field, why, fix })
    if (prompt.length === 0) throw invalid('prompt', 'it has no tokens', 'give at least one')
    const { encoder } = this.#options
    const [most, begins] = [this.sizes.source ?? Infinity, begun?.length ?? 0]
    if (encoder === undefined && prompt.length + begins >= this.context) throw invalid('prompt', `it has ${prompt.length + begins} tokens, and a prompt and its answer have ${this.context} together`, 'give a shorter one')
    if (prompt.length > most) throw invalid('prompt', `it has ${prompt.length} tokens, and the model reads ${most} at most`, 'give a shorter one')
    if (encoder !== undefined && 1 + begins >= this.context) throw invalid('begun', `it has ${begins} tokens, and an answer has ${this.context - 1} at most`, 'give fewer')
    for (const [field, ids] of [['prompt', prompt], ['begun', begun ?? []]] as const) {
      const odd = ids.findIndex(id => id < 0 || id >= this.vocab)
      if (odd >= 0) throw invalid(field, `token ${odd} is ${ids[odd]}, and ids are below ${this.vocab}`, 'give ids of this model\'s tokenizer')
    }
    const unseen = encoder === undefined ? -1 : prompt.indexOf(encoder.padding)
    if (unseen >= 0) throw invalid('prompt', `token ${unseen} is ${encoder?.padding}, which fills up what the model reads, and which it does not see`, 'leave it out')
    if (encoder !== undefined && promptLogprobs !== undefined) throw invalid('promptLogprobs', 'an encoder reads the prompt: its tokens have no log-probabilities', 'leave it out')
    if (!(choices >= 1)) throw invalid('choices', `there are ${choices}`, 'ask for one or more')
    if (maxTokens !== undefined && !(maxTokens >= 1)) throw invalid('maxTokens', `it is ${maxTokens}`, 'ask for one or more')
    if (adapter !== undefined && !this.adapters.includes(adapter)) throw invalid('adapter', `there is none called "${adapter}"`, 'leave it out')
    if (constraint !== undefined && this.#options.constrain === undefined) throw invalid('constraint', 'this model takes none', 'leave it out')
    const { requests, tokens } = this.#options.queue
    const { waiting } = this.#schedule
    if (waiting.length + choices > requests || waiting.reduce((n, t) => n + lengthOf(t), 0) + (prompt.length + begins) * choices > tokens) throw new Refused({ type: 'busy', retryAfter: 1 })
  }

  #leave(request: Request): void {
    for (const { writing } of request.answers) {
      writing.leave()
      this.#answers.delete(writing.text)
      this.#schedule.remove(writing.text)
    }
    this.#unpin(request)
    this.#changed()
  }
  #unpin(request: Request): void {
    if (request.pinned !== undefined) this.#options.slots?.leave(request.pinned)
    request.pinned = undefined
  }

  /** What may come next in an answer is worked out elsewhere: the others go on meanwhile. */
  #waitFor(answer: Answer): void {
    const { writing, request } = answer
    writing.pending?.then(() => {
      if (!this.#answers.has(writing.text)) return
      const over = writing.settle()
      if (over === undefined) return
      if (over.text !== '') request.channel.push({ type: 'more', choice: writing.choice, text: over.text, tokens: [] })
      this.#ended(answer, over.ended)
    }, (e: unknown) => {
      if (!this.#answers.has(writing.text)) return
      this.#leave(request)
      request.channel.fail(e)
    }).finally(() => { this.#changed() })
  }

  /** What is mostly known within a moment is waited for so long: else its text would miss every other step. */
  async #known(): Promise<void> {
    const pending = [...this.#answers.values()].flatMap(({ writing }) => writing.pending ?? [])
    if (pending.length > 0) await Promise.race([Promise.allSettled(pending), new Promise(resolve => { setTimeout(resolve, moment) })])
  }

  /** Nothing can be computed until something has changed. */
  #change(): Promise<void> { return new Promise(resolve => { this.#changed = resolve }) }

  #go(): void {
    this.#changed()
    this.#turning ??= this.#turns().finally(() => {
      this.#turning = undefined
      // Something may have been asked after the last look.
      if (this.#answers.size > 0 || this.#renewal !== undefined) this.#go()
    })
  }

  async #turns(): Promise<void> {
    // Whoever asks more at once is heard before the first step.
    await Promise.resolve()
    for (;;) {
      await this.#options.turns.opened()
      await this.#renewed()
      await this.#known()
      const step = this.#schedule.next()
      if (step === undefined) {
        if (this.#schedule.running > 0) await this.#change()
        else if (this.#schedule.waiting.length === 0) return
        else this.#fail(new Error('there are texts to be written, and none can be begun'))
        continue
      }
      try {
        await this.#advance(step)
      } catch (error) {
        this.#fail(error)
        return
      }
      // Aborts and new requests are heard between steps.
      await new Promise(setImmediate)
    }
  }

  /** Takes new weights, where some are waited for and nothing more is to be finished before. */
  async #renewed(): Promise<void> {
    const renewal = this.#renewal
    if (renewal === undefined) return
    const schedule = this.#schedule
    schedule.held = schedule.running > 0 && performance.now() - renewal.since < patience
    if (schedule.held) return
    this.#renewal = undefined
    try {
      this.#step = await this.#renewing(() => renewal.order, () => this.#options.renewed?.(renewal.order) ?? Promise.resolve(undefined))
      schedule.restart()
      renewal.done()
    } catch (e) {
      renewal.failed(e)
    }
  }

  async #advance(step: Step): Promise<void> {
    const problems = new Map<Answer, Promise<unknown>>()
    // What is wrong with one answer ends that one: the others go on.
    const drawnOf = ({ text, from, tokens, draws }: Part): ReturnType<Writing['drawn']> => {
      const answer = this.#answers.get(text) as Answer
      try { return answer.writing.drawn(draws, from + tokens.length - draws) } catch (e) {
        problems.set(answer, Promise.resolve(e))
        return undrawn
      }
    }
    if (step.kind === 'next') for (const { draws } of step.parts.flat()) this.#drafted += draws - 1
    const { buckets, encoder, slots } = this.#options
    const order = step.kind === 'source' && encoder !== undefined ? sourceOrderOf(step, this.#steps.size, buckets, { padding: encoder.padding, adapters: slots !== undefined })
      : orderOf(step, drawnOf, this.#steps.size, buckets, { tokens: this.vocab, adapters: slots !== undefined })
    this.#stepBegan = performance.now()
    const outcome = await this.#turn(() => written(order), () => this.#steps.run(order)).finally(() => { this.#stepBegan = undefined })
    this.#failedAt = -Infinity
    if ('fed' in order) for (const [replica, parts] of step.parts.entries()) {
      for (const [request, part] of parts.entries()) {
        const answer = this.#answers.get(part.text)
        // Whoever asked has left meanwhile.
        if (answer === undefined || problems.has(answer)) continue
        try {
          const problem = this.#told(answer, part, outcome, (replica * order.shape.requests + request) * order.shape.draws)
          if (problem !== undefined) problems.set(answer, problem)
        } catch (e) { problems.set(answer, Promise.resolve(e)) }
      }
    }
    this.#schedule.done(step)
    for (const [{ request }, problem] of problems) {
      this.#leave(request)
      request.channel.fail(await problem)
    }
  }

  /** Tells what a step drew for an answer. @returns what is wrong where nothing could be drawn */
  #told(answer: Answer, part: Part, { tokens, largest, told }: Outcome, row: number): Promise<MeshworkError> | undefined {
    const { writing, request } = answer
    const { asked, choice, text } = writing
    const likeliest = (at: number, count: number): Written['top'] => (told === undefined ? [] : Array.from({ length: Math.min(count, told.width) }, (_, i) => ({ token: told.top[at * told.width + i] as number, logprob: told.topLogprob[at * told.width + i] as number })))
    for (let i = 0; i < part.draws; i++) {
      const [at, place] = [row + i, part.from + part.tokens.length - part.draws + i]
      if (!Number.isFinite(largest[at])) return this.#options.notFinite(largest[at] as number)
      if (place < text.tokens.length - 1) {
        // Behind a token of the prompt that is not its last stands what is known.
        if (asked.promptLogprobs !== undefined && choice === 0 && told !== undefined) request.promptLogprobs.push({ token: text.tokens[place + 1] as number, logprob: told.targets[at] as number, top: likeliest(at, asked.promptLogprobs) as NonNullable<Written['top']> })
        text.drawFrom = place + 1
        continue
      }
      if (!request.promptTold) {
        request.promptTold = true
        request.channel.push({ type: 'prompt', tokens: asked.prompt.length + (asked.begun?.length ?? 0), cached: this.#schedule.cachedOf(text), ...(this.#step === undefined ? {} : { step: this.#step }), ...(asked.promptLogprobs === undefined ? {} : { logprobs: request.promptLogprobs }) })
      }
      const token: Written = { token: tokens[at] as number, ...(asked.logprobs === undefined || told === undefined ? {} : { logprob: told.drawn[at] as number, top: likeliest(at, asked.logprobs) as NonNullable<Written['top']> }) }
      const { text: more, ended } = writing.take(token)
      request.channel.push({ type: 'more', choice, text: more, tokens: [token] })
      if (ended === undefined) {
        // What was guessed behind another token is of no use.
        const guessed = i + 1 < part.draws ? part.tokens[part.tokens.length - part.draws + i + 1] : undefined
        if (guessed === undefined) continue
        if (guessed !== token.token) return undefined
        this.#accepted++
        continue
      }
      this.#ended(answer, ended)
      return undefined
    }
    this.#waitFor(answer)
    return undefined
  }

  #ended({ writing: { choice, text }, request }: Answer, ended: Ended): void {
    request.channel.push({ type: 'end', choice, ...ended })
    this.#answers.delete(text)
    this.#schedule.remove(text)
    if (--request.open > 0) return
    this.#unpin(request)
    request.channel.end()
  }

  /** A step failed: what the cache held is lost, and all that were being answered fail. */
  #fail(error: unknown): void {
    this.#failedAt = performance.now()
    const requests = new Set([...this.#answers.values()].map(a => a.request))
    this.#answers.clear()
    this.#schedule = new Schedule(this.#options.sizes)
    for (const request of requests) {
      this.#unpin(request)
      request.channel.fail(error)
    }
  }
}
