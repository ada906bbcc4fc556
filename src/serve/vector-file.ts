/** Vectors as files that other tools read: Parquet, JSONL, NumPy's .npy. They are read from a file of nothing but numbers, a stretch at a time. */
import { open, type FileHandle } from 'node:fs/promises'
import { extname } from 'node:path'
import { fileWriter, ParquetWriter } from 'hyparquet-writer'
import { UsageError } from '../core/errors.ts'
import { writeAtomically } from '../io/atomic.ts'

/** Vectors of f32, one after another. */
interface Vectors { readonly count: number; readonly size: number; stretch(from: number, to: number): Promise<Float32Array> }
type Write = (vectors: Vectors, file: FileHandle, path: string) => Promise<void>

const stretchBytes = 2 ** 22
async function* stretchesOf({ count, size, stretch }: Vectors, bytes = stretchBytes): AsyncGenerator<{ readonly from: number; readonly rows: readonly Float32Array[]; readonly data: Float32Array }> {
  const many = Math.max(1, Math.floor(bytes / (4 * size)))
  for (let from = 0; from < count; from += many) {
    const data = await stretch(from, Math.min(count, from + many))
    yield { from, data, rows: Array.from({ length: data.length / size }, (_, i) => data.subarray(i * size, (i + 1) * size)) }
  }
}

/** A column `vector`, lists of floats, in row groups of some megabytes. */
const parquet: Write = async (vectors, _, path) => {
  const schema = [
    { name: 'root', num_children: 1 },
    { name: 'vector', repetition_type: 'REQUIRED', num_children: 1, converted_type: 'LIST', logical_type: { type: 'LIST' } },
    { name: 'list', repetition_type: 'REPEATED', num_children: 1 },
    { name: 'element', type: 'FLOAT', repetition_type: 'REQUIRED' },
  ] as const
  // Floats of vectors are as good as random: there is nothing to compress, and no range of interest.
  const writer = new ParquetWriter({ writer: fileWriter(path), schema: [...schema], codec: 'UNCOMPRESSED', statistics: false, createdBy: 'meshwork' })
  for await (const { rows } of stretchesOf(vectors)) await writer.write({ columnData: [{ name: 'vector', data: rows.map(row => Array.from(row)), encoding: 'PLAIN' }], rowGroupSize: rows.length })
  await writer.finish()
}

/** `{"row":0,"vector":[…]}` a line; nine digits give each f32 back. */
const jsonl: Write = async (vectors, file) => {
  for await (const { from, rows } of stretchesOf(vectors, 2 ** 18)) await file.writeFile(rows.map((row, i) => `${JSON.stringify({ row: from + i, vector: Array.from(row, x => Number(x.toPrecision(9))) })}\n`).join(''))
}

/** Version 1.0: a header padded so that the numbers begin at a multiple of 64 bytes. */
const npy: Write = async (vectors, file) => {
  const header = `{'descr': '<f4', 'fortran_order': False, 'shape': (${vectors.count}, ${vectors.size}), }`
  const padded = header.padEnd(64 * Math.ceil((10 + header.length + 1) / 64) - 11)
  const head = Buffer.from(`\x93NUMPY\x01\x00\x00\x00${padded}\n`, 'latin1')
  head.writeUInt16LE(padded.length + 1, 8)
  await file.writeFile(head)
  for await (const { data } of stretchesOf(vectors)) await file.writeFile(new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
}

const writers: { readonly [ending: string]: Write } = { '.parquet': parquet, '.jsonl': jsonl, '.npy': npy }

/** How a file of a name is written. @throws UsageError where the name does not say */
export function requireVectorFile(path: string): void {
  if (Object.hasOwn(writers, extname(path))) return
  throw new UsageError({ code: 'output', what: `${path}: its ending says no format of vectors`, fix: `give one of ${Object.keys(writers).join(', ')}` })
}

/** Turns `count` vectors of `size` numbers, which lie in the file `from`, into a file of the format that its ending says: whole, or not there. @throws FileError */
export async function writeVectors(path: string, from: string, count: number, size: number): Promise<void> {
  const source = await open(from, 'r')
  try {
    const stretch = async (first: number, to: number): Promise<Float32Array> => {
      const data = new Float32Array((to - first) * size)
      const bytes = new Uint8Array(data.buffer)
      for (let done = 0; done < bytes.length;) {
        const { bytesRead } = await source.read(bytes, done, bytes.length - done, 4 * first * size + done)
        if (bytesRead === 0) throw new Error(`${from} ends at byte ${4 * first * size + done}`)
        done += bytesRead
      }
      return data
    }
    await writeAtomically(path, async (file, temporary) => { await writers[extname(path)]?.({ count, size, stretch }, file, temporary) })
  } finally {
    await source.close()
  }
}
