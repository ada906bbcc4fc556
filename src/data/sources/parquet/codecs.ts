/** Pages unpacked: never more bytes than the page's header says, and not those before the data says so too. */
import { decompress as unzstd } from 'fzstd'
import { compressors } from 'hyparquet-compressors'
import { brotliDecompressSync, gunzipSync } from 'node:zlib'
import { ZstdFrames } from '../zstd-frames.ts'
import { ParquetFault, varint } from './guard.ts'

type Unpack = (bytes: Uint8Array, size: number) => Uint8Array

const byLibrary = (name: 'SNAPPY' | 'LZ4' | 'LZ4_RAW'): Unpack => (bytes, size) => {
  const unpack = compressors[name]
  if (unpack === undefined) throw new ParquetFault(`pages are compressed by ${name}`)
  return unpack(bytes, size)
}
/** The most that a byte of LZ4 can stand for. */
const lz4Ratio = 255

const codecs: { readonly [name: string]: Unpack } = {
  UNCOMPRESSED: bytes => bytes,
  SNAPPY(bytes, size) {
    if (varint(bytes, 0)[0] !== size) throw new ParquetFault('a page says two sizes of itself')
    return byLibrary('SNAPPY')(bytes, size)
  },
  GZIP: (bytes, size) => gunzipSync(bytes, { maxOutputLength: Math.max(1, size) }),
  BROTLI: (bytes, size) => brotliDecompressSync(bytes, { maxOutputLength: Math.max(1, size) }),
  ZSTD(bytes, size) {
    const frames = new ZstdFrames()
    frames.push(bytes)
    if (frames.content !== undefined && frames.content !== size) throw new ParquetFault('a page says two sizes of itself')
    // Where the frames say what they unpack to, the library allocates that; else it must not be left to.
    return frames.content === undefined ? unzstd(bytes, new Uint8Array(size)) : unzstd(bytes)
  },
  LZ4(bytes, size) {
    if (size > (bytes.length + 1) * lz4Ratio) throw new ParquetFault('a page says two sizes of itself')
    return byLibrary('LZ4')(bytes, size)
  },
  LZ4_RAW(bytes, size) {
    if (size > (bytes.length + 1) * lz4Ratio) throw new ParquetFault('a page says two sizes of itself')
    return byLibrary('LZ4_RAW')(bytes, size)
  },
}

/** A copy of its own: what reads values looks beyond a view's end. @throws ParquetFault, or what the codec throws. */
export function unpacked(bytes: Uint8Array, codec: string, size: number): Buffer {
  const unpack = codecs[codec]
  if (unpack === undefined) throw new ParquetFault(`pages are compressed by ${codec}, which is not read`)
  const page = size === 0 ? new Uint8Array(0) : unpack(bytes, size)
  if (page.length !== size) throw new ParquetFault(`a page has ${page.length} bytes and says ${size}`)
  const own = page.byteOffset === 0 && page.byteLength === page.buffer.byteLength && codec !== 'UNCOMPRESSED' ? page : Uint8Array.from(page)
  return Buffer.from(own.buffer, 0, own.length)
}
