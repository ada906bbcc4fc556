/** Weights in files of another tool, seen under the paths of a model's own parameters: every read of a parameter is one of the ranges that it lies in. */
import { dtypes, isHalf } from '../core/dtype.ts'
import { FileError } from '../core/errors.ts'
import { isCopy, type Naming } from '../core/naming.ts'
import { widened } from './cast.ts'
import { chosen, readParts, type Stretch } from './load.ts'
import type { Named } from './plan.ts'
import type { Source, SourceTensor } from './source.ts'
import { eachRun, storedTensors, type Shaped, type StoredPiece, type FileTensor } from './stored.ts'

/** What is an error: tensors that the files lack, and tensors that they have and the model does not. */
export interface Refused { readonly missing: boolean; readonly unexpected: boolean }

/** Names that differ in one number, as one: `model.layers.{0-29}.mlp.up_proj.weight`. */
export function grouped(names: readonly string[]): string {
  const numbers = new Map<string, number[]>()
  for (const name of names) {
    const number = /(?<=\.)\d+(?=\.)/.exec(name)?.[0]
    const pattern = number === undefined ? name : name.replace(/(?<=\.)\d+(?=\.)/, '{}')
    numbers.set(pattern, [...numbers.get(pattern) ?? [], Number(number)])
  }
  const ranges = (all: readonly number[]): string => {
    const runs: [number, number][] = []
    for (const n of [...all].sort((a, b) => a - b)) {
      const last = runs.at(-1)
      if (last !== undefined && n === last[1] + 1) last[1] = n
      else runs.push([n, n])
    }
    return runs.map(([a, b]) => (a === b ? `${a}` : `${a}-${b}`)).join(',')
  }
  return [...numbers].map(([pattern, all]) => pattern.replace('{}', all.length === 1 ? `${all[0]}` : `{${ranges(all)}}`)).join(', ')
}

/**
 * `source` by the paths of `parameters`, with closing left to it. A parameter of which a tensor is missing is not there.
 * @throws FileError that names every tensor that is missing or left over, as far as they are refused, or of another shape, or that should hold zeros; DimError where the naming does not fit
 */
export async function renamed(source: Source, naming: Naming, parameters: readonly Named<Shaped>[], refuse: Refused): Promise<Source> {
  const { prefix = '' } = naming
  const whole = storedTensors(naming, parameters)
  const bare = prefix !== '' && ![...source.tensors.keys()].some(n => n.startsWith(prefix))
  const unprefixed = (name: string): string => (bare && name.startsWith(prefix) ? name.slice(prefix.length) : name)
  const nameIn = (name: string): string => (isCopy(naming, name) && !source.tensors.has(name) ? unprefixed(name.slice(naming.copies?.length)) : unprefixed(name))
  const stored = whole.map(t => ({ ...t, name: nameIn(t.name), there: source.tensors.get(nameIn(t.name)) }))
  checkNames(source, naming, stored, prefix, refuse)
  for (const { name, pieces, there } of stored) if (pieces.length === 0 && there !== undefined) await checkZeros(source.path, name, there)
  const tensors = new Map(parameters.flatMap(({ path, value }): [string, SourceTensor][] => {
    const own = stored.flatMap(t => t.pieces.filter(p => p.path === path).map(piece => ({ piece, tensor: t.there, name: t.name })))
    const [first] = own
    if (first?.tensor === undefined || own.some(o => o.tensor === undefined)) return []
    const mixed = own.some(o => o.tensor?.dtype !== first.tensor?.dtype)
    // Of a parameter whose tensors are of several floats, as the layers of a GGUF file may be, the widest that files have.
    const wide = mixed && own.every(o => o.tensor?.dtype === 'f32' || (o.tensor?.dtype !== undefined && isHalf(o.tensor.dtype)))
    const { dtype, tag } = wide ? { dtype: 'f32' as const, tag: 'F32' } : first.tensor
    const other = mixed && !wide ? own.find(o => o.tensor?.dtype !== dtype) : undefined
    if (other !== undefined) throw new FileError({ code: 'tensor-dtype', what: `${source.path}: ${first.name} is ${tag} and ${other.name} ${other.tensor?.tag}, and both are of one parameter`, fix: 'convert the weights to one dtype: meshwork checkpoint convert' })
    const gaps = own.reduce((n, o) => n + o.piece.count, 0) < value.shape.reduce((n, d) => n * d.size, 1)
    const parts = own.map(({ piece, tensor }) => ({ piece, tensor: wide ? widened(tensor as SourceTensor) : tensor as SourceTensor }))
    return [[path, { dtype, tag, shape: value.shape.map(d => d.size), dims: value.shape, read: (into, at) => { if (gaps) into.fill(0); return readPieces(parts, dtypes[dtype ?? value.dtype].bytes, into, at) } }]]
  }))
  return { path: source.path, tensors, close: () => source.close(), [Symbol.asyncDispose]: () => source.close() }
}

