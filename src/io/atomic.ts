/** Files that are either whole or not there: written beside their place, then moved onto it. */
import { randomBytes } from 'node:crypto'
import { open, rename, rm, type FileHandle } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { FileError } from '../core/errors.ts'

/**
 * Puts `data` at `path`, replacing a file that is there. Whoever reads `path` sees the old bytes or the new, never a part.
 * @throws FileError when it cannot be written; `path` is then as it was and nothing is left beside it.
 */
export const writeFileAtomic = (path: string, data: string | Uint8Array): Promise<void> =>
  writeAtomically(path, file => file.writeFile(data))

/** The same for what is made bit by bit: `write` fills the handle of a file that is at `temporary` until it is whole. What it throws of its own is passed on. */
export async function writeAtomically(path: string, write: (file: FileHandle, temporary: string) => Promise<void>): Promise<void> {
  const temporary = join(dirname(path), `.${basename(path)}.${process.pid}.${randomBytes(4).toString('hex')}.tmp`)
  try {
    const file = await open(temporary, 'wx')
    try {
      await write(file, temporary)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(temporary, path)
    // Without it the new name may be lost with the power, although the bytes are not.
    await syncFolder(dirname(path))
  } catch (cause) {
    await rm(temporary, { force: true }).catch(() => undefined)
    throw isSystemError(cause) ? cannotWrite(path, cause) : cause
  }
}

/** Resolves when the names in a folder are on the disk. */
export async function syncFolder(path: string): Promise<void> {
  try {
    const folder = await open(path, 'r')
    try { await folder.sync() } finally { await folder.close() }
  } catch (cause) {
    if (!isSystemError(cause) || !noFolderSync.includes(cause.code)) throw cause
  }
}

/** What a few file systems say on which folders cannot be synced, and a folder that may be written and not read. */
const noFolderSync: readonly string[] = ['EINVAL', 'EPERM', 'ENOTSUP', 'EACCES']

/** An error that the operating system gave: it has a code such as ENOENT. */
export const isSystemError = (cause: unknown): cause is NodeJS.ErrnoException & { readonly code: string } =>
  cause instanceof Error && 'syscall' in cause && 'code' in cause && typeof cause.code === 'string'

const fixes: Readonly<Record<string, string>> = {
  ENOENT: 'make the folder first, or write elsewhere',
  ENOTDIR: 'a part of the path is a file: write elsewhere',
  EISDIR: 'a folder has that name: remove it, or write elsewhere',
  EACCES: 'make the folder writable, or write elsewhere',
  EPERM: 'make the folder writable, or write elsewhere',
  EROFS: 'the disk is read-only: write elsewhere',
  ENOSPC: 'make room on the disk, or write elsewhere',
  EDQUOT: 'make room within your quota, or write elsewhere',
}

export const cannotWrite = (path: string, cause: NodeJS.ErrnoException): FileError => new FileError({
  code: 'write', what: `cannot write ${path}`, details: { reason: cause.message },
  fix: fixes[cause.code ?? ''] ?? 'check the folder, or write elsewhere', cause,
})
