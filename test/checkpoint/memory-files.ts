/** A file system in memory that knows what a loss of power would leave: what was not synced may be lost. Any call can be made to fail. */
import type { FileInfo, Files, OpenFile } from '../../src/io/files.ts'

interface File { readonly kind: 'file'; data: Buffer; synced: Buffer }
/** `history`: its names at the last sync, and after each change since: what a journal brings back is one of them. */
interface Folder { readonly kind: 'folder'; entries: Map<string, Inode>; history: Map<string, Inode>[] }
type Inode = File | Folder

const folder = (entries = new Map<string, Inode>()): Folder => ({ kind: 'folder', entries, history: [new Map(entries)] })
export const systemError = (code: string, syscall: string): Error => Object.assign(new Error(`${code}: ${syscall}`), { code, syscall })

export interface Call { readonly what: 'open' | 'write' | 'truncate' | 'sync' | 'makeFolder' | 'rename' | 'removeFile' | 'removeFolder' | 'syncFolder' | 'read'; readonly path: string; readonly to?: string }
/** What a power cut leaves: of each file what was written or only what was synced, of each folder one of the states since its last sync. */
export interface Left { readonly unsyncedData: boolean; readonly names: (states: number) => number }

export class MemoryFiles implements Files {
  root: Folder = folder()
  readonly calls: Call[] = []
  /** Called before each call that changes something, and before reads; may throw, or wait. */
  before: (call: Call, n: number) => void | Promise<void> = () => {}
  /** Bytes that a write takes at most. */
  longestWrite = Infinity
  room: number | undefined

  private async called(call: Call): Promise<void> {
    if (call.what !== 'read') this.calls.push(call)
    await this.before(call, this.calls.length)
  }

  private find(path: string): Inode | undefined {
    return path.split('/').filter(p => p !== '').reduce<Inode | undefined>((at, name) => (at?.kind === 'folder' ? at.entries.get(name) : undefined), this.root)
  }
  private above(path: string): { readonly folder: Folder; readonly name: string } {
    const parts = path.split('/').filter(p => p !== '')
    const found = this.find(parts.slice(0, -1).join('/'))
    if (found?.kind !== 'folder') throw systemError('ENOENT', path)
    return { folder: found, name: parts.at(-1) ?? '' }
  }
  private change(path: string, how: (entries: Map<string, Inode>, name: string) => void): void {
    const { folder: at, name } = this.above(path)
    how(at.entries, name)
    at.history.push(new Map(at.entries))
  }

  async open(path: string, how: 'r' | 'r+' | 'wx'): Promise<OpenFile> {
    await this.called({ what: how === 'wx' ? 'open' : 'read', path })
    let found = this.find(path)
    if (how === 'wx') {
      if (found !== undefined) throw systemError('EEXIST', 'open')
      const made: File = { kind: 'file', data: Buffer.alloc(0), synced: Buffer.alloc(0) }
      this.change(path, (entries, name) => entries.set(name, made))
      found = made
    }
    if (found?.kind !== 'file') throw systemError(found === undefined ? 'ENOENT' : 'EISDIR', 'open')
    const file = found
    const grow = (size: number): void => { if (size > file.data.length) file.data = Buffer.concat([file.data, Buffer.alloc(size - file.data.length)]) }
    return {
      read: async (into, at) => {
        await this.called({ what: 'read', path })
        return file.data.copy(into, 0, at, at + into.byteLength)
      },
      write: async (bytes, at) => {
        await this.called({ what: 'write', path })
        let length = Math.min(bytes.byteLength, this.longestWrite)
        if (this.room !== undefined) {
          if (this.room === 0) throw systemError('ENOSPC', 'write')
          length = Math.min(length, this.room)
          this.room -= length
        }
        grow(at + length)
        // Its own memory, as the disk's is.
        file.data.set(bytes.subarray(0, length), at)
        return length
      },
      truncate: async size => {
        await this.called({ what: 'truncate', path })
        grow(size)
        file.data = Buffer.from(file.data.subarray(0, size))
      },
      sync: async () => {
        await this.called({ what: 'sync', path })
        file.synced = Buffer.from(file.data)
      },
      close: async () => {},
    }
  }

