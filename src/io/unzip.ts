/** Takes files out of a zip, streaming: a wheel's library is 200 MB, and little else in it is wanted. */
import { createReadStream, createWriteStream } from 'node:fs'
import { mkdir, open, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { createInflateRaw } from 'node:zlib'

interface Entry { readonly name: string; readonly method: number; readonly compressed: number; readonly size: number; readonly header: number }

/** Writes the entry `name` of `zip` to `target`. */
export async function extract(zip: string, name: string, target: string, signal?: AbortSignal): Promise<void> {
  const entry = (await entriesOf(zip)).find(e => e.name === name)
  if (entry === undefined) throw new Error(`${zip} holds no ${name}`)
  await write(zip, entry, target, signal)
}

/** Writes the entries that `takes` says into a folder, below which they lie as in the zip; returns their names and sizes. */
export async function extractAll(zip: string, takes: (name: string) => boolean, folder: string, signal?: AbortSignal): Promise<{ readonly name: string; readonly size: number }[]> {
  const taken = (await entriesOf(zip)).filter(e => !e.name.endsWith('/') && takes(e.name))
  for (const entry of taken) {
    const parts = entry.name.split('/')
    if (entry.name.startsWith('/') || parts.includes('..')) throw new Error(`${zip} has an entry outside itself: ${entry.name}`)
    await mkdir(join(folder, ...parts.slice(0, -1)), { recursive: true })
    await write(zip, entry, join(folder, ...parts), signal)
  }
  return taken
}

async function write(zip: string, entry: Entry, target: string, signal?: AbortSignal): Promise<void> {
  const { name } = entry
  const start = await dataStart(zip, entry)
  const source = createReadStream(zip, { start, end: start + entry.compressed - 1 })
  const sink = createWriteStream(target, { mode: 0o755, flush: true })
  const options = signal === undefined ? {} : { signal }
  if (entry.method === 8) await pipeline(source, createInflateRaw(), sink, options)
  else if (entry.method === 0) await pipeline(source, sink, options)
  else throw new Error(`${name} is compressed with method ${entry.method}`)
  if (sink.bytesWritten !== entry.size) throw new Error(`${name} unpacked to ${sink.bytesWritten} bytes, ${entry.size} were announced`)
}

async function readAt(path: string, position: number, length: number): Promise<DataView> {
  const file = await open(path)
  try {
    const bytes = new Uint8Array(length)
    const { bytesRead } = await file.read(bytes, 0, length, position)
    return new DataView(bytes.buffer, 0, bytesRead)
  } finally {
    await file.close()
  }
}

const MAX_TAIL = 22 + 0xffff

/** What the central directory lists, which the end record points to. */
async function entriesOf(zip: string): Promise<Entry[]> {
  const { size } = await stat(zip)
  const tail = await readAt(zip, Math.max(0, size - MAX_TAIL), Math.min(size, MAX_TAIL))
  let end = tail.byteLength - 22
  while (end >= 0 && tail.getUint32(end, true) !== 0x06054b50) end--
  if (end < 0) throw new Error(`${zip} is no zip file`)
  const directory = await readAt(zip, tail.getUint32(end + 16, true), tail.getUint32(end + 12, true))
  const text = new TextDecoder()
  const found: Entry[] = []
  for (let at = 0; at + 46 <= directory.byteLength && directory.getUint32(at, true) === 0x02014b50;) {
    const nameLength = directory.getUint16(at + 28, true)
    found.push({
      name: text.decode(new Uint8Array(directory.buffer, at + 46, nameLength)), method: directory.getUint16(at + 10, true), compressed: directory.getUint32(at + 20, true),
      size: directory.getUint32(at + 24, true), header: directory.getUint32(at + 42, true),
    })
    at += 46 + nameLength + directory.getUint16(at + 30, true) + directory.getUint16(at + 32, true)
  }
  return found
}

/** The local header repeats the name, with extra fields of its own length. */
async function dataStart(zip: string, entry: Entry): Promise<number> {
  const header = await readAt(zip, entry.header, 30)
  return entry.header + 30 + header.getUint16(26, true) + header.getUint16(28, true)
}
