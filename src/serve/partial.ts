/** Work in a folder of its own, kept up to its last whole stretch: what it is, how far it is, and an append-only file of its results. */
import { open, readFile, rm, stat, type FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { FileError } from '../core/errors.ts'
import type { Plain, PlainObject } from '../core/plain.ts'
import { cannotWrite, isSystemError, writeFileAtomic } from '../io/atomic.ts'
import { claimFolder, type Claim } from '../io/claim.ts'
import { writeAll } from '../io/files.ts'
import { makeFolders } from '../io/folders.ts'

/** How far work is: how many items, the bytes of their results, and what else is counted. */
export interface Reached { readonly items: number; readonly bytes: number; readonly counts: { readonly [name: string]: number } }

const [headName, reachedName] = ['work.json', 'reached.json']

export class PartialWork implements AsyncDisposable {
  readonly folder: string
  /** The file of results. */
  readonly path: string
  reached: Reached
  readonly #file: FileHandle
  readonly #claim: Claim
  #closed = false

  private constructor(folder: string, path: string, reached: Reached, file: FileHandle, claim: Claim) {
    this.folder = folder
    this.path = path
    this.reached = reached
    this.#file = file
    this.#claim = claim
  }

  /**
   * A folder's work as it was left, cut back to what is known to be whole, or new work. `head` is what decides the results; `restart` throws away what is there.
   * @throws FileError where the folder holds other work, is used by another process, or cannot be written
   */
  static async open(folder: string, name: string, head: PlainObject, restart: boolean): Promise<PartialWork> {
    try {
      await makeFolders(folder)
    } catch (cause) {
      throw isSystemError(cause) ? cannotWrite(folder, cause) : cause
    }
    const claim = await claimFolder(folder)
    const path = join(folder, name)
    try {
      if (restart) for (const file of [reachedName, headName, name]) await rm(join(folder, file), { force: true })
      const before = await json(join(folder, headName))
      if (before === undefined) {
        await rm(join(folder, reachedName), { force: true })
        await writeFileAtomic(join(folder, headName), `${JSON.stringify(head, null, 2)}\n`)
      } else requireSameWork(folder, before, head)
      const reached = before === undefined ? nothing : reachedOf(await json(join(folder, reachedName)))
      const size = await stat(path).then(s => s.size, () => 0)
      if (size < reached.bytes) throw new FileError({ code: 'partial-damaged', what: `${path} has ${size} bytes, and ${reached.bytes} were written`, fix: 'begin anew: --restart' })
      const file = await open(path, size === 0 ? 'w+' : 'r+')
      await file.truncate(reached.bytes)
      return new PartialWork(folder, path, reached, file, claim)
    } catch (cause) {
      await claim.release()
      throw isSystemError(cause) ? cannotWrite(path, cause) : cause
    }
  }

  /** Adds a stretch's results, and notes that they are there once they are. */
  async add(bytes: Uint8Array, items: number, counts: Reached['counts'] = {}): Promise<void> {
    const { reached } = this
    const names = new Set([...Object.keys(reached.counts), ...Object.keys(counts)])
    const next: Reached = { items: reached.items + items, bytes: reached.bytes + bytes.byteLength, counts: Object.fromEntries([...names].map(n => [n, (reached.counts[n] ?? 0) + (counts[n] ?? 0)])) }
    try {
      await writeAll({ write: async (part, at) => (await this.#file.write(part, 0, Math.min(part.byteLength, 2 ** 30), at)).bytesWritten }, bytes, reached.bytes)
      await this.#file.sync()
    } catch (cause) {
      throw isSystemError(cause) ? cannotWrite(this.path, cause) : cause
    }
    await writeFileAtomic(join(this.folder, reachedName), JSON.stringify(next))
    this.reached = next
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    await this.#file.close()
    await this.#claim.release()
  }

  /** Takes the folder away. */
  async remove(): Promise<void> {
    await this[Symbol.asyncDispose]()
    await rm(this.folder, { recursive: true, force: true })
  }
}

const nothing: Reached = { items: 0, bytes: 0, counts: {} }

async function json(path: string): Promise<Plain | undefined> {
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    if (isSystemError(cause) && cause.code === 'ENOENT') return undefined
    throw cause
  })
  if (text === undefined) return undefined
  try { return JSON.parse(text) as Plain } catch (cause) { throw new FileError({ code: 'partial-damaged', what: `${path} is not JSON`, fix: 'begin anew: --restart', cause }) }
}

function reachedOf(found: Plain | undefined): Reached {
  const { items = 0, bytes = 0, counts = {} } = (found ?? {}) as { readonly [N in keyof Reached]?: Reached[N] }
  return { items, bytes, counts }
}

/** @throws FileError that names the first thing in which two pieces of work differ */
function requireSameWork(folder: string, before: Plain, now: PlainObject): void {
  const was = (typeof before === 'object' && before !== null && !Array.isArray(before) ? before : {}) as PlainObject
  const differs = [...new Set([...Object.keys(was), ...Object.keys(now)])].find(key => JSON.stringify(was[key]) !== JSON.stringify(now[key]))
  if (differs === undefined) return
  const shown = (x: Plain | undefined): string => (JSON.stringify(x) ?? 'none').slice(0, 100)
  throw new FileError({ code: 'other-work', what: `${folder} holds work that was begun with another ${differs}`, details: { then: shown(was[differs]), now: shown(now[differs]) }, fix: 'give what it was begun with, another place, or throw it away: --restart' })
}