  async info(path: string): Promise<FileInfo | undefined> {
    const found = this.find(path)
    return found === undefined ? undefined : { kind: found.kind, size: found.kind === 'file' ? found.data.length : 0 }
  }
  async list(path: string): Promise<readonly string[]> {
    const found = this.find(path)
    if (found === undefined) throw systemError('ENOENT', 'scandir')
    if (found.kind !== 'folder') throw systemError('ENOTDIR', 'scandir')
    return [...found.entries.keys()]
  }
  async makeFolder(path: string): Promise<void> {
    await this.called({ what: 'makeFolder', path })
    if (this.find(path) !== undefined) throw systemError('EEXIST', 'mkdir')
    this.change(path, (entries, name) => entries.set(name, folder()))
  }
  async rename(from: string, to: string): Promise<void> {
    await this.called({ what: 'rename', path: from, to })
    const [moved, there] = [this.find(from), this.find(to)]
    if (moved === undefined) throw systemError('ENOENT', 'rename')
    if (there?.kind === 'folder' && there.entries.size > 0) throw systemError('ENOTEMPTY', 'rename')
    const [a, b] = [this.above(from), this.above(to)]
    // One change of one folder: a renaming is there as a whole or not at all.
    if (a.folder !== b.folder) throw systemError('EXDEV', 'rename')
    this.change(from, entries => {
      entries.delete(a.name)
      entries.set(b.name, moved)
    })
  }
  async removeFile(path: string): Promise<void> {
    await this.called({ what: 'removeFile', path })
    if (this.find(path)?.kind !== 'file') throw systemError('ENOENT', 'unlink')
    this.change(path, (entries, name) => entries.delete(name))
  }
  async removeFolder(path: string): Promise<void> {
    await this.called({ what: 'removeFolder', path })
    const found = this.find(path)
    if (found?.kind !== 'folder') throw systemError('ENOENT', 'rmdir')
    if (found.entries.size > 0) throw systemError('ENOTEMPTY', 'rmdir')
    this.change(path, (entries, name) => entries.delete(name))
  }
  async syncFolder(path: string): Promise<void> {
    await this.called({ what: 'syncFolder', path })
    const found = this.find(path)
    if (found?.kind !== 'folder') throw systemError('ENOENT', 'fsync')
    found.history = [new Map(found.entries)]
  }
  async free(): Promise<number | undefined> { return undefined }

  /** A file's bytes. */
  bytes(path: string): Buffer {
    const found = this.find(path)
    if (found?.kind !== 'file') throw systemError('ENOENT', path)
    return found.data
  }
  put(path: string, data: Uint8Array): void {
    this.change(path, (entries, name) => entries.set(name, { kind: 'file', data: Buffer.from(data), synced: Buffer.from(data) }))
  }
  /** All files, by path. */
  all(): Map<string, Buffer> {
    const found = new Map<string, Buffer>()
    const walk = (at: Folder, path: string): void => {
      for (const [name, inode] of at.entries) {
        if (inode.kind === 'folder') walk(inode, `${path}/${name}`)
        else found.set(`${path}/${name}`, inode.data)
      }
    }
    walk(this.root, '')
    return new Map([...found].sort(([a], [b]) => (a < b ? -1 : 1)))
  }

  /** The file system after a loss of power, or, where everything written is left, after the process was killed. */
  after({ unsyncedData, names }: Left): MemoryFiles {
    const copy = (inode: Inode): Inode => {
      if (inode.kind === 'file') {
        const data = Buffer.from(unsyncedData ? inode.data : inode.synced)
        return { kind: 'file', data, synced: data }
      }
      const state = inode.history[names(inode.history.length)] ?? inode.entries
      return folder(new Map([...state].map(([name, child]) => [name, copy(child)])))
    }
    const left = new MemoryFiles()
    left.root = copy(this.root) as Folder
    return left
  }
  copy(): MemoryFiles { return this.after({ unsyncedData: true, names: states => states - 1 }) }
}
