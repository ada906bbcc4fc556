/** Arrays over a mesh from tensors in files, whatever mesh and layout they were written on: every process reads what its own devices hold. */
import { formatShape, sizeOf, type Dim } from '../core/dim.ts'
import { dtypes, type TypedArray } from '../core/dtype.ts'
import { FileError } from '../core/errors.ts'
import { localShape } from '../core/layout.ts'
import { wholePattern } from '../core/pattern.ts'
import { blockOf, place, stretches, type Backend, type Block, type Mesh, type MeshArray, type Placement } from '../engine/index.ts'
import { canCast, castHost, elementsOf } from './cast.ts'
import type { Named } from './plan.ts'
import type { Source, SourceTensor } from './source.ts'

/** How names of a file and of a model come together. */
export interface Fit {
  readonly loaded: readonly string[]
  /** Asked for, and not in the file. */
  readonly missing: readonly string[]
  /** In the file, and not asked for. */
  readonly unexpected: readonly string[]
}

/** Which names are meant: `*` stands for any characters. Everything where nothing is said. */
export interface Choice { readonly only?: readonly string[] | undefined; readonly except?: readonly string[] | undefined }

export function chosen({ only, except = [] }: Choice): (name: string) => boolean {
  const [yes, no] = [only?.map(wholePattern), except.map(wholePattern)]
  return name => (yes === undefined || yes.some(p => p.test(name))) && !no.some(p => p.test(name))
}

const some = (names: readonly string[]): string => `${names.slice(0, 8).join(', ')}${names.length > 8 ? `, and ${names.length - 8} more` : ''}`
const described = (dtype: string, dims: readonly Dim[] | undefined, shape: readonly number[]): string => `${dtype} ${dims === undefined ? `[${shape.join(', ')}]` : formatShape(dims)}`

/** What an array is, wherever it lies. */
type Asked = Pick<Placement, 'shape' | 'dtype'> & Partial<Placement>

/** What a tensor of a file has that an array does not take, in words; undefined where it fits. */
function misfit(path: string, { shape, dtype }: Asked, found: SourceTensor, cast: boolean): string | undefined {
  const sizes = shape.map(d => d.size).join()
  const sameDims = found.shape.join() === sizes && (found.dims === undefined || found.dims.map(d => d.name).join() === shape.map(d => d.name).join())
  const takes = found.dtype !== undefined && (cast ? canCast(found.dtype, dtype) : found.dtype === dtype)
  if (sameDims && takes) return undefined
  return `${path}: expected ${dtype} ${formatShape(shape)}, found ${described(found.dtype ?? found.tag, found.dims, found.shape)}`
}

export interface Expectation {
  /** Whether floats may be of another dtype than asked for. */
  readonly cast: boolean
  /** What is refused: names that the file lacks, and names that it has too many. */
  readonly refuse: { readonly missing: boolean; readonly unexpected: boolean }
  readonly choice?: Choice
}

/**
 * Compares names, dims and dtypes before anything is read.
 * @throws FileError that names what is missing, unexpected (where that is refused) or differs in dims or dtype
 */
export function compare(what: string, wanted: readonly Named<Asked>[], source: Source, { cast, refuse, choice = {} }: Expectation): Fit {
  const takes = chosen(choice)
  const asked = wanted.filter(w => takes(w.path))
  const known = new Set(wanted.map(w => w.path))
  const fit: Fit = {
    loaded: asked.filter(w => source.tensors.has(w.path)).map(w => w.path), missing: asked.filter(w => !source.tensors.has(w.path)).map(w => w.path),
    unexpected: [...source.tensors.keys()].filter(name => takes(name) && !known.has(name)),
  }
  const differs = asked.flatMap(({ path, value }) => {
    const found = source.tensors.get(path)
    return (found === undefined ? undefined : misfit(path, value, found, cast)) ?? []
  })
  const [missing, unexpected] = [refuse.missing ? fit.missing : [], refuse.unexpected ? fit.unexpected : []]
  if (differs.length + missing.length + unexpected.length === 0) return fit
  throw new FileError({
    code: 'tensors-differ', what: `${what} is not what is to be loaded`,
    details: {
      file: source.path, ...missing.length > 0 ? { missing: some(missing) } : {}, ...unexpected.length > 0 ? { unexpected: some(unexpected) } : {},
      ...differs.length > 0 ? { differs: differs.slice(0, 4).concat(differs.length > 4 ? [`and ${differs.length - 4} more`] : []).join('; ') } : {},
    },
    fix: 'use the model that it was written from',
  })
}

/** Bytes that are read at once: short stretches that lie close are read as one, with what is between them. */
const longestSpan = 4 * 2 ** 20
const widestGap = 2 ** 18

export interface Stretch { readonly part: Uint8Array; readonly global: number; readonly local: number; readonly length: number }
interface Span { readonly begin: number; end: number; readonly stretches: Stretch[] }

