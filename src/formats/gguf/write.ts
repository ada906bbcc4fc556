/** Writes GGUF files, version 3: a file that is whole or not there, one stretch of a tensor at a time. */
import { dtypes, type DType } from '../../core/dtype.ts'
import { FileError } from '../../core/errors.ts'
import { numbersOf } from '../../core/half-precision.ts'
import { writeAtomically } from '../../io/atomic.ts'
import type { StoredTensor } from '../stored.ts'
import { encodings, type WrittenType } from './encode.ts'
import { numberKinds, valueTypes, type MetadataValue, type ScalarType, type ScalarValue } from './metadata.ts'

export interface WrittenTensor {
  readonly name: string
  readonly type: WrittenType
  /** Of floats; in Hugging Face's order of axes. */
  readonly tensor: StoredTensor
}

export interface WriteOptions {
  readonly onProgress?: ((doneBytes: number, totalBytes: number) => void) | undefined
  readonly signal?: AbortSignal | undefined
}

const alignment = 32
/** Elements that are read, encoded and written at once. */
const elementsAtOnce = 1 << 18

const u32 = (x: number): Buffer => { const b = Buffer.alloc(4); b.writeUInt32LE(x); return b }
const u64 = (x: number): Buffer => { const b = Buffer.alloc(8); b.writeBigUInt64LE(BigInt(x)); return b }
const text = (x: string): Buffer => { const bytes = Buffer.from(x); return Buffer.concat([u64(bytes.length), bytes]) }
const typeId = (type: ScalarType | 'array'): Buffer => u32(valueTypes.indexOf(type))

function scalar(type: ScalarType, value: ScalarValue): Buffer {
  if (type === 'string') return text(String(value))
  const { bytes, write } = numberKinds[type]
  const b = Buffer.alloc(bytes)
  write(b, value)
  return b
}

function valueBytes(value: MetadataValue): Buffer {
  if (value.type !== 'array') return Buffer.concat([typeId(value.type), scalar(value.type, value.value)])
  const head = [typeId('array'), typeId(value.of), u64(value.value.length)]
  const { value: items } = value
  return Buffer.concat([...head, ...ArrayBuffer.isView(items) ? [Buffer.from(items.buffer, items.byteOffset, items.byteLength)] : items.map(text)])
}

const elementsOf = (shape: readonly number[]): number => shape.reduce((n, size) => n * size, 1)
const aligned = (bytes: number): number => Math.ceil(bytes / alignment) * alignment

/** Bytes that a tensor takes in the file. @throws FileError where its rows are no whole blocks, or its elements no floats */
function sizeOf(path: string, { name, type, tensor: { dtype, shape, tag } }: WrittenTensor): number {
  const { elements, bytes } = encodings[type]
  if (dtype === undefined || dtypes[dtype].kind !== 'float') throw new FileError({ code: 'tensor-dtype', what: `${path}: "${name}" is of ${tag}, and GGUF's weights are floats`, fix: 'leave it out' })
  if (shape.length > 4) throw new FileError({ code: 'tensor-shape', what: `${path}: "${name}" has ${shape.length} axes; there may be 4`, fix: 'leave it out' })
  if ((shape.at(-1) ?? 1) % elements !== 0) throw new FileError({ code: 'tensor-shape', what: `${path}: ${type} has blocks of ${elements}, which do not divide the rows of "${name}", ${shape.at(-1)}`, fix: 'write it as F16' })
  return elementsOf(shape) / elements * bytes
}

/** @throws FileError where it cannot be written, or a tensor cannot be of the type that it is to be */
export async function writeGguf(path: string, metadata: Iterable<readonly [string, MetadataValue]>, tensors: readonly WrittenTensor[], { onProgress, signal }: WriteOptions = {}): Promise<{ readonly bytes: number }> {
  const values = [...metadata]
  const sizes = tensors.map(t => sizeOf(path, t))
  let offset = 0
  const entries = tensors.map(({ name, type, tensor: { shape } }, i) => {
    const entry = Buffer.concat([text(name), u32(shape.length), ...shape.toReversed().map(u64), u32(encodings[type].id), u64(offset)])
    offset += aligned(sizes[i] ?? 0)
    return entry
  })
  const head = Buffer.concat([Buffer.from('GGUF'), u32(3), u64(tensors.length), u64(values.length), ...values.flatMap(([key, value]) => [text(key), valueBytes(value)]), ...entries])
  const start = aligned(head.length)
  await writeAtomically(path, async file => {
    await file.writeFile(Buffer.concat([head, Buffer.alloc(start - head.length)]))
    let done = start
    for (const [i, written] of tensors.entries()) {
      for await (const bytes of encoded(written)) {
        signal?.throwIfAborted()
        await file.writeFile(bytes)
        done += bytes.length
        onProgress?.(done, start + offset)
      }
      const padding = aligned(sizes[i] ?? 0) - (sizes[i] ?? 0)
      await file.writeFile(Buffer.alloc(padding))
      done += padding
    }
  })
  return { bytes: start + offset }
}

async function* encoded({ type, tensor }: WrittenTensor): AsyncGenerator<Uint8Array> {
  const { elements, bytes, encode } = encodings[type]
  const dtype = tensor.dtype as DType
  const size = dtypes[dtype].bytes
  const total = elementsOf(tensor.shape)
  for (let from = 0; from < total; from += elementsAtOnce) {
    const count = Math.min(elementsAtOnce, total - from)
    const data = new Uint8Array(count * size)
    await tensor.read(data, from * size)
    const numbers = numbersOf(dtypes[dtype].view(data.buffer, 0, count), dtype)
    const into = new Uint8Array(count / elements * bytes)
    encode(numbers instanceof Float32Array ? numbers : Float32Array.from(numbers as Float64Array), into)
    yield into
  }
}
