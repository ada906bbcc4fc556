/** What the next step of many answers computes: decided from the texts and the free blocks alone, so that it can be tried without a device. */
import type { InSlot } from './asking.ts'
import { Blocks, type Holding } from './blocks.ts'

/** A text that is being written: a prompt, and what has been drawn. */
export interface Text {
  /** What is kept of texts is shared within a scope. */
  readonly scope: string
  readonly tokens: number[]
  /** The place of its adapter; 0, or nothing, for none. */
  readonly adapter?: number
  /** Tokens that came as the prompt. */
  readonly prompt: number
  /** The first token whose logits are still wanted: the last one, or earlier ones where the prompt's are told. */
  drawFrom: number
  /** Tokens that may follow, as a guess: they are checked in the same step. */
  readonly guess?: () => readonly number[]
  /** Whether it is known what may be drawn next; always unless said. Until then it is in no step. */
  readonly isReady?: () => boolean
}

export interface Sizes {
  readonly replicas: number
  /** Texts of each replica that are written at once. */
  readonly requests: number
  /** Blocks of each replica, and tokens of a block. */
  readonly blocks: number
  readonly block: number
  /** Tokens of a text at most. */
  readonly context: number
  /** Tokens of a prompt that are computed in one step at most. */
  readonly chunk: number
  /** How many short prompts are read in one step at most, and what is short: they cost as much as one where weights are what takes time. One by one unless said. */
  readonly together?: { readonly texts: number; readonly tokens: number } | undefined
  /** How many tokens a token sees at most, itself among them; all before it unless said. Blocks that none sees any more are given back. */
  readonly window?: number | undefined
}

/** A text's part of a step: tokens from `from` on, the last `draws` of which are drawn behind. */
export interface Part { readonly text: Text; readonly from: number; readonly tokens: readonly number[]; readonly draws: number; readonly blocks: readonly number[] }
/** A step: of each replica the texts that it computes. */
export interface Step { readonly kind: 'prompt' | 'next'; readonly parts: readonly (readonly Part[])[] }

interface Held { readonly text: Text; readonly replica: number; holding: Holding | undefined; computed: number; cached: number }

/**
 * First come, first served. Prompts are read in chunks, in turn with steps that write, so that a long one does not hold up the others. Where blocks run
 * out the text that came last gives up its own and is computed again later: the first one always goes on.
 */
export class Schedule {
  readonly sizes: Sizes
  readonly #blocks: readonly Blocks[]
  /** In the order in which they came. */
  readonly #waiting: Text[] = []
  readonly #running: Held[] = []
  #lastKind: Step['kind'] = 'next'
  #preemptions = 0
  /** While it is true, no text begins that waits. */
  held = false

  constructor(sizes: Sizes) {
    this.sizes = sizes
    this.#blocks = Array.from({ length: sizes.replicas }, () => new Blocks(sizes.blocks, sizes.block))
  }

