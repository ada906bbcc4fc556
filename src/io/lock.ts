/** One process at a time in a folder. */
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import koffi from './koffi.ts'
import { makeFolders } from './folders.ts'

const LOCK_EX = 2
const LOCK_NB = 4

export interface LockOptions {
  readonly signal?: AbortSignal | undefined
  /** Called once, when another process holds the lock, with what it wrote into it. */
  readonly onWait?: ((holder: string) => void) | undefined
}

/** The kernel's lock on an open file: whether this process has it now; undefined where the file system, or this machine, has no such lock. */
export function tryLock(fd: number): boolean | undefined {
  if (flock()(fd, LOCK_EX | LOCK_NB) === 0) return true
  const code = koffi.errno()
  if (code === koffi.os.errno['EAGAIN']) return false
  if (['ENOLCK', 'EOPNOTSUPP', 'ENOTSUP', 'ENOSYS', 'EINVAL'].some(name => koffi.os.errno[name] === code)) return undefined
  throw new Error(`flock failed: errno ${code}`)
}

const flock = (): ((fd: number, operation: number) => number) => koffi.load(null).func('flock', 'int', ['int', 'int']) as (fd: number, operation: number) => number

/**
 * Runs `work` while holding `dir/.lock`. The lock is the kernel's (flock), so it ends with its holder however that ends, also
 * where process numbers mean nothing, as between containers that share a home; the number in the file is for people.
 */
export async function withLock<T>(dir: string, options: LockOptions, work: () => Promise<T>): Promise<T> {
  await makeFolders(dir)
  const file = await open(join(dir, '.lock'), 'a+')
  try {
    let told = false
    for (let got = tryLock(file.fd); got !== true; got = tryLock(file.fd)) {
      if (got === undefined) throw new Error(`the file system of ${join(dir, '.lock')} has no locks`)
      if (!told) options.onWait?.((await file.readFile('utf8')).trim())
      told = true
      await pause(100, undefined, options.signal === undefined ? {} : { signal: options.signal })
    }
    await file.truncate(0)
    await file.write(`process ${process.pid} since ${new Date().toISOString()}\n`)
    return await work()
  } finally {
    // Closing releases it. The file stays: deleting it would let two processes lock two files of one name.
    await file.close()
  }
}
