/** Who computes when: the first process decides and the others do the same; models that share devices take turns. */
import { fromFirst, type Processes } from '../engine/index.ts'

/** Does work in every process, once whatever was asked for before is done. @param order what the others need to know of it */
export type Turn = <T>(order: () => string, work: () => Promise<T>) => Promise<T>

export class Turns {
  readonly #processes: Processes
  readonly #works: { readonly work: (order: string) => Promise<unknown>; readonly mayFail: boolean }[] = []
  #last: Promise<unknown> = Promise.resolve()
  /** Pending while something else goes on, which turns wait for. */
  #open: Promise<void> | undefined
  #opens = (): void => {}
  #under: Promise<unknown> | undefined

  constructor(processes: Processes) { this.#processes = processes }

  /** Every process adds the same, in the same order. @param work what the others do of an order @param mayFail whether a failure, which the first process tells of, changes nothing and ends nobody */
  add(work: (order: string) => Promise<unknown>, { mayFail = false }: { readonly mayFail?: boolean } = {}): Turn {
    const index = this.#works.push({ work, mayFail }) - 1
    return <T>(order: () => string, own: () => Promise<T>): Promise<T> => {
      const take = async (): Promise<T> => {
        if (this.#processes.count > 1) await fromFirst(this.#processes, 'what to compute next', () => `${index}:${order()}`)
        return await own()
      }
      const done = this.#last.then(async () => {
        await this.opened()
        const taken = take()
        this.#under = taken
        return await taken
      })
      // What fails is its caller's to mend: the next turn comes all the same.
      this.#last = done.catch(() => undefined)
      return done
    }
  }

  /** Does what the first process says, until it says that there is no more. For the others. */
  async follow(): Promise<void> {
    for (;;) {
      const said = await fromFirst(this.#processes, 'what to compute next', () => '')
      if (said === '') return
      const at = said.indexOf(':')
      const taken = this.#works[Number(said.slice(0, at))]
      await taken?.work(said.slice(at + 1)).catch((e: unknown) => { if (!taken.mayFail) throw e })
    }
  }

  /** No turn begins from now on, until `between` lets some. */
  close(): void { this.#open ??= new Promise(resolve => { this.#opens = resolve }) }

  /** Resolves once turns may begin: what is decided before may be out of date then. */
  async opened(): Promise<void> { while (this.#open !== undefined) await this.#open }

  /** Lets turns be taken between two pieces of other work, for so many milliseconds at most, and only while somebody wants one. All processes call it. */
  async between(milliseconds: number, isWanted: () => boolean): Promise<void> {
    if (this.#processes.rank !== 0) return this.follow()
    if (isWanted()) {
      this.#open = undefined
      this.#opens()
      const until = performance.now() + milliseconds
      while (isWanted() && performance.now() < until) await new Promise(resolve => { setTimeout(resolve, 1) })
      this.close()
      await this.#under?.catch(() => undefined)
    }
    if (this.#processes.count > 1) await fromFirst(this.#processes, 'what to compute next', () => '')
  }

  /** Lets the other processes go on with something else. Nothing may be asked meanwhile. */
  async rest(): Promise<void> {
    await this.#last
    if (this.#processes.count > 1) await fromFirst(this.#processes, 'what to compute next', () => '')
  }
}

/** Does work in the first process while the others compute what it decides; what it throws is thrown in all. */
export async function led<T>(turns: Turns, processes: Processes, work: () => Promise<T>): Promise<T | undefined> {
  if (processes.rank !== 0) {
    await turns.follow()
    await fromFirst(processes, 'how it ended', () => '')
    return undefined
  }
  try {
    return await work()
  } finally {
    await turns.rest()
    if (processes.count > 1) await fromFirst(processes, 'how it ended', () => '')
  }
}
