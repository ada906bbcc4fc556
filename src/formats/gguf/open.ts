/** GGUF files, versions 2 and 3 (ggml's docs/gguf.md): metadata and tensors, read by ranges; blocks are decoded as they are wanted. */
import { dtypes } from '../../core/dtype.ts'
import { FileError } from '../../core/errors.ts'
import { didYouMean } from '../../core/nearest.ts'
import { shown } from '../../core/shown.ts'
import { disk, type Files } from '../../io/files.ts'
import { openRanged, type Ranged } from '../../io/ranged.ts'
import { Cursor } from './cursor.ts'
import type { StoredTensor } from '../stored.ts'
import { decoded } from './decode.ts'
import { entryAt, nameAt, type Metadata, type MetadataValue } from './metadata.ts'
import { quantizedParts, type QuantizedParts } from './quantized.ts'
import { readableTypes, tensorTypes, type TensorType } from './types.ts'

export interface GgufTensor extends StoredTensor {
  /** Its whole numbers and scales as they are, for weights that stay quantized; undefined where it has none. */
  readonly quantized: QuantizedParts | undefined
}

export interface GgufFile extends AsyncDisposable {
  readonly path: string
  readonly version: number
  readonly metadata: Metadata
  readonly tensors: ReadonlyMap<string, GgufTensor>
  close(): Promise<void>
}

/** What a file may have of each: no model comes near, and what they take in memory is bounded by it. */
const [mostValues, mostTensors, mostAxes, largestAlignment] = [2 ** 12, 2 ** 14, 4, 2 ** 20]
/** What a tensor's entry takes at least: its name's length, number of axes, type, offset. */
const leastTensor = 8 + 4 + 4 + 8
/** The length of the key, the type, a value of one byte. */
const leastValue = 8 + 4 + 1

/**
 * Opens a file and checks all that stands before its tensors, so that every `read` is of bytes that are there. Close it, or hold it with `await using`.
 * A tensor may be of a type that is not read here as long as it is not read.
 * @throws FileError when it is missing, no regular file, cut off, damaged, or of another version
 */
export const openGguf = async (path: string, files: Files = disk): Promise<GgufFile> => readGguf(await openRanged(files, path))

/** The same of bytes that are read by ranges; it closes them. @throws FileError when they are cut off or damaged */
export async function readGguf(file: Ranged): Promise<GgufFile> {
  const { path } = file
  const refuse = (reason: string): FileError => new FileError({
    code: 'gguf', what: `${path} is not a GGUF file that can be read`, details: { reason }, fix: 'write or copy it again: it is cut off, damaged or of another format',
  })
  try {
    const cursor = new Cursor(file, refuse)
    const { version, values, count } = await headAt(cursor, refuse)
    const metadata = new Map<string, MetadataValue>()
    for (let i = 0; i < values; i++) {
      const [key, value] = await entryAt(cursor, i, refuse)
      if (metadata.has(key)) throw refuse(`it has two values of ${shown(key)}`)
      metadata.set(key, value)
    }
    const entries = new Map<string, Entry>()
    for (let i = 0; i < count; i++) {
      const [name, entry] = await tensorAt(cursor, i, refuse)
      if (entries.has(name)) throw refuse(`it has two tensors ${shown(name)}`)
      entries.set(name, entry)
    }
    const alignment = alignmentOf(metadata, refuse)
    const start = Math.ceil(cursor.at / alignment) * alignment
    checkPlaces(entries, file.size - start, alignment, refuse)
    const tensors = new Map([...entries].map(([name, entry]) => [name, tensorOf(file, name, start + entry.offset, entry)]))
    return { path, version, metadata, tensors, close: () => file.close(), [Symbol.asyncDispose]: () => file.close() }
  } catch (error) {
    await file.close()
    throw error
  }
}

type Refuse = (reason: string) => FileError

async function headAt(cursor: Cursor, refuse: Refuse): Promise<{ readonly version: number; readonly count: number; readonly values: number }> {
  await cursor.need(8, 'its head')
  const magic = cursor.take(4).toString('latin1')
  if (magic !== 'GGUF') throw refuse(/^gg(ml|mf|jt|la)$/.test([...magic].reverse().join('')) ? 'it is of the format before GGUF: convert it with a llama.cpp of August 2023' : 'it does not begin with "GGUF"')
  const version = await cursor.u32('its version')
  if (version !== 2 && version !== 3) {
    throw refuse(version === 1 ? 'it is of version 1 of the format, which files of a few days in August 2023 have' : [0x02000000, 0x03000000].includes(version) ? 'its numbers have their high bytes first: it was written for another kind of processor' : `it is of version ${version} of the format`)
  }
  const count = await cursor.count('the number of tensors', leastTensor)
  const values = await cursor.count('the number of values', leastValue)
  if (count > mostTensors) throw refuse(`it has ${count} tensors; there may be ${mostTensors}`)
  if (values > mostValues) throw refuse(`it has ${values} values; there may be ${mostValues}`)
  return { version, count, values }
}

