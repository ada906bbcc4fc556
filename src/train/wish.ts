/** What others ask of a run while it trains: a file in its folder, which the run takes away when it does as it is asked. So whoever may write there may ask, from any host. */
import { readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

/** `stop`: end after this step, with a checkpoint, as on SIGTERM. `save`: a checkpoint behind this step. */
export const wishes = ['stop', 'save'] as const
export type Wish = (typeof wishes)[number]
export const wishName = (wish: Wish): string => `.wish-${wish}`

export const wishFor = (folder: string, wish: Wish): Promise<void> => writeFile(join(folder, wishName(wish)), '')
/** Takes away what was asked of a run that is over. */
export const forget = async (folder: string): Promise<void> => { for (const wish of wishes) await rm(join(folder, wishName(wish)), { force: true }) }

/** Milliseconds between looks. */
const every = 250

/** Looks for wishes for as long as a run trains. */
export class Wishes {
  readonly #folder: string
  readonly #timer: NodeJS.Timeout
  readonly #stop = new AbortController()
  #save = false
  #looking = false

  constructor(folder: string) {
    this.#folder = folder
    this.#timer = setInterval(() => { void this.#look() }, every)
    this.#timer.unref()
  }

  /** Aborted when the run is asked to stop. */
  get stop(): AbortSignal { return this.#stop.signal }
  /** Whether a checkpoint is wanted that was not told of before. */
  takeSave(): boolean {
    const wanted = this.#save
    this.#save = false
    return wanted
  }
  close(): void { clearInterval(this.#timer) }

  async #look(): Promise<void> {
    if (this.#looking) return
    this.#looking = true
    try {
      const names = await readdir(this.#folder)
      for (const wish of wishes) {
        if (!names.includes(wishName(wish))) continue
        await rm(join(this.#folder, wishName(wish)), { force: true })
        if (wish === 'stop') this.#stop.abort()
        else this.#save = true
      }
    } catch { /* A folder that cannot be read now may be later. */ } finally { this.#looking = false }
  }
}
