/** Compiled programs on disk. Whatever is wrong with the cache, the program is only compiled again. */
import { randomUUID } from 'node:crypto'
import { readFileSync, rmSync, utimesSync } from 'node:fs'
import { mkdir, readdir, rename, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { sha256 } from '../../io/checksum.ts'

const MAGIC = new TextEncoder().encode('MWX1')
const HEAD = MAGIC.length + 32
const SUFFIX = '.xla'

/** When all entries together take more, the least recently used go. */
export const DEFAULT_CACHE_BYTES: number = 512 << 20

/** What `f` gives; undefined where the disk does not let it. */
function quietly<T>(f: () => T): T | undefined {
  try {
    return f()
  } catch {
    return undefined
  }
}
const digest = (bytes: Uint8Array): Buffer => Buffer.from(sha256(bytes), 'hex')

export class ExecutableCache {
  private readonly dir: string
  private readonly maxBytes: number

  constructor(dir: string, maxBytes: number = DEFAULT_CACHE_BYTES) {
    this.dir = dir
    this.maxBytes = maxBytes
  }

  /** The program under `key`; undefined, and gone, where it is not whole. Read at once, so that it can be loaded while this thread plans the next. */
  read(key: string): Uint8Array | undefined {
    const path = this.path(key)
    const file = quietly(() => readFileSync(path))
    if (file === undefined) return undefined
    const program = file.subarray(HEAD)
    const whole = MAGIC.every((byte, i) => file[i] === byte) && digest(program).equals(file.subarray(MAGIC.length, HEAD))
    if (!whole) {
      this.forget(key)
      return undefined
    }
    const now = new Date()
    quietly(() => { utimesSync(path, now, now) })
    return program
  }

  /** Keeps a program. A full or read-only disk only means that it is compiled again next time. */
  async write(key: string, program: Uint8Array): Promise<void> {
    const temporary = join(this.dir, `${key}.${randomUUID()}.tmp`)
    try {
      // What lies here is run as machine code: nobody else may write it.
      await mkdir(this.dir, { recursive: true, mode: 0o700 })
      await writeFile(temporary, Buffer.concat([MAGIC, digest(program), program]), { mode: 0o600 })
      await rename(temporary, this.path(key))
      await this.prune()
    } catch {
      await rm(temporary, { force: true }).catch(() => undefined)
    }
  }

  forget(key: string): void {
    quietly(() => { rmSync(this.path(key), { force: true }) })
  }

  private path(key: string): string { return join(this.dir, `${key}${SUFFIX}`) }

  private async prune(): Promise<void> {
    const entries = (await Promise.all((await readdir(this.dir)).map(async (name) => {
      const path = join(this.dir, name)
      return stat(path).then(({ size, mtimeMs }) => ({ path, name, size, used: mtimeMs }), () => undefined)
    }))).filter((entry) => entry !== undefined)
    const hourAgo = Date.now() - 3_600_000
    const orphans = entries.filter((entry) => entry.name.endsWith('.tmp') && entry.used < hourAgo)
    const kept = entries.filter((entry) => entry.name.endsWith(SUFFIX)).sort((a, b) => b.used - a.used)
    let total = 0
    const excess = kept.filter((entry) => (total += entry.size) > this.maxBytes)
    await Promise.all([...orphans, ...excess].map((entry) => rm(entry.path, { force: true })))
  }
}
