/** The safetensors format: a header in JSON, then every tensor's bytes. Read and written one tensor at a time. */
import { z } from 'zod'
import { writeAtomically } from '../io/atomic.ts'
import { disk, type Files } from '../io/files.ts'
import { openRanged, type Ranged } from '../io/ranged.ts'
import { dtypes, hostArray, type DType, type TypedArray } from '../core/dtype.ts'
import { DimError, FileError } from '../core/errors.ts'
import { didYouMean } from '../core/nearest.ts'

export interface HostTensor {
  readonly name: string
  readonly dtype: DType
  readonly shape: readonly number[]
  /** Row-major. As a function it is called when its turn comes, so that one tensor at a time is on the host. */
  readonly data: TypedArray | (() => TypedArray | Promise<TypedArray>)
}

export const elements = (shape: readonly number[]): number => shape.reduce((n, size) => n * size, 1)
export const bytesOf = (dtype: DType, shape: readonly number[]): number => elements(shape) * dtypes[dtype].bytes

// The order of Python's safetensors, which keeps every tensor aligned: equal tensors make equal files. Of one dtype, by the names' bytes.
const order: readonly DType[] = ['i64', 'f64', 'f32', 'u32', 'i32', 'bf16', 'f16', 'f8e4m3fn', 'f8e5m2', 'i8', 'u8', 'bool']
export const byName = (a: string, b: string): number => Buffer.compare(Buffer.from(a), Buffer.from(b))

export interface FileLayout<T> {
  /** What the file starts with. */
  readonly head: Uint8Array
  /** The tensors in the order in which they lie in the file, with the byte where each begins. */
  readonly places: readonly { readonly tensor: T; readonly begin: number }[]
  /** Bytes of the whole file. */
  readonly size: number
}

/**
 * Where everything lies in a file of these tensors: in the order of their dtypes, then of their names.
 * @throws DimError when two names are equal.
 */
export function layoutFile<T extends Omit<HostTensor, 'data'>>(tensors: Iterable<T>, metadata: Readonly<Record<string, string>> = {}): FileLayout<T> {
  const ordered = [...tensors].sort((a, b) => order.indexOf(a.dtype) - order.indexOf(b.dtype) || byName(a.name, b.name))
  const header = new Map<string, unknown>(Object.keys(metadata).length === 0 ? [] : [['__metadata__', metadata]])
  const begins: number[] = []
  let end = 0
  for (const { name, dtype, shape } of ordered) {
    if (header.has(name) || name === '__metadata__') {
      throw new DimError({ code: 'tensor-name', what: `safetensors: a second tensor is named "${name}"`, fix: 'rename one' })
    }
    begins.push(end)
    end += bytesOf(dtype, shape)
    header.set(name, { dtype: dtypes[dtype].safetensors, shape, data_offsets: [begins.at(-1), end] })
  }
  // A map, not an object: an object would order names that are numbers first.
  const json = Buffer.from(`{${[...header].map(([name, entry]) => `${JSON.stringify(name)}:${JSON.stringify(entry)}`).join(',')}}`)
  const head = Buffer.alloc(8 + Math.ceil(json.length / 8) * 8, ' ')
  head.writeBigUInt64LE(BigInt(head.length - 8))
  json.copy(head, 8)
  return { head, size: head.length + end, places: ordered.map((tensor, i) => ({ tensor, begin: head.length + (begins[i] ?? 0) })) }
}

/**
 * Writes a file that is whole or not there.
 * @throws FileError when it cannot be written; DimError when data do not fit their dtype and shape, or two names are equal.
 */
