/** Guesses at what follows in a text: what followed the last time that its end was there (prompt lookup; Saxena 2023). */

/** Tokens of an end that is looked for, the longest first. */
const lengths = [4, 3, 2] as const

export class Lookup {
  readonly #tokens: readonly number[]
  readonly #most: number
  /** Of each length where an end was last seen: the place behind it. */
  readonly #seen = new Map<string, number>()
  #known = 0

  /** @param tokens a text that grows @param most tokens of a guess */
  constructor(tokens: readonly number[], most: number) {
    this.#tokens = tokens
    this.#most = most
  }

  /** Tokens that may follow; none where the end of the text is new. */
  guess(): readonly number[] {
    const tokens = this.#tokens
    // The end itself is not yet among what was seen: what is looked for came before it.
    for (; this.#known < tokens.length; this.#known++) for (const n of lengths) if (this.#known >= n) this.#seen.set(this.#key(this.#known, n), this.#known)
    for (const n of lengths) {
      if (tokens.length < n) continue
      const at = this.#seen.get(this.#key(tokens.length, n))
      if (at !== undefined) return tokens.slice(at, at + this.#most)
    }
    return []
  }

  /** The `n` tokens before a place. */
  #key(place: number, n: number): string { return this.#tokens.slice(place - n, place).join() }
}
