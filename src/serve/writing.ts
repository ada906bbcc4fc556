/** One answer as it is written: how its next token is drawn, where its text ends, and which of its text is certain. */
import { threefry2x32 } from '../core/threefry.ts'
import { UsageError } from '../core/errors.ts'
import type { StreamDecoder, Tokenizer } from '../data/index.ts'
import type { Asked, Ending, Written } from './asking.ts'
import type { Pinned } from './adapter-slots.ts'
import { Lookup } from './lookup.ts'
import type { Drawn } from './order.ts'
import type { Text } from './schedule.ts'

/** Where a constraint stands: which tokens may come. */
export interface Place {
  readonly mask: Uint32Array
  readonly mayEnd: boolean
  after(token: number): Place | undefined
  /** While mask and end are worked out elsewhere. It rejects with what is wrong. */
  readonly pending?: Promise<void> | undefined
  /** Known once nothing is pending: the token before may not come, and nothing more is said of what follows. */
  readonly gone?: boolean
  /** Nobody waits for it any more. */
  leave?(): void
}
export interface Ended { readonly reason: Ending; readonly stop?: string | number }
/** What a token brought. */
export interface Progress { readonly text: string; readonly token: Written; readonly ended?: Ended }

export interface WritingOptions {
  readonly tokenizer: Pick<Tokenizer, 'stream'>
  /** Tokens that end the model's texts. */
  readonly ends: readonly number[]
  readonly context: number
  /** What answers begin with where an encoder reads prompts. */
  readonly start?: number | undefined
  readonly place?: Place | undefined
  /** The adapter that it has from its beginning to its end. */
  readonly pinned?: Pinned | undefined
  /** Tokens that are guessed and checked in one step at most; none unless said. */
  readonly drafts?: number | undefined
}

/** Whether what may be drawn at a place does not hang on what is drawn at those before it, but for the text itself. */
const mayGuess = ({ constraint, sampling: { repetitionPenalty, presencePenalty, frequencyPenalty } }: Asked): boolean => constraint === undefined && repetitionPenalty === 1 && presencePenalty === 0 && frequencyPenalty === 0

/** How much of the end of a text may be the beginning of what stops it. */
function heldBack(text: string, stops: readonly string[]): number {
  let most = 0
  for (const stop of stops) for (let n = Math.min(stop.length - 1, text.length); n > most; n--) if (text.endsWith(stop.slice(0, n))) most = n
  return most
}

export class Writing {
  readonly asked: Asked
  readonly choice: number
  readonly text: Text
  readonly #stream: StreamDecoder
  readonly #options: WritingOptions
  readonly #key: readonly [number, number]
  readonly #times = new Map<number, number>()
  /** What guesses are made from. */
  readonly #seen: number[]
  #place: Place | undefined
  #pending = ''

