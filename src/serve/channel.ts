/** Values from one side to the other, in their order, as they come. */

export class Channel<T> implements AsyncIterable<T> {
  readonly #values: T[] = []
  readonly #left: () => void
  #wake: (() => void) | undefined
  #end: { readonly error?: unknown } | undefined

  /** @param left called once when the listener leaves before the end */
  constructor(left: () => void) { this.#left = left }

  push(value: T): void {
    this.#values.push(value)
    this.#wake?.()
  }
  end(): void { this.#finish({}) }
  fail(error: unknown): void { this.#finish({ error }) }

  async *[Symbol.asyncIterator](): AsyncGenerator<T> {
    let whole = false
    try {
      for (;;) {
        const value = this.#values.shift()
        if (value !== undefined) yield value
        else if (this.#end !== undefined) {
          whole = true
          if ('error' in this.#end) throw this.#end.error
          return
        } else await new Promise<void>(resolve => { this.#wake = resolve })
      }
    } finally {
      if (!whole) this.#left()
    }
  }

  #finish(end: { readonly error?: unknown }): void {
    this.#end ??= end
    this.#wake?.()
  }
}
