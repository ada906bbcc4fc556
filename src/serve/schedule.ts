/** What the next step of many answers computes: decided from the texts and the free blocks alone, so that it can be tried without a device. */
import type { InSlot } from './asking.ts'
import { Blocks, type Holding, type SourceHolding } from './blocks.ts'

/** A text that is being written: a prompt, and what has been drawn. */
export interface Text {
  /** What is kept of texts is shared within a scope; what is written to different sources has different ones. */
  readonly scope: string
  /** What an encoder reads before anything is written, where the model has one. */
  readonly source?: readonly number[]
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
  /** Of a model with an encoder the tokens of a source at most: it is read in one step. */
  readonly source?: number | undefined
}

/** A text's part of a step: tokens from `from` on, the last `draws` of which are drawn behind. */
export interface Part { readonly text: Text; readonly from: number; readonly tokens: readonly number[]; readonly draws: number; readonly blocks: readonly number[]; /** Where what was read of its source lies. */ readonly sourceBlocks?: readonly number[] }
/** A step: of each replica the texts that it computes, their sources, parts of their prompts or what follows. */
export interface Step { readonly kind: 'source' | 'prompt' | 'next'; readonly parts: readonly (readonly Part[])[] }

interface Held { readonly text: Text; readonly replica: number; holding: Holding | undefined; computed: number; cached: number; source: SourceHolding | undefined; /** Whether the source is read. */ read: boolean }

