/** Which blocks of a cache belong to whom: shared beginnings are stored once, and what nobody uses is kept until its place is needed. */

/** A block whose tokens are known, and those before it: what begins alike has the same one. Or all blocks of a source that an encoder has read, which are of use together. */
interface Known { readonly key: string; readonly serial: number; readonly blocks: readonly number[]; users: number }

/** What a text holds of a cache: its blocks in their order, the first of which are known to others. */
export interface Holding { readonly blocks: number[]; readonly known: Known[]; readonly since: number; /** The first so many are no longer held: nothing sees them any more. */ dropped: number }

/** What a text holds of its source, which an encoder reads as a whole: texts of the same source have the same blocks once it is read. */
export interface SourceHolding { readonly blocks: readonly number[]; readonly since: number; known: Known | undefined }

/** The blocks of one replica. Blocks that are known and unused are taken again last of all, the longest unused first. */
export class Blocks {
  readonly size: number
  readonly count: number
  readonly #free: number[]
  readonly #known = new Map<string, Known>()
  /** In the order in which they became unused. */
  readonly #unused = new Set<Known>()
  #unusedBlocks = 0
  #serial = 0
  /** What was begun before it is not made known. */
  #forgot = 0

  constructor(count: number, size: number) {
    this.count = count
    this.size = size
    this.#free = Array.from({ length: count }, (_, i) => count - 1 - i)
  }

  /** Blocks that can be had at this moment. */
  get free(): number { return this.#free.length + this.#unusedBlocks }

  /** The longest beginning of a text that is known, in whole blocks; at least one token is left to compute. */
  begin(scope: string, tokens: ArrayLike<number>): Holding {
    const holding: Holding = { blocks: [], known: [], since: this.#forgot, dropped: 0 }
    for (let from = 0; from + this.size < tokens.length; from += this.size) {
      const found = this.#known.get(this.#key(scope, holding, tokens))
      if (found === undefined) break
      this.#use(found)
      holding.blocks.push(...found.blocks)
      holding.known.push(found)
    }
    return holding
  }

  /** One block more. False where there is none. */
  extend(holding: Holding): boolean {
    const block = this.#take()
    if (block === undefined) return false
    holding.blocks.push(block)
    return true
  }

  /** Makes what is computed of a text known: its full blocks. What another has made known meanwhile stays that one's. */
  tell(scope: string, holding: Holding, tokens: ArrayLike<number>, computed: number): void {
    if (holding.since !== this.#forgot) return
    while ((holding.known.length + 1) * this.size <= computed) {
      const key = this.#key(scope, holding, tokens)
      if (this.#known.has(key)) return
      // What is no longer held cannot be shown to others, nor what comes behind it.
      if (holding.known.length < holding.dropped) return
      const known: Known = { key, serial: ++this.#serial, blocks: [holding.blocks[holding.known.length] as number], users: 1 }
      this.#known.set(key, known)
      holding.known.push(known)
    }
  }

  /** Gives the first blocks back, up to one: nothing of the text sees them any more. */
  drop(holding: Holding, upTo: number): void {
    for (let i = holding.dropped; i < upTo; i++) this.#leave(holding, i)
    holding.dropped = Math.max(holding.dropped, upTo)
  }

  /** Gives all blocks back. */
  release(holding: Holding): void {
    // What comes later in a text is of use only with what comes before it, so that goes first.
    for (let i = holding.blocks.length - 1; i >= holding.dropped; i--) this.#leave(holding, i)
    holding.blocks.length = holding.known.length = holding.dropped = 0
  }

  #leave({ blocks, known }: Holding, i: number): void {
    const one = known[i]
    if (one === undefined) this.#free.push(blocks[i] as number)
    else this.#unuse(one)
  }

  /** Whether a source has been read, and is still there. */
  knowsSource(scope: string): boolean { return this.#known.has(sourceKey(scope)) }
  /** What there is of a source that has been read; undefined where there is none. */
  findSource(scope: string): SourceHolding | undefined {
    const known = this.#known.get(sourceKey(scope))
    if (known === undefined) return undefined
    this.#use(known)
    return { blocks: known.blocks, since: this.#forgot, known }
  }
  /** Blocks for a source that is to be read; undefined where there are not so many. */
  beginSource(count: number): SourceHolding | undefined {
    return count > this.free ? undefined : { blocks: Array.from({ length: count }, () => this.#take() as number), since: this.#forgot, known: undefined }
  }
  /** A source has been read: others of the same have it too. */
  tellSource(scope: string, holding: SourceHolding): void {
    const key = sourceKey(scope)
    if (holding.known !== undefined || holding.since !== this.#forgot || this.#known.has(key)) return
    holding.known = { key, serial: ++this.#serial, blocks: holding.blocks, users: 1 }
    this.#known.set(key, holding.known)
  }
  releaseSource({ known, blocks }: SourceHolding): void {
    if (known === undefined) this.#free.push(...blocks)
    else this.#unuse(known)
  }

  /** Forgets what is known, as it was computed with other weights. What is in use stays its user's. */
  forget(): void {
    for (const { blocks } of this.#unused) this.#free.push(...blocks)
    this.#unused.clear()
    this.#unusedBlocks = 0
    this.#known.clear()
    this.#forgot++
  }

  #use(known: Known): void {
    if (known.users++ > 0) return
    this.#unused.delete(known)
    this.#unusedBlocks -= known.blocks.length
  }
  #unuse(known: Known): void {
    if (--known.users > 0) return
    this.#unused.add(known)
    this.#unusedBlocks += known.blocks.length
  }

  /** A block that is nobody's; where there is none, of what has been unused longest. */
  #take(): number | undefined {
    const [oldest] = this.#free.length > 0 ? [] : this.#unused
    if (oldest !== undefined) {
      this.#unused.delete(oldest)
      this.#unusedBlocks -= oldest.blocks.length
      this.#free.push(...oldest.blocks)
      if (this.#known.get(oldest.key) === oldest) this.#known.delete(oldest.key)
    }
    return this.#free.pop()
  }

  #key(scope: string, { known }: Holding, tokens: ArrayLike<number>): string {
    const from = known.length * this.size
    const before = known.at(-1)
    return `${before === undefined ? `begin ${scope}` : before.serial}:${Array.prototype.slice.call(tokens, from, from + this.size).join()}`
  }
}

const sourceKey = (scope: string): string => `source ${scope}`