/** Weights by a model's own paths, whether they lie under them or under the names of other tools. @throws as `renamed` */
export async function byPaths(source: Source, naming: Naming | undefined, parameters: readonly Named<Shaped>[], refuse: Refused): Promise<Source> {
  return naming === undefined || parameters.some(p => source.tensors.has(p.path)) ? source : renamed(source, naming, parameters, refuse)
}

/** A copy and what it is a copy of may be one tensor. */
const unique = (names: readonly string[]): string[] => [...new Set(names)]

type Found = FileTensor & { readonly there: SourceTensor | undefined }

function checkNames(source: Source, naming: Naming, stored: readonly Found[], prefix: string, refuse: Refused): void {
  const known = new Set(stored.map(t => t.name))
  const isIdle = chosen({ only: naming.idle ?? [] })
  const missing = refuse.missing ? unique(stored.filter(t => t.there === undefined && t.pieces.length > 0).map(t => t.name)) : []
  const left = refuse.unexpected ? [...source.tensors.keys()].filter(n => !known.has(n) && !isIdle(n) && !isIdle(prefix + n)) : []
  const differ = unique(stored.flatMap(({ name, axes, there }) => (there === undefined || there.shape.join() === axes.map(a => a.size).join() ? [] : [`${name} is [${there.shape.join(', ')}], and [${axes.map(a => a.size).join(', ')}] is wanted`])))
  if (missing.length + left.length + differ.length === 0) return
  throw new FileError({
    code: 'tensors-differ', what: `${source.path} does not hold the weights of this model`,
    details: { ...missing.length > 0 ? { missing: grouped(missing) } : {}, ...left.length > 0 ? { 'left over': grouped(left) } : {}, ...differ.length > 0 ? { differs: differ.join('; ') } : {} },
    fix: 'use the weights that belong to its config.json',
  })
}

const chunk = 2 ** 20

async function checkZeros(path: string, name: string, tensor: SourceTensor): Promise<void> {
  const size = tensor.shape.reduce((n, s) => n * s, 1) * dtypes[tensor.dtype ?? 'f32'].bytes
  for (let at = 0; at < size; at += chunk) {
    const bytes = new Uint8Array(Math.min(chunk, size - at))
    await tensor.read(bytes, at)
    if (bytes.some(b => b !== 0)) throw new FileError({ code: 'not-zero', what: `${path}: ${name} holds numbers, and this model does not compute them`, fix: 'set the option of the model that has them' })
  }
}

async function readPieces(parts: readonly { readonly piece: StoredPiece; readonly tensor: SourceTensor }[], width: number, into: Uint8Array, at: number): Promise<void> {
  const end = at + into.byteLength
  for (const { piece: { path, from, count, run, stride, offset }, tensor } of parts) {
    const begin = from * width
    const [first, last] = [Math.max(at, begin), Math.min(end, begin + count * width)]
    if (first >= last) continue
    const wanted: Stretch[] = []
    const inBytes = { path, from: begin, count: count * width, run: run * width, stride: stride * width, offset: offset * width }
    eachRun(inBytes, first - begin, last - begin, (inPiece, inTensor, length) => { wanted.push({ part: into, global: inTensor, local: begin + inPiece - at, length }) })
    await readParts(tensor, wanted)
  }
}
