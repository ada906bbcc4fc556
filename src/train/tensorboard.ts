/** Scalars in TensorBoard's event files: TFRecord frames around Event messages. */
import { mkdir, open, readdir } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire'
import { cannotWrite, isSystemError } from '../io/atomic.ts'

export interface EventFile extends AsyncDisposable {
  readonly path: string
  /** Notes one value; `wallTime` in seconds since 1970, now unless told. It is in the file after `flush`. */
  scalar(step: number, tag: string, value: number, wallTime?: number): void
  /** @throws FileError when the file cannot be written. */
  flush(): Promise<void>
  /** Flushes, to the disk; resolves to the file's length. */
  sync(): Promise<number>
  /** Takes back what was noted behind a length that `sync` gave. */
  cut(bytes: number): Promise<void>
  /** Flushes too. */
  close(): Promise<void>
}

/** How event files are called. */
export const prefix = 'events.out.tfevents.'

/**
 * The event file in `dir`, which is made where it is not there. With a length that is not 0, the file that is there goes on from it; TensorBoard, which reads a file
 * as it grows, sees each step once.
 * @throws FileError when it cannot be made.
 */
export async function openEventFile(dir: string, from = 0): Promise<EventFile> {
  const started = Date.now() / 1000
  const known = from === 0 ? undefined : (await readdir(dir).catch(() => [])).filter(name => name.startsWith(prefix)).sort()[0]
  const { path, file } = known === undefined ? await create(dir, `${prefix}${Math.floor(started)}.${hostname()}.${process.pid}`) : await reopen(join(dir, known), from)
  let pending: Uint8Array[] = known === undefined ? [frame(event(started, w => w.tag(3, WireType.LengthDelimited).string('brain.Event:2')))] : []
  let length = known === undefined ? 0 : (await file.stat()).size
  // One write after another, so that frames never interleave; a failure goes to whoever flushed, and the next flush may try again.
  let last = Promise.resolve()
  const failed = (cause: unknown): never => { throw isSystemError(cause) ? cannotWrite(path, cause) : cause }
  const flush = (): Promise<void> => {
    const bytes = Buffer.concat(pending)
    pending = []
    const write = last.then(async () => {
      if (bytes.length === 0) return
      await file.appendFile(bytes).catch(async (cause: unknown) => {
        // A disk that fills up first takes a part; what it did not take whole is for the next flush.
        await file.truncate(length).catch(() => undefined)
        pending = [bytes, ...pending]
        throw cause
      })
      length += bytes.length
    }).catch(failed)
    last = write.catch(() => undefined)
    return write
  }
  const close = async (): Promise<void> => {
    try {
      await flush()
    } finally {
      await file.close()
    }
  }
  return {
    path, flush, close, [Symbol.asyncDispose]: close,
    async sync() {
      await flush()
      await file.datasync().catch(failed)
      return length
    },
    async cut(bytes) {
      await last
      pending = []
      await file.truncate(bytes).catch(failed)
      length = bytes
    },
    scalar(step, tag, value, wallTime = Date.now() / 1000) {
      pending.push(frame(event(wallTime, w => {
        w.tag(2, WireType.Varint).int64(step)
        w.tag(5, WireType.LengthDelimited).fork() // summary
        w.tag(1, WireType.LengthDelimited).fork() // its only value
        // Rounded first: the writer refuses what no f32 holds, and a diverged loss must still be drawn.
        w.tag(1, WireType.LengthDelimited).string(tag).tag(2, WireType.Bit32).float(Math.fround(value)).join().join()
      })))
    },
  }
}

/** A file that is there, cut to a length. */
async function reopen(path: string, length: number) {
  try {
    const file = await open(path, 'a')
    await file.truncate(Math.min(length, (await file.stat()).size))
    return { path, file }
  } catch (cause) {
    throw isSystemError(cause) ? cannotWrite(path, cause) : cause
  }
}

async function create(dir: string, name: string) {
  try {
    await mkdir(dir, { recursive: true })
    for (let n = 0; ; n++) {
      const path = join(dir, `${name}.${n}`)
      try {
        return { path, file: await open(path, 'ax') }
      } catch (cause) {
        if (!isSystemError(cause) || cause.code !== 'EEXIST') throw cause
      }
    }
  } catch (cause) {
    throw isSystemError(cause) ? cannotWrite(join(dir, name), cause) : cause
  }
}

/** tensorflow.Event: 1 wall_time, 2 step, 3 file_version, 5 summary. */
function event(wallTime: number, fill: (writer: BinaryWriter) => void): Uint8Array {
  const writer = new BinaryWriter().tag(1, WireType.Bit64).double(wallTime)
  fill(writer)
  return writer.finish()
}

/** TFRecord: u64 length, its masked checksum, the data, their masked checksum; all little-endian. */
function frame(data: Uint8Array): Uint8Array {
  const out = new Uint8Array(data.length + 16)
  const view = new DataView(out.buffer)
  view.setBigUint64(0, BigInt(data.length), true)
  view.setUint32(8, masked(crc32c(out.subarray(0, 8))), true)
  out.set(data, 12)
  view.setUint32(12 + data.length, masked(crc32c(data)), true)
  return out
}

const masked = (crc: number): number => (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0

const crcTable = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte
  for (let bit = 0; bit < 8; bit++) crc = (crc & 1) === 0 ? crc >>> 1 : (crc >>> 1) ^ 0x82f63b78
  return crc
})

/** The Castagnoli polynomial; node:zlib has only the other one. */
export function crc32c(data: Uint8Array): number {
  let crc = 0xffffffff
  for (const byte of data) crc = (crc >>> 8) ^ (crcTable[(crc ^ byte) & 0xff] as number)
  return (crc ^ 0xffffffff) >>> 0
}