interface Entry { readonly type: TensorType; readonly shape: readonly number[]; readonly offset: number; readonly bytes: number }

async function tensorAt(cursor: Cursor, nth: number, refuse: Refuse): Promise<readonly [string, Entry]> {
  const name = await nameAt(cursor, `the name of tensor ${nth}`, refuse)
  const what = `tensor ${shown(name)}`
  const axes = await cursor.u32(what)
  if (axes > mostAxes) throw refuse(`${what} has ${axes} axes; there may be ${mostAxes}`)
  await cursor.need(8 * axes + 12, what)
  const sizes = Array.from({ length: axes }, () => cursor.take(8).readBigUInt64LE())
  const id = cursor.take(4).readUInt32LE()
  const offset = cursor.take(8).readBigUInt64LE()
  const type = tensorTypes.get(id)
  if (type === undefined) throw refuse(`${what} is of a type ${id}, which is not known`)
  const elements = sizes.reduce((n, size) => n * size, 1n)
  if ((sizes[0] ?? 1n) % BigInt(type.elements) !== 0n) throw refuse(`${what} is of ${type.name}, in blocks of ${type.elements}, which do not divide its rows of ${sizes[0]}`)
  // Two axes may be absurd where a third is zero.
  const bytes = elements / BigInt(type.elements) * BigInt(type.bytes)
  if ([...sizes, elements, bytes, offset].some(x => x > BigInt(Number.MAX_SAFE_INTEGER))) throw refuse(`${what} has the size ${sizes.toReversed().join(' × ')} at ${offset}, more than any file holds`)
  return [name, { type, shape: sizes.toReversed().map(Number), offset: Number(offset), bytes: Number(bytes) }]
}

function alignmentOf(metadata: Metadata, refuse: Refuse): number {
  const found = metadata.get('general.alignment')
  if (found === undefined) return 32
  const { type, value } = found
  if (type !== 'u32' || typeof value !== 'number' || value < 8 || value > largestAlignment || value % 8 !== 0) throw refuse(`general.alignment is ${shown(value)}, no multiple of 8 up to ${largestAlignment}`)
  return value
}

/** Each tensor must lie in the file, at a multiple of the alignment, and not over another. */
function checkPlaces(entries: ReadonlyMap<string, Entry>, total: number, alignment: number, refuse: Refuse): void {
  let [end, before] = [0, '']
  for (const [name, { offset, bytes }] of [...entries].sort(([, a], [, b]) => a.offset - b.offset || a.bytes - b.bytes)) {
    if (offset % alignment !== 0) throw refuse(`tensor ${shown(name)} begins at byte ${offset} of the data, no multiple of ${alignment}`)
    if (offset + bytes > total) throw refuse(`tensor ${shown(name)} ends at byte ${offset + bytes} of the data, of which there are ${Math.max(0, total)}`)
    if (bytes > 0 && offset < end) throw refuse(`tensor ${shown(name)} lies over ${shown(before)}`)
    if (bytes > 0) [end, before] = [offset + bytes, name]
  }
}

function tensorOf(file: Ranged, name: string, start: number, { type, shape }: Entry): GgufTensor {
  const { dtype, blocks, name: tag } = type
  const elements = shape.reduce((n, size) => n * size, 1)
  const refuse = (): Promise<never> => Promise.reject(new FileError({
    code: 'tensor-dtype', what: `${file.path}: ${shown(name)} is of type ${tag}, which cannot be read`, fix: `convert it to one of ${readableTypes.join(', ')}, as llama.cpp's llama-quantize does`,
  }))
  const common = { dtype, tag, shape, dims: undefined }
  if (dtype === undefined) return { ...common, quantized: undefined, read: refuse }
  const bytes = elements * dtypes[dtype].bytes
  const within = (into: Uint8Array, at: number): void => {
    if (at < 0 || at + into.byteLength > bytes) throw new RangeError(`${file.path}: bytes ${at} to ${at + into.byteLength} of ${shown(name)}, which has ${bytes}`)
  }
  if (blocks === undefined) return { ...common, quantized: undefined, read: async (into, at) => { within(into, at); await file.read(into, start + at) } }
  const read = decoded(file, start, blocks)
  return { ...common, quantized: quantizedParts(file, start, blocks, shape), read: async (into, at) => { within(into, at); await read(into, at) } }
}

/** A file's tensor of a name. @throws FileError where there is none */
export function tensorIn({ path, tensors }: Pick<GgufFile, 'path' | 'tensors'>, name: string): GgufTensor {
  const found = tensors.get(name)
  if (found !== undefined) return found
  throw new FileError({ code: 'no-such-tensor', what: `${path} has no tensor "${name}"`, fix: didYouMean(name, tensors.keys()) })
}
