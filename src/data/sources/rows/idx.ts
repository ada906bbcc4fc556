/** IDX, the format of MNIST: a big-endian array with its type and its dims in front. */
import { fault } from '../faults.ts'
import type { ByteSource } from '../source.ts'
import { checkSize, elements, openArrays, type ArrayAt, type Written } from './array.ts'
import type { Rows } from './types.ts'

const kinds: { readonly [code: number]: Written } = {
  8: { dtype: 'u8', bytes: 1, big: true }, 9: { dtype: 'i8', bytes: 1, big: true }, 11: { dtype: 'i32', bytes: 2, big: true, widen: 'i16' },
  12: { dtype: 'i32', bytes: 4, big: true }, 13: { dtype: 'f32', bytes: 4, big: true }, 14: { dtype: 'f64', bytes: 8, big: true },
}

/**
 * Rows of one array in each file, compressed by gzip or not: `{ image: 'train-images-idx3-ubyte.gz', label: 'train-labels-idx1-ubyte.gz' }`.
 * @throws DataError when one is none, or they have different first dims.
 */
export async function openIdx<N extends string>(files: { readonly [C in N]: string }): Promise<Rows<N>> {
  return openArrays(files, idxAt)
}

/** The array that a file is. @throws DataError */
export async function idxAt(source: ByteSource, name: string): Promise<ArrayAt> {
  const size = source.size ?? 0
  const bad = (what: string) => fault({ code: 'bad-idx', what, at: name, fix: 'it is damaged or no IDX file: fetch it again' })
  const head = await source.read(0, Math.min(4, size))
  const written = kinds[head[2] ?? 0]
  const dims = head[3] ?? 0
  if (head.length < 4 || head[0] !== 0 || head[1] !== 0 || written === undefined) throw bad('it does not begin as IDX does')
  if (dims === 0 || dims > 8 || size < 4 + 4 * dims) throw bad(`it says it has ${dims} dims`)
  const sizes = await source.read(4, 4 + 4 * dims)
  const shape = Array.from({ length: dims }, (_, i) => sizes.readUInt32BE(4 * i))
  checkSize(name, size, 4 + 4 * dims, elements(shape, name) * written.bytes)
  return { source, from: 4 + 4 * dims, count: shape[0] ?? 0, shape: shape.slice(1), written }
}