/** Reads the parts that devices hold, in bytes: each stretch of the tensor once, whoever shares it. */
export async function readParts(tensor: SourceTensor, wanted: readonly Stretch[]): Promise<void> {
  const spans: Span[] = []
  for (const stretch of [...wanted].sort((a, b) => a.global - b.global)) {
    const last = spans.at(-1)
    const end = stretch.global + stretch.length
    if (last !== undefined && stretch.global - last.end <= widestGap && end - last.begin <= longestSpan) {
      last.end = Math.max(last.end, end)
      last.stretches.push(stretch)
    } else spans.push({ begin: stretch.global, end, stretches: [stretch] })
  }
  let memory: Uint8Array | undefined
  for (const { begin, end, stretches: inside } of spans) {
    const [only] = inside
    if (inside.length === 1 && only !== undefined) {
      await tensor.read(only.part.subarray(only.local, only.local + only.length), only.global)
      continue
    }
    memory ??= new Uint8Array(longestSpan)
    const bytes = memory.subarray(0, end - begin)
    await tensor.read(bytes, begin)
    for (const { part, global, local, length } of inside) part.set(bytes.subarray(global - begin, global - begin + length), local)
  }
}

/** Elements that are read at once where they become another dtype. */
const castAtOnce = 2 ** 18

/** Fills `into` with a part of an array that a device holds. @throws FileError */
async function readPart(tensor: SourceTensor, { shape, dtype }: Placement, block: Block, into: TypedArray): Promise<void> {
  const stored = tensor.dtype ?? dtype
  const { bytes: width } = dtypes[stored]
  const runs: { readonly global: number; readonly local: number; readonly length: number }[] = []
  if (into.length === sizeOf(shape)) runs.push({ global: 0, local: 0, length: into.length })
  else stretches(shape, block, (global, local, length) => { runs.push({ global, local, length }) })
  /** Those elements from `first` to `end` that are to lie from byte 0 of `part` on. */
  const within = (part: Uint8Array, first: number, end: number, most: number): Stretch[] => runs.flatMap(({ global, local, length }) => {
    const found: Stretch[] = []
    for (let at = Math.max(local, first); at < Math.min(local + length, end); at += most) {
      found.push({ part, global: (global + at - local) * width, local: (at - first) * width, length: Math.min(most, local + length - at, end - at) * width })
    }
    return found
  })
  if (stored === dtype) {
    const part = new Uint8Array(into.buffer, into.byteOffset, into.byteLength)
    // A part may be longer than one span: then it is read in several, each into its place.
    await readParts(tensor, within(part, 0, into.length, runs.length === 1 ? into.length : longestSpan / width))
    return
  }
  const bytes = new Uint8Array(castAtOnce * width)
  for (let first = 0; first < into.length; first += castAtOnce) {
    const end = Math.min(first + castAtOnce, into.length)
    await readParts(tensor, within(bytes, first, end, castAtOnce))
    ;(into as Float32Array).set(castHost(elementsOf(bytes.subarray(0, (end - first) * width), stored), stored, dtype) as Float32Array, first)
  }
}

/** Bytes of the largest part that one device holds. */
const partBytes = ({ shape, dtype, sharding }: Placement, mesh: Mesh): number => sizeOf(localShape(shape, sharding, mesh)) * dtypes[dtype].bytes

/**
 * Those of `wanted` that the source has, in their order; what was laid out is freed where one fails. On the host is one part of one array at a time, as long as the largest of
 * them: beside a shorter one the next may be read while that one is copied to the devices.
 * @throws FileError
 */
export async function loadArrays(source: Source, wanted: readonly Named<Placement>[], backend: Backend, mesh: Mesh): Promise<MeshArray[]> {
  const found = wanted.flatMap(({ path, value }) => {
    const tensor = source.tensors.get(path)
    return tensor === undefined ? [] : [{ path, value, tensor, bytes: partBytes(value, mesh) }]
  })
  const devices = backend.addressable.filter(d => d < mesh.size)
  const memory = new ArrayBuffer(devices.length === 0 ? 0 : found.reduce((n, f) => Math.max(n, f.bytes), 0))
  const arrays: MeshArray[] = []
  let placing = Promise.resolve()
  let [taken, atEnd] = [0, false]
  try {
    for (const { path, value, tensor, bytes } of found) {
      // From the end of the memory where the one before lies at its beginning, and the other way round.
      const from = atEnd ? 0 : memory.byteLength - bytes - (memory.byteLength - bytes) % 64
      if (taken + bytes + 64 > memory.byteLength) await placing
      ;[taken, atEnd] = [bytes, !atEnd]
      const read = async (block: Block): Promise<TypedArray> => {
        const length = block.sizes.reduce((n, s) => n * s, 1)
        const data = dtypes[value.dtype].view(memory, from, length)
        await readPart(tensor, value, block, data)
        return data
      }
      const [first] = devices
      const begun = first === undefined ? undefined : blockOf(value.shape, value.sharding, mesh, first)
      const ahead = begun === undefined ? undefined : await read(begun)
      await placing
      placing = place(backend, mesh, value, block => (ahead !== undefined && block.starts.join() === begun?.starts.join() ? ahead : read(block)), path).then(array => { arrays.push(array) })
      // It is waited for behind the next one's reading.
      placing.catch(() => {})
    }
    await placing
    return arrays
  } catch (e) {
    await placing.catch(() => undefined)
    for (const array of arrays) array.dispose()
    throw e
  }
}