  get running(): number { return this.#running.length }
  get texts(): readonly InSlot[] { return this.#running.map(({ text: { prompt, tokens }, computed }) => ({ prompt, read: Math.min(computed, prompt), written: tokens.length - prompt })) }
  get waiting(): readonly Text[] { return this.#waiting }
  get blocksUsed(): number { return this.#blocks.reduce((n, b) => n + b.count - b.free, 0) }
  get preemptions(): number { return this.#preemptions }
  /** How many of a text's tokens came from what was kept. */
  cachedOf(text: Text): number { return this.#running.find(h => h.text === text)?.cached ?? 0 }

  add(text: Text): void { this.#waiting.push(text) }
  /** The text is done, or nobody wants it any more. */
  remove(text: Text): void {
    const at = this.#running.findIndex(h => h.text === text)
    const [held] = at < 0 ? [] : this.#running.splice(at, 1)
    if (held?.holding !== undefined) this.#blocks[held.replica]?.release(held.holding)
    const waits = this.#waiting.indexOf(text)
    if (waits >= 0) this.#waiting.splice(waits, 1)
  }
  /** Weights have changed: nothing that was computed with the old ones is used any more. */
  restart(): void {
    for (const held of this.#running) {
      if (held.holding !== undefined) this.#blocks[held.replica]?.release(held.holding)
      held.holding = undefined
      held.computed = 0
    }
    for (const b of this.#blocks) b.forget()
  }

  /** The next step; undefined where there is nothing to do. */
  next(): Step | undefined {
    this.#admit()
    // A text reads as long as more than its last token is to be computed.
    const reads = (h: Held): boolean => h.text.tokens.length - h.computed > 1
    const order: readonly Step['kind'][] = this.#lastKind === 'prompt' ? ['next', 'prompt'] : ['prompt', 'next']
    for (const kind of order) {
      const parts = this.#parts(kind, h => reads(h) === (kind === 'prompt'))
      if (parts.every(of => of.length === 0)) continue
      this.#lastKind = kind
      return { kind, parts }
    }
    return undefined
  }

  /** The step is computed; the tokens that were drawn are added by whoever draws them. */
  done(step: Step): void {
    for (const { text, from, tokens } of step.parts.flat()) {
      const held = this.#running.find(h => h.text === text)
      if (held?.holding === undefined) continue
      // Of guesses only those count that were drawn: the caller has added these.
      held.computed = Math.min(from + tokens.length, text.tokens.length - 1)
      const blocks = this.#blocks[held.replica]
      blocks?.tell(text.scope, held.holding, text.tokens, held.computed)
      this.#drop(held, held.holding)
    }
  }

  /** What no token of a text sees any more is given back. */
  #drop({ replica, computed }: Held, holding: Holding): void {
    const { window } = this.sizes
    const blocks = this.#blocks[replica]
    if (window !== undefined) blocks?.drop(holding, Math.max(0, Math.floor((computed - window + 1) / blocks.size)))
  }

  #parts(kind: Step['kind'], wanted: (h: Held) => boolean): Part[][] {
    const { replicas, requests, chunk, context } = this.sizes
    const parts = Array.from({ length: replicas }, (): Part[] => [])
    for (const held of [...this.#running]) {
      // Another may have taken its blocks since.
      const { text, replica } = held
      const of = parts[replica] as Part[]
      if (!this.#running.includes(held) || !wanted(held) || text.isReady?.() === false || (kind === 'prompt' ? !this.#joins(held, of) : of.length >= requests)) continue
      const holding = held.holding ??= this.#begin(held)
      const { computed } = held
      const guess = kind === 'prompt' ? [] : text.guess?.().slice(0, context - text.tokens.length) ?? []
      const tokens = kind === 'prompt' ? text.tokens.slice(computed, computed + chunk) : [...text.tokens.slice(computed), ...guess]
      if (!this.#grow(held, holding, computed + tokens.length)) continue
      const end = computed + tokens.length
      of.push({ text, from: computed, tokens, draws: Math.max(0, end - Math.max(computed, text.drawFrom)), blocks: [...holding.blocks] })
    }
    return parts
  }

  /** Whether a prompt is read beside those that are read already: not where they begin alike, as the later one is to find the other's beginning. */
  #joins({ text, computed }: Held, of: readonly Part[]): boolean {
    const { together: { texts, tokens } = { texts: 1, tokens: 0 }, block } = this.sizes
    if (of.length === 0) return true
    const short = (t: Text, from: number): boolean => t.tokens.length - from <= tokens && t.drawFrom >= t.tokens.length - 1
    const alike = (other: Text): boolean => other.scope === text.scope && other.tokens.slice(0, block).join() === text.tokens.slice(0, block).join()
    return of.length < texts && short(text, computed) && of.every(p => short(p.text, p.from) && !alike(p.text))
  }

  #begin(held: Held): Holding {
    const holding = (this.#blocks[held.replica] as Blocks).begin(held.text.scope, held.text.tokens.slice(0, held.text.drawFrom + 1))
    held.cached = held.computed = holding.blocks.length * this.sizes.block
    // A long beginning that was kept may be more than there is room for at once.
    this.#drop(held, holding)
    return holding
  }

  /** Room for so many tokens, at the cost of those that came later. False where the text itself had to give up. */
  #grow(held: Held, holding: Holding, tokens: number): boolean {
    const blocks = this.#blocks[held.replica] as Blocks
    while (holding.blocks.length * blocks.size < tokens) {
      if (blocks.extend(holding)) continue
      const last = this.#running.findLast(h => h.replica === held.replica) as Held
      this.#running.splice(this.#running.indexOf(last), 1)
      if (last.holding !== undefined) blocks.release(last.holding)
      // It came before all that wait.
      this.#waiting.unshift(last.text)
      this.#preemptions++
      if (last === held) return false
    }
    return true
  }

  #admit(): void {
    const { requests, block, chunk, window = Infinity } = this.sizes
    for (;;) {
      const text = this.#waiting[0]
      if (text === undefined || this.held) return
      const needed = Math.ceil(Math.min(text.tokens.length, window + chunk + block) / block)
      const on = this.#blocks.map((blocks, replica) => ({ blocks, replica, texts: this.#running.filter(h => h.replica === replica).length }))
        .filter(({ blocks, texts }) => texts < requests && (blocks.free >= needed + texts || texts === 0))
        .sort((a, b) => a.texts - b.texts || b.blocks.free - a.blocks.free)[0]
      if (on === undefined) return
      this.#waiting.shift()
      // What is known of it is looked up once its turn has come: another of the same beginning may be read before.
      this.#running.push({ text, replica: on.replica, holding: undefined, computed: 0, cached: 0 })
    }
  }
}
