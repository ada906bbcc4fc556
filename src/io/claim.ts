/** A folder that one process has to itself, for as long as it lives. */
import { open, readFile, rename, rm, type FileHandle } from 'node:fs/promises'
import { readFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { randomBytes } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import { FileError } from '../core/errors.ts'
import { cannotWrite, isSystemError } from './atomic.ts'
import { tryLock } from './lock.ts'

/** Who has a folder, told apart from every other process that ever had its number. */
export interface Owner {
  readonly pid: number
  readonly host: string
  /** Of this start of the system, and of the process within it; empty where the system does not tell. */
  readonly boot: string
  readonly start: string
}

export interface Claim extends AsyncDisposable {
  /** What was taken over from a process that is no more. */
  readonly from: Owner | undefined
  release(): Promise<void>
}

/** The file that says who has the folder. */
export const claimName = '.lock'

const text = (path: string): string => {
  try { return readFileSync(path, 'utf8').trim() } catch { return '' }
}
/** What the system says of a process, from the third field on: counted from behind the name, which may hold anything. Empty where it says nothing. */
const statOf = (pid: number): readonly string[] => {
  const stat = text(`/proc/${pid}/stat`)
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')
}
/** When a process started, in ticks since the system did: the 22nd field. */
const startOf = (pid: number): string => statOf(pid)[19] ?? ''
const bootId = (): string => text('/proc/sys/kernel/random/boot_id')

export const thisProcess = (): Owner => ({ pid: process.pid, host: hostname(), boot: bootId(), start: startOf(process.pid) })

function parseOwner(written: string): Owner | undefined {
  try {
    const found = JSON.parse(written) as Partial<Owner> | null
    const { pid, host, boot = '', start = '' } = found ?? {}
    return typeof pid === 'number' && typeof host === 'string' ? { pid, host, boot, start } : undefined
  } catch {
    return undefined
  }
}

/** Whether an owner is alive; undefined where it cannot be told from here. */
function alive({ pid, host, boot, start }: Owner): boolean | undefined {
  if (host !== hostname()) return undefined
  if (boot !== '' && boot !== bootId()) return false
  try {
    process.kill(pid, 0)
  } catch (e) {
    // EPERM: it is there, and somebody else's.
    if (isSystemError(e) && e.code === 'ESRCH') return false
  }
  return start === '' || start === startOf(pid)
}

/** The kernel's PF_EXITING, of a process whose end has begun: its memory goes first, which may take a while, and its locks after that. */
const EXITING = 0x4

/** Whether an owner of this host is gone or on its way, so that what it holds is about to be let go: nothing can keep it. */
const ending = (owner: Owner | undefined): boolean => owner !== undefined && owner.host === hostname()
  && (alive(owner) === false || (Number(statOf(owner.pid)[6] ?? 0) & EXITING) !== 0)

/** Milliseconds that one waits for a process that ends. */
const patience = 30_000

/** Who has a folder at the moment, as far as its file says, and whether that process lives (undefined where it cannot be told from here); nothing is taken. */
export async function holderOf(folder: string): Promise<{ readonly owner: Owner; readonly alive: boolean | undefined } | undefined> {
  const owner = parseOwner(await readFile(join(folder, claimName), 'utf8').catch(() => ''))
  return owner === undefined ? undefined : { owner, alive: alive(owner) }
}

const taken = (folder: string, owner: Owner | undefined): FileError => new FileError({
  code: 'folder-taken', what: `${folder} is in use by ${owner === undefined ? 'another process' : `process ${owner.pid} on ${owner.host}`}`,
  details: { lock: join(folder, claimName) },
  fix: owner === undefined || alive(owner) === undefined
    ? 'wait until it ends, or use another folder; if it ended by force on a host that cannot be asked from here, remove the lock' : 'wait until it ends or stop it, or use another folder',
})

/** The kernel's lock; `undefined` where the file system has none. */
export type KernelLock = (fd: number) => boolean | undefined

/**
 * Takes a folder that is there. The lock is the kernel's, which lets it go with its owner however that ends; where there is none, the owner's
 * number, host and start say whether it still lives. An owner whose end has begun is waited for: a command that is given again right after
 * its job was killed finds it so.
 * @throws FileError naming process and host where another has it, or where it cannot be written
 */
export async function claimFolder(folder: string, lock: KernelLock = tryLock): Promise<Claim> {
  const path = join(folder, claimName)
  const file = await open(path, 'a+').catch((cause: unknown) => { throw isSystemError(cause) ? cannotWrite(path, cause) : cause })
  try {
    let got = lock(file.fd)
    let before = parseOwner(await readAllOf(file))
    // Nobody is named for the moment in which one takes the folder or lets it go.
    for (const since = Date.now(); got === false && (before === undefined || ending(before)) && Date.now() - since < (before === undefined ? patience / 30 : patience);) {
      await pause(20)
      got = lock(file.fd)
      before = parseOwner(await readAllOf(file)) ?? before
    }
    if (got === false) throw taken(folder, before)
    // A lock that two processes got, or none: then what is written decides.
    const me = thisProcess()
    const self = before?.pid === me.pid && before.host === me.host && before.start === me.start
    if (got === undefined && before !== undefined && alive(before) !== false && !ending(before)) throw taken(folder, before)
    if (got === true && before !== undefined && !self && alive(before) === true && !ending(before)) throw taken(folder, before)
    if (got === undefined) return await claimByFile(folder, path, file, before)
    await write(file, me)
    return claimOf(before, async () => {
      // The file stays: deleting it would let two processes lock two files of one name.
      await file.truncate(0).catch(() => undefined)
      await file.close()
    })
  } catch (e) {
    await file.close().catch(() => undefined)
    throw isSystemError(e) ? cannotWrite(path, e) : e
  }
}

/** From its first byte, however much of it was read before. */
const readAllOf = async (file: FileHandle): Promise<string> => {
  const bytes = Buffer.alloc((await file.stat()).size)
  return bytes.toString('utf8', 0, (await file.read(bytes, 0, bytes.length, 0)).bytesRead)
}

async function write(file: FileHandle, owner: Owner): Promise<void> {
  await file.truncate(0)
  await file.write(`${JSON.stringify(owner)}\n`)
}

/** Without the kernel's help: a file that only one can make, and that one that finds its owner dead moves out of the way. */
async function claimByFile(folder: string, path: string, opened: FileHandle, before: Owner | undefined): Promise<Claim> {
  await opened.close()
  const away = join(folder, `${claimName}.${randomBytes(4).toString('hex')}`)
  await rename(path, away)
  // Another may have done the same a moment before, and written itself in: then it has the folder.
  const found = parseOwner(await readFile(away, 'utf8'))
  if (JSON.stringify(found) !== JSON.stringify(before)) {
    await rename(away, path)
    throw taken(folder, found)
  }
  await rm(away, { force: true })
  const file = await open(path, 'wx').catch((cause: unknown) => { throw isSystemError(cause) && cause.code === 'EEXIST' ? taken(folder, parseOwner(text(path))) : cause })
  await write(file, thisProcess())
  return claimOf(before, async () => {
    await file.close()
    await rm(path, { force: true })
  })
}

function claimOf(from: Owner | undefined, end: () => Promise<void>): Claim {
  let held = true
  const release = async (): Promise<void> => {
    if (!held) return
    held = false
    await end()
  }
  return { from, release, [Symbol.asyncDispose]: release }
}
