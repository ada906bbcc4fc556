/** A set that tells what is added to it while something runs. */
export class Recorded<T> extends Set<T> {
  private log: T[] | undefined
  override add(x: T): this {
    this.log?.push(x)
    return super.add(x)
  }

  during<R>(run: () => R): { readonly result: R; readonly added: readonly T[] } {
    const [added, before]: [T[], T[] | undefined] = [[], this.log]
    this.log = added
    try { return { result: run(), added } } finally { this.log = before }
  }
}
