/** Buffers that a client has to free before it goes. A step makes and frees hundreds of buffers: a list that they hang in themselves costs less than a set that looks them up. */

/** Something that must be freed before its client is; it hangs in one list at most. */
export interface Owned {
  before: Owned | undefined
  behind: Owned | undefined
  /** Takes it out of the list. */
  dispose(): void
}

export class Living {
  private last: Owned | undefined
  private count = 0

  get size(): number { return this.count }

  add(owned: Owned): void {
    owned.before = this.last
    if (this.last !== undefined) this.last.behind = owned
    this.last = owned
    this.count++
  }

  /** Of one that is in it. */
  delete(owned: Owned): void {
    const { before, behind } = owned
    if (before !== undefined) before.behind = behind
    if (behind !== undefined) behind.before = before
    else this.last = before
    owned.before = owned.behind = undefined
    this.count--
  }

  disposeAll(): void {
    while (this.last !== undefined) this.last.dispose()
  }
}
