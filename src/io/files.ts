/** The few calls into a file system that what must survive a crash is made of. Tests put another behind them, one that fails or dies at any call. */
import { open, mkdir, readdir, rename, rmdir, stat, statfs, unlink } from 'node:fs/promises'
import { FileError } from '../core/errors.ts'
import { isSystemError, syncFolder } from './atomic.ts'

/** Reads and writes may be short, as the system's are: `readAll` and `writeAll` go on until all is done. */
export interface OpenFile {
  /** Fills `into` from byte `at` of the file on. Resolves to how many bytes there were; 0 at the end. */
  read(into: Uint8Array, at: number): Promise<number>
  /** Resolves to how many bytes were taken. */
  write(bytes: Uint8Array, at: number): Promise<number>
  truncate(size: number): Promise<void>
  /** Resolves when what was written is on the disk. */
  sync(): Promise<void>
  close(): Promise<void>
}

export interface FileInfo { readonly kind: 'file' | 'folder' | 'other'; readonly size: number }

export interface Files {
  /** `r`: to read, `r+`: to write into a file that is there, `wx`: to write one that is not. */
  open(path: string, how: 'r' | 'r+' | 'wx'): Promise<OpenFile>
  /** Undefined where nothing is there. */
  info(path: string): Promise<FileInfo | undefined>
  /** The names in a folder. */
  list(path: string): Promise<readonly string[]>
  makeFolder(path: string): Promise<void>
  rename(from: string, to: string): Promise<void>
  removeFile(path: string): Promise<void>
  /** Of an empty folder. */
  removeFolder(path: string): Promise<void>
  /** Resolves when the names in a folder are on the disk: only then do a new file or a renaming outlive a loss of power. */
  syncFolder(path: string): Promise<void>
  /** Bytes that may still be written; undefined where it cannot be told. */
  free(path: string): Promise<number | undefined>
}

/** What Node and Linux move at most in one call. */
const most = 2 ** 30

export const disk: Files = {
  async open(path, how) {
    const file = await open(path, how)
    return {
      read: async (into, at) => (await file.read(into, 0, Math.min(into.byteLength, most), at)).bytesRead,
      write: async (bytes, at) => (await file.write(bytes, 0, Math.min(bytes.byteLength, most), at)).bytesWritten,
      truncate: size => file.truncate(size),
      sync: () => file.sync(),
      close: () => file.close(),
    }
  },
  info: path => stat(path).then(
    (found): FileInfo => ({ kind: found.isFile() ? 'file' : found.isDirectory() ? 'folder' : 'other', size: found.size }),
    (cause: unknown) => {
      if (isSystemError(cause) && (cause.code === 'ENOENT' || cause.code === 'ENOTDIR')) return undefined
      throw cause
    },
  ),
  list: path => readdir(path),
  makeFolder: path => mkdir(path),
  rename: (from, to) => rename(from, to),
  removeFile: path => unlink(path),
  removeFolder: path => rmdir(path),
  syncFolder,
  free: path => statfs(path).then(({ bavail, bsize }) => bavail * bsize, () => undefined),
}

/** Writes all of it: a disk that fills up first takes less than it is given, without an error. @throws the system's error */
export async function writeAll(file: Pick<OpenFile, 'write'>, bytes: Uint8Array, at: number): Promise<void> {
  for (let done = 0; done < bytes.byteLength;) {
    const taken = await file.write(bytes.subarray(done), at + done)
    if (taken === 0) throw Object.assign(new Error('EIO: a write took nothing'), { code: 'EIO', syscall: 'write' })
    done += taken
  }
}

/** Fills all of `into`. Resolves to how much there was, less than all only where the file ends. @throws the system's error */
export async function readAll(file: OpenFile, into: Uint8Array, at: number): Promise<number> {
  let done = 0
  while (done < into.byteLength) {
    const found = await file.read(into.subarray(done), at + done)
    if (found === 0) break
    done += found
  }
  return done
}

/** A whole small file. @throws FileError where it has more than `limit` bytes, the system's error where it cannot be read */
export async function readSmall(files: Files, path: string, limit: number): Promise<Uint8Array<ArrayBuffer>> {
  const found = await files.info(path)
  if (found === undefined) throw Object.assign(new Error(`ENOENT: no such file, open '${path}'`), { code: 'ENOENT', syscall: 'open' })
  if (found.kind !== 'file') throw new FileError({ code: 'read', what: `cannot read ${path}`, details: { reason: found.kind === 'folder' ? 'it is a folder' : 'it is a pipe, a device or a socket' }, fix: 'give the path of a file' })
  if (found.size > limit) throw new FileError({ code: 'too-large', what: `${path} has ${found.size} bytes, more than the ${limit} that such a file can have`, fix: 'it is another file, or damaged' })
  const file = await files.open(path, 'r')
  try {
    const bytes = new Uint8Array(found.size)
    return bytes.subarray(0, await readAll(file, bytes, 0))
  } finally {
    await file.close()
  }
}

/** Takes away a file, or a folder and what is in it; nothing where nothing is there. */
export async function removeTree(files: Files, path: string): Promise<void> {
  const found = await files.info(path)
  if (found === undefined) return
  if (found.kind !== 'folder') return files.removeFile(path)
  for (const name of await files.list(path)) await removeTree(files, `${path}/${name}`)
  await files.removeFolder(path)
}
