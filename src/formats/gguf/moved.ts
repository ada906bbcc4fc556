/** Tensors seen in another order or scale than they are stored in: how llama.cpp's files differ from Hugging Face's. All are read by ranges. */
import { dtypes, type DType } from '../../core/dtype.ts'
import { numbersOf, halvesOf } from '../../core/half-precision.ts'
import type { StoredTensor } from '../stored.ts'

const sizeOf = (dtype: DType | undefined): number => (dtype === undefined ? 1 : dtypes[dtype].bytes)
const rowBytes = ({ dtype, shape }: StoredTensor): number => shape.slice(1).reduce((n, size) => n * size, 1) * sizeOf(dtype)

/**
 * Rows of the first axis in another order within each run of `run` rows: row i of a run is the one that lies at `from(i)`. A run is read at once, and kept
 * until another is wanted, since devices may want columns of it piece by piece.
 */
export function reordered(tensor: StoredTensor, run: number, from: (row: number) => number): StoredTensor {
  const row = rowBytes(tensor)
  let kept: { readonly index: number; readonly bytes: Uint8Array } | undefined
  const runAt = async (index: number): Promise<Uint8Array> => {
    if (kept?.index === index) return kept.bytes
    const bytes = new Uint8Array(run * row)
    await tensor.read(bytes, index * bytes.length)
    kept = { index, bytes }
    return bytes
  }
  return {
    ...tensor,
    async read(into, at) {
      const end = at + into.byteLength
      for (let here = at; here < end;) {
        const line = Math.floor(here / row)
        const next = Math.min(end, (line + 1) * row)
        const bytes = await runAt(Math.floor(line / run))
        const begin = from(line % run) * row + here - line * row
        into.set(bytes.subarray(begin, begin + next - here), here - at)
        here = next
      }
    },
  }
}

/** Rotary heads with their pairs side by side, as llama.cpp has the Llama architecture's, seen with their halves one after the other, as Hugging Face has them. */
export const halved = (tensor: StoredTensor, head: number): StoredTensor => reordered(tensor, head, i => 2 * (i % (head / 2)) + Math.floor(i / (head / 2)))
/** The inverse of `halved`. */
export const interleaved = (tensor: StoredTensor, head: number): StoredTensor => reordered(tensor, head, i => (i % 2) * head / 2 + Math.floor(i / 2))

/** Every element `by` more, rounded to the dtype. */
export function shifted(tensor: StoredTensor, by: number): StoredTensor {
  const { dtype } = tensor
  if (dtype === undefined) return tensor
  const { bytes, view } = dtypes[dtype]
  return {
    ...tensor,
    async read(into, at) {
      const [from, to] = [Math.floor(at / bytes), Math.ceil((at + into.byteLength) / bytes)]
      const data = new Uint8Array((to - from) * bytes)
      await tensor.read(data, from * bytes)
      const moved = (numbersOf(view(data.buffer, 0, to - from), dtype) as Float32Array).map(x => x + by)
      const stored = dtype === 'f32' ? moved : halvesOf(moved, dtype as 'bf16' | 'f16')
      into.set(new Uint8Array(stored.buffer as ArrayBuffer).subarray(at - from * bytes, at - from * bytes + into.byteLength))
    },
  }
}

/** Bytes that turning a matrix over reads at once. */
const atOnce = 2 ** 22

/** A matrix with its two axes swapped; each read goes through the columns that it wants of all rows. */
export function transposed(tensor: StoredTensor): StoredTensor {
  const [rows = 1, columns = 1] = tensor.shape
  const size = sizeOf(tensor.dtype)
  return {
    ...tensor, shape: [columns, rows],
    async read(into, at) {
      const end = at + into.byteLength
      const [first, last] = [Math.floor(at / (rows * size)), Math.ceil(end / (rows * size))]
      const wanted = last - first
      // Where most of a row is wanted, many rows are read in one go.
      const whole = 4 * wanted >= columns
      const width = whole ? columns : wanted
      const perRead = whole ? Math.max(1, Math.floor(atOnce / (columns * size))) : 1
      for (let row = 0; row < rows; row += perRead) {
        const count = Math.min(perRead, rows - row)
        const bytes = new Uint8Array(count * width * size)
        await tensor.read(bytes, (row * columns + (whole ? 0 : first)) * size)
        for (let r = 0; r < count; r++) {
          for (let c = first; c < last; c++) {
            const to = (c * rows + row + r) * size - at
            const from = (r * width + c - (whole ? 0 : first)) * size
            for (let b = 0; b < size; b++) if (to + b >= 0 && to + b < into.byteLength) into[to + b] = bytes[from + b] as number
          }
        }
      }
    },
  }
}