export async function writeSafetensors(
  path: string, tensors: Iterable<HostTensor>, metadata: Readonly<Record<string, string>> = {},
): Promise<void> {
  const { head, places } = layoutFile(tensors, metadata)
  await writeAtomically(path, async file => {
    await file.writeFile(head)
    for (const { tensor } of places) {
      const data = typeof tensor.data === 'function' ? await tensor.data() : tensor.data
      checkData(tensor, data)
      await file.writeFile(new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
    }
  })
}

function checkData({ name, dtype, shape }: HostTensor, data: TypedArray): void {
  const wanted = hostArray(dtype, 0).constructor.name
  if (data.constructor.name === wanted && data.length === elements(shape)) return
  throw new DimError({
    code: 'tensor-data', what: `safetensors: the data of "${name}" do not fit`,
    details: {
      wanted: `${wanted} of ${elements(shape)}, for ${dtype}[${shape.join(', ')}]`, given: `${data.constructor.name} of ${data.length}`,
    },
  })
}

export interface TensorEntry {
  /** Undefined where it is one that Meshwork does not have: it can be listed, not read. */
  readonly dtype: DType | undefined
  /** The dtype as the format writes it. */
  readonly tag: string
  readonly shape: readonly number[]
  /** Bytes from the end of the header. */
  readonly begin: number
  readonly end: number
}

export interface SafetensorsFile extends AsyncDisposable {
  readonly path: string
  readonly tensors: ReadonlyMap<string, TensorEntry>
  readonly metadata: ReadonlyMap<string, string>
  /** A tensor's elements, row-major. @throws FileError when there is none of that name, it is of a dtype that Meshwork does not have, or the file cannot be read. */
  read(name: string): Promise<TypedArray>
  /** `length` elements from `first` on. @throws the same */
  readPart(name: string, first: number, length: number): Promise<TypedArray>
  /** Fills `into` with a tensor's bytes from the `at`-th on. @throws the same */
  readInto(name: string, into: Uint8Array, at: number): Promise<void>
  close(): Promise<void>
}

/** What Python's safetensors takes at most. */
const largestHeader = 100_000_000

const size = z.int().nonnegative()
const entrySchema = z.object({ dtype: z.string(), shape: z.array(size), data_offsets: z.tuple([size, size]) })
const byTag = new Map(Object.entries(dtypes).map(([dtype, { safetensors }]) => [safetensors, dtype as DType]))
/** Bits of an element, of the format's dtypes that Meshwork does not have. */
const otherBits = new Map([
  ['F4', 4], ['F6_E2M3', 6], ['F6_E3M2', 6], ['F8_E5M2', 8], ['F8_E4M3', 8], ['F8_E8M0', 8], ['F8_E5M2FNUZ', 8], ['F8_E4M3FNUZ', 8],
  ['I16', 16], ['U16', 16], ['U64', 64], ['C64', 64],
])

const damaged = (path: string, reason: string, cause?: unknown): FileError => new FileError({
  code: 'safetensors', what: `${path} is not a safetensors file that can be read`, details: { reason },
  fix: 'write or copy it again: it is cut off, damaged or of another format', cause,
})

/**
 * Opens a file and checks its whole header, so that every `read` is of bytes that are there. Close it, or hold it with `await using`.
 * A tensor may be of a dtype that Meshwork does not have as long as it is not read.
 * @throws FileError when it is missing, no regular file, cut off or damaged.
 */
export const openSafetensors = async (path: string, files: Files = disk): Promise<SafetensorsFile> => readSafetensors(await openRanged(files, path))

/** The same of bytes that are read by ranges; it closes them. @throws FileError when they are cut off or damaged */
export async function readSafetensors(file: Ranged): Promise<SafetensorsFile> {
  const { path, size: total } = file
  try {
    if (total < 8) throw damaged(path, `${total} bytes are too few`)
    const length = Number(Buffer.from(await bytesFrom(file, 0, 8)).readBigUInt64LE())
    if (length > Math.min(total - 8, largestHeader)) throw damaged(path, `a header of ${length} bytes in a file of ${total}`)
    const start = 8 + length
    const header = parseHeader(path, await bytesFrom(file, 8, length))
    const tensors = new Map([...header.entries].map(([name, entry]) => [name, checkEntry(path, name, entry)]))
    checkRanges(path, tensors, total - start)
    const entryOf = (name: string): TensorEntry => {
      const entry = tensors.get(name)
      if (entry !== undefined) return entry
      throw new FileError({ code: 'no-such-tensor', what: `${path} has no tensor "${name}"`, fix: didYouMean(name, tensors.keys()) })
    }
    const readable = (name: string): TensorEntry & { readonly dtype: DType } => {
      const { dtype, ...entry } = entryOf(name)
      if (dtype !== undefined) return { dtype, ...entry }
      throw new FileError({ code: 'tensor-dtype', what: `${path}: "${name}" is of dtype ${entry.tag}, which cannot be read`, fix: `convert it to one of ${[...byTag.keys()].join(', ')}` })
    }
    const readPart = async (name: string, first: number, length: number): Promise<TypedArray> => {
      const { dtype, begin } = readable(name)
      const { bytes, view } = dtypes[dtype]
      return view(await bytesFrom(file, start + begin + first * bytes, length * bytes), 0, length)
    }
    return {
      path, tensors, metadata: header.metadata, readPart,
      read: async name => readPart(name, 0, elements(entryOf(name).shape)),
      readInto: async (name, into, at) => file.read(into, start + readable(name).begin + at),
      close: () => file.close(),
      [Symbol.asyncDispose]: () => file.close(),
    }
  } catch (error) {
    await file.close()
    throw error
  }
}

async function bytesFrom(file: Ranged, at: number, length: number): Promise<ArrayBuffer> {
  const bytes = new Uint8Array(length)
  await file.read(bytes, at)
  return bytes.buffer
}

type RawEntry = z.infer<typeof entrySchema>
interface Header { readonly metadata: ReadonlyMap<string, string>; readonly entries: ReadonlyMap<string, RawEntry> }

/** JSON objects are read into maps, since a tensor may have any name, also one that every object has (`__proto__`). */
function parseHeader(path: string, bytes: ArrayBuffer): Header {
  let json: unknown
  try {
    json = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch (cause) {
    throw damaged(path, 'its header is not JSON', cause)
  }
  const isObject = (x: unknown): x is object => typeof x === 'object' && x !== null && !Array.isArray(x)
  if (!isObject(json)) throw damaged(path, 'its header is no JSON object')
  const metadata = new Map<string, string>()
  const entries = new Map<string, RawEntry>()
  for (const [name, value] of Object.entries(json) as [string, unknown][]) {
    if (name !== '__metadata__') {
      const parsed = entrySchema.safeParse(value)
      const issue = parsed.error?.issues[0]
      if (parsed.data === undefined) throw damaged(path, `its header: ${[name, ...issue?.path ?? []].join('.')}: ${issue?.message}`)
      entries.set(name, parsed.data)
    } else if (value !== null) {
      if (!isObject(value)) throw damaged(path, 'its header: __metadata__ is no object')
      for (const [key, text] of Object.entries(value) as [string, unknown][]) {
        if (typeof text !== 'string') throw damaged(path, `its header: __metadata__.${key} is no text`)
        metadata.set(key, text)
      }
    }
  }
  return { metadata, entries }
}

function checkEntry(path: string, name: string, { dtype: tag, shape, data_offsets: [begin, end] }: RawEntry): TensorEntry {
  const dtype = byTag.get(tag)
  const bits = dtype === undefined ? otherBits.get(tag) : 8 * dtypes[dtype].bytes
  // For a dtype that was added to the format later, only the place of the tensor can be checked.
  const wanted = bits === undefined ? end - begin : shape.includes(0) ? 0 : elements(shape) * bits / 8
  if (end < begin) throw damaged(path, `"${name}" ends at byte ${end}, before it begins at ${begin}`)
  if (end - begin !== wanted) throw damaged(path, `"${name}": ${tag}[${shape.join(', ')}] takes ${wanted} bytes, not ${end - begin}`)
  return { dtype, tag, shape, begin, end }
}

/** As the format has it, tensors fill the rest of the file with no gap and no overlap. */
function checkRanges(path: string, tensors: ReadonlyMap<string, TensorEntry>, total: number): void {
  let at = 0
  for (const [name, { begin, end }] of [...tensors].sort(([, a], [, b]) => a.begin - b.begin || a.end - b.end)) {
    if (end > total) throw damaged(path, `"${name}" ends at byte ${end} of ${total}`)
    if (begin < at) throw damaged(path, `"${name}" overlaps the tensor before it`)
    if (begin > at) throw damaged(path, `${begin - at} bytes before "${name}" belong to no tensor`)
    at = end
  }
  if (at !== total) throw damaged(path, `${total - at} bytes at the end belong to no tensor`)
}
