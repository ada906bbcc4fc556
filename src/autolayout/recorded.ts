/** Sets that tell what is done with them while something runs. */

/** What is added to it. */
export class Recorded<T> extends Set<T> {
  private log: T[] | undefined
  override add(x: T): this {
    this.log?.push(x)
    return super.add(x)
  }

  during<R>(run: () => R): { readonly result: R; readonly added: readonly T[] } {
    const [added, before]: [T[], T[] | undefined] = [[], this.log]
    this.log = added
    try { return { result: run(), added } } finally {
      this.log = before
      // Whoever records around it has added them as well.
      before?.push(...added)
    }
  }
}

/** By each that was asked for, whether it was there. */
export type Answers<T> = ReadonlyMap<T, boolean>

/** What it is asked for: what comes of it is the same whatever else is in the set. */
export class Asked<T> extends Set<T> {
  private log: Map<T, boolean> | undefined
  override has(x: T): boolean {
    const answer = super.has(x)
    this.log?.set(x, answer)
    return answer
  }

  /** Whether it would give these answers. Nobody has asked for anything. */
  gives(answers: Answers<T>): boolean {
    if (answers.size === 0) return true
    for (const [x, answer] of answers) if (super.has(x) !== answer) return false
    return true
  }
  /** As if these had been asked for. */
  asks(answers: Answers<T>): void { if (answers.size > 0) for (const [x, answer] of answers) this.log?.set(x, answer) }

  during<R>(run: () => R): { readonly result: R; readonly answers: Answers<T> } {
    const [answers, before] = [new Map<T, boolean>(), this.log]
    this.log = answers
    try { return { result: run(), answers } } finally {
      this.log = before
      this.asks(answers)
    }
  }
}