  constructor(asked: Asked, choice: number, options: WritingOptions) {
    this.asked = asked
    this.choice = choice
    this.#options = options
    this.#place = options.place
    this.#stream = options.tokenizer.stream()
    const { seed } = asked.sampling
    const word = (i: number): number => threefry2x32(seed >>> 0, Math.floor(seed / 2 ** 32) >>> 0, choice, i)
    this.#key = [word(0), word(1)]
    // Log-probabilities of the prompt are told once, with the first choice.
    const all = asked.promptLogprobs !== undefined && choice === 0
    const { start } = options
    const [asks, begun] = [[...asked.prompt], asked.begun ?? []]
    const tokens = start === undefined ? [...asks, ...begun] : [start, ...begun]
    this.#seen = start === undefined ? tokens : [...asks, ...begun]
    const [prompt, scope] = [tokens.length, `${options.pinned?.serial ?? ''} ${asked.scope}`]
    this.text = {
      ...(start === undefined ? { scope } : { scope: `${scope} ${asks.join()}`, source: asks }), ...(options.pinned === undefined ? {} : { adapter: options.pinned.slot }),
      tokens, prompt, drawFrom: all ? 0 : prompt - 1, ...(options.place === undefined ? {} : { isReady: () => this.#place?.pending === undefined }), ...(mayGuess(asked) && (options.drafts ?? 0) > 0 ? { guess: this.#guesses(this.#seen, options.drafts ?? 0) } : {}),
    }
  }

  #guesses(tokens: readonly number[], most: number): () => readonly number[] {
    const lookup = new Lookup(tokens, most)
    // How many tokens it may still have, and which may come, is known of the next one alone where it is bounded.
    return () => (this.written < this.asked.minTokens ? [] : lookup.guess().slice(0, Math.max(0, (this.asked.maxTokens ?? Infinity) - this.written - 1)))
  }

  get written(): number { return this.text.tokens.length - this.text.prompt }

  /** How the token behind the text is drawn; behind earlier ones of the prompt, what log-probability the next one has. */
  drawn(draws: number, first: number): Drawn {
    const { sampling, logprobs, promptLogprobs } = this.asked
    const { tokens } = this.text
    const [a, b] = this.#key
    const masks = this.#place === undefined ? {} : { masks: Array.from({ length: draws }, (_, i) => (first + i === tokens.length - 1 ? this.#allowed() : full)) }
    const told = logprobs !== undefined || (promptLogprobs !== undefined && first < this.text.prompt - 1)
    return {
      temperature: sampling.temperature, topK: sampling.topK, topP: sampling.topP, minP: sampling.minP, changes: this.#changes(), told, ...masks,
      key: place => [threefry2x32(a, b, place, 0), threefry2x32(a, b, place, 1)],
      targets: Array.from({ length: draws }, (_, i) => tokens[first + i + 1] ?? 0),
    }
  }

  /** The next token has been drawn. */
  take(token: Written): Progress {
    const { asked, text } = this
    const id = token.token
    text.tokens.push(id)
    if (this.#seen !== text.tokens) this.#seen.push(id)
    text.drawFrom = text.tokens.length - 1
    this.#times.set(id, (this.#times.get(id) ?? 0) + 1)
    if (this.#isEnd(id)) return { text: this.#rest(), token, ended: { reason: 'stop', ...(asked.stopTokens.includes(id) ? { stop: id } : {}) } }
    this.#place = this.#place?.after(id)
    this.#pending += this.#stream.push(id)
    const stopped = this.#stopped()
    if (stopped !== undefined) return { text: stopped.text, token, ended: { reason: 'stop', stop: stopped.stop } }
    if (this.written >= (asked.maxTokens ?? Infinity) || text.tokens.length >= this.#options.context) return { text: this.#rest(), token, ended: { reason: 'length' } }
    if (this.#isOver()) return { text: this.#rest(), token, ended: { reason: 'stop' } }
    const certain = this.#pending.length - heldBack(this.#pending, asked.stop)
    const sure = this.#pending.slice(0, certain)
    this.#pending = this.#pending.slice(certain)
    return { text: sure, token }
  }

  /** While what may come next is worked out elsewhere: nothing is drawn before. */
  get pending(): Promise<void> | undefined { return this.#place?.pending }
  /** What may come next is known. @returns the rest of the text where nothing can follow it */
  settle(): { readonly text: string; readonly ended: Ended } | undefined {
    if (this.#place?.gone === true) this.#place = undefined
    return this.#isOver() ? { text: this.#rest(), ended: { reason: 'stop' } } : undefined
  }
  /** Nobody listens any more. */
  leave(): void { this.#place?.leave?.() }

  /** Nothing can follow what a constraint has let come to its end. */
  #isOver(): boolean { return this.#place !== undefined && this.#place.pending === undefined && this.#place.mayEnd && this.#place.mask.every(word => word === 0) }

  #isEnd(id: number): boolean {
    return this.asked.stopTokens.includes(id) || (!this.asked.ignoreEnd && this.#options.ends.includes(id))
  }

  #stopped(): { readonly text: string; readonly stop: string } | undefined {
    const found = this.asked.stop.map(stop => ({ stop, at: this.#pending.indexOf(stop) })).filter(f => f.at >= 0).sort((x, y) => x.at - y.at || y.stop.length - x.stop.length)[0]
    return found === undefined || this.written < this.asked.minTokens ? undefined : { text: this.#pending.slice(0, found.at), stop: found.stop }
  }

  /** What is still held back belongs to the text once nothing can stop it any more; a stop that the last bytes complete still does. */
  #rest(): string {
    this.#pending += this.#stream.end()
    const text = this.#stopped()?.text ?? this.#pending
    this.#pending = ''
    return text
  }

  /** What a constraint leaves, and the tokens that end a text where it lets it end. */
  #allowed(): Uint32Array {
    const place = this.#place
    if (place === undefined) return full
    if (!place.mayEnd) {
      if (place.mask.every(word => word === 0)) throw new UsageError({ code: 'constraint', what: 'the model has no token for what must come next', fix: 'ask for text that its tokenizer can write' })
      return place.mask
    }
    const mask = place.mask.slice()
    for (const id of [...this.#options.ends, ...this.asked.stopTokens]) mask[id >>> 5] = (mask[id >>> 5] ?? 0) | 1 << (id & 31)
    return mask
  }

  #changes(): Drawn['changes'] {
    const { sampling: { repetitionPenalty, presencePenalty, frequencyPenalty, logitBias }, minTokens, stopTokens, ignoreEnd } = this.asked
    const changes = new Map<number, { added: number; divided: number }>()
    const of = (token: number): { added: number; divided: number } => {
      let found = changes.get(token)
      if (found === undefined) changes.set(token, found = { added: 0, divided: 1 })
      return found
    }
    if (repetitionPenalty !== 1) for (const token of [...this.text.tokens.slice(0, this.text.prompt), ...this.#times.keys()]) of(token).divided = repetitionPenalty
    if (presencePenalty !== 0 || frequencyPenalty !== 0) for (const [token, times] of this.#times) of(token).added -= presencePenalty + frequencyPenalty * times
    for (const [token, bias] of logitBias) of(token).added += bias
    if (this.written < minTokens) for (const token of [...stopTokens, ...(ignoreEnd ? [] : this.#options.ends)]) of(token).added = -Infinity
    return [...changes].map(([token, change]) => ({ token, ...change }))
  }
}

/** Nothing is left out: the words beyond are as they were. */
const full = new Uint32Array(0)