/** Tokens of a text, its source's among them. */
export const lengthOf = ({ source, tokens }: Text): number => (source?.length ?? 0) + tokens.length

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
  #lastRead: Step['kind'] = 'prompt'
  #preemptions = 0
  /** While it is true, no text begins that waits. */
  held = false

  constructor(sizes: Sizes) {
    this.sizes = sizes
    this.#blocks = Array.from({ length: sizes.replicas }, () => new Blocks(sizes.blocks, sizes.block))
  }

  get running(): number { return this.#running.length }
  get texts(): readonly InSlot[] { return this.#running.map(({ text: { prompt, tokens, source = [] }, computed, read }) => ({ prompt: source.length + prompt, read: (read ? source.length : 0) + Math.min(computed, prompt), written: tokens.length - prompt })) }
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
    if (held !== undefined) this.#release(held)
    const waits = this.#waiting.indexOf(text)
    if (waits >= 0) this.#waiting.splice(waits, 1)
  }
  /** Weights have changed: nothing that was computed with the old ones is used any more. */
  restart(): void {
    for (const held of this.#running) {
      this.#release(held)
      held.holding = held.source = undefined
      held.computed = held.cached = 0
      held.read = false
    }
    for (const b of this.#blocks) b.forget()
  }

  /** The next step; undefined where there is nothing to do. */
  next(): Step | undefined {
    this.#admit()
    this.#findSources()
    // A text reads as long as more than its last token is to be computed.
    const kindOf = (h: Held): Step['kind'] => (h.text.source !== undefined && !h.read ? 'source' : h.text.tokens.length - h.computed > 1 ? 'prompt' : 'next')
    const reading: readonly Step['kind'][] = this.#lastRead === 'source' ? ['prompt', 'source'] : ['source', 'prompt']
    const order: readonly Step['kind'][] = this.#lastKind === 'next' ? [...reading, 'next'] : ['next', ...reading]
    for (const kind of order) {
      const parts = this.#parts(kind, h => kindOf(h) === kind)
      if (parts.every(of => of.length === 0)) continue
      this.#lastKind = kind
      if (kind !== 'next') this.#lastRead = kind
      return { kind, parts }
    }
    return undefined
  }

  /** The step is computed; the tokens that were drawn are added by whoever draws them. */
  done(step: Step): void {
    for (const { text, from, tokens } of step.parts.flat()) {
      const held = this.#running.find(h => h.text === text)
      if (step.kind === 'source' && held?.source !== undefined) {
        held.read = true
        this.#blocks[held.replica]?.tellSource(text.scope, held.source)
      }
      if (step.kind === 'source' || held?.holding === undefined) continue
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
      if (!this.#running.includes(held) || !wanted(held) || text.isReady?.() === false || (kind === 'next' ? of.length >= requests : kind === 'prompt' ? !this.#joins(held, of) : !this.#joinsSources(held, of))) continue
      if (kind === 'source') {
        const { source = [] } = text
        const holding = held.source = this.#roomForSource(held, source.length)
        if (holding !== undefined) of.push({ text, from: 0, tokens: source, draws: 0, blocks: holding.blocks })
        continue
      }
      const holding = held.holding ??= this.#begin(held)
      const { computed } = held
      const guess = kind === 'prompt' ? [] : text.guess?.().slice(0, context - text.tokens.length) ?? []
      const tokens = kind === 'prompt' ? text.tokens.slice(computed, computed + chunk) : [...text.tokens.slice(computed), ...guess]
      if (!this.#grow(held, holding, computed + tokens.length)) continue
      const end = computed + tokens.length
      of.push({ text, from: computed, tokens, draws: Math.max(0, end - Math.max(computed, text.drawFrom)), blocks: [...holding.blocks], ...(held.source === undefined ? {} : { sourceBlocks: held.source.blocks }) })
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

  /** The same of sources, where another of the same is to find what was read. */
  #joinsSources({ text: { source = [], scope } }: Held, of: readonly Part[]): boolean {
    const { together: { texts, tokens } = { texts: 1, tokens: 0 } } = this.sizes
    return of.length === 0 || (of.length < texts && source.length <= tokens && of.every(p => p.tokens.length <= tokens && p.text.scope !== scope))
  }

  /** Sources that others had read before. */
  #findSources(): void {
    for (const held of this.#running) {
      const { text: { source, scope }, replica } = held
      if (source === undefined || held.source !== undefined) continue
      held.source = this.#blocks[replica]?.findSource(scope)
      held.read = held.source !== undefined
      if (held.read) held.cached += source.length
    }
  }

  #begin(held: Held): Holding {
    const holding = (this.#blocks[held.replica] as Blocks).begin(held.text.scope, held.text.tokens.slice(0, held.text.drawFrom + 1))
    held.computed = holding.blocks.length * this.sizes.block
    held.cached += held.computed
    // A long beginning that was kept may be more than there is room for at once.
    this.#drop(held, holding)
    return holding
  }

  #release({ replica, holding, source }: Held): void {
    const blocks = this.#blocks[replica]
    if (holding !== undefined) blocks?.release(holding)
    if (source !== undefined) blocks?.releaseSource(source)
  }
  /** Whoever came last gives up what it holds. @returns whether that was the text itself */
  #giveUp(held: Held): boolean {
    const last = this.#running.findLast(h => h.replica === held.replica) as Held
    this.#running.splice(this.#running.indexOf(last), 1)
    this.#release(last)
    // It came before all that wait.
    this.#waiting.unshift(last.text)
    this.#preemptions++
    return last === held
  }
  /** Room for a source, as `#grow`. */
  #roomForSource(held: Held, tokens: number): SourceHolding | undefined {
    const blocks = this.#blocks[held.replica] as Blocks
    for (;;) {
      const found = blocks.beginSource(Math.ceil(tokens / blocks.size))
      if (found !== undefined || this.#giveUp(held)) return found
    }
  }

  /** Room for so many tokens, at the cost of those that came later. False where the text itself had to give up. */
  #grow(held: Held, holding: Holding, tokens: number): boolean {
    const blocks = this.#blocks[held.replica] as Blocks
    while (holding.blocks.length * blocks.size < tokens) {
      if (!blocks.extend(holding) && this.#giveUp(held)) return false
    }
    return true
  }

  #admit(): void {
    const { requests, block, chunk, window = Infinity } = this.sizes
    for (;;) {
      const text = this.#waiting[0]
      if (text === undefined || this.held) return
      const needed = Math.ceil(Math.min(text.tokens.length, window + chunk + block) / block)
      const toRead = ({ blocks, replica }: { readonly blocks: Blocks; readonly replica: number }): number => {
        const { source, scope } = text
        return source === undefined || blocks.knowsSource(scope) || this.#running.some(h => h.replica === replica && h.text.scope === scope) ? 0 : Math.ceil(source.length / block)
      }
      const on = this.#blocks.map((blocks, replica) => ({ blocks, replica, texts: this.#running.filter(h => h.replica === replica).length }))
        .filter(({ blocks, replica, texts }) => texts < requests && (texts === 0 || blocks.free >= needed + texts + toRead({ blocks, replica })))
        .sort((a, b) => a.texts - b.texts || b.blocks.free - a.blocks.free)[0]
      if (on === undefined) return
      this.#waiting.shift()
      // What is known of it is looked up once its turn has come: another of the same beginning may be read before.
      this.#running.push({ text, replica: on.replica, holding: undefined, computed: 0, cached: 0, source: undefined, read: false })
    }
  }
}
