/**
 * Which tensor of a checkpoint lies where: weights in Hugging Face's layout (one `model.safetensors`, or several with an index), all other arrays in
 * files whose names no loader of weights takes for its own. Nothing of it depends on the mesh, the layout or the number of processes.
 */
import { names, sizeOf, type Dim } from '../core/dim.ts'
import { dtypes, type DType } from '../core/dtype.ts'
import { DimError } from '../core/errors.ts'
import type { Naming } from '../core/naming.ts'
import type { MeshArray } from '../engine/index.ts'
import type { Group, TensorRecord } from './manifest.ts'
import { byName, bytesOf, layoutFile } from './safetensors.ts'
import { storedTensors, type Named, type StoredPiece, type FileTensor } from './stored.ts'

export type { Named } from './stored.ts'

/** The first parts of the groups' file names. */
const stems: { readonly [G in Group]: string } = { weights: 'model', state: 'state' }
export const indexName = 'model.safetensors.index.json'

/** Bytes of tensors that a file holds at most, unless one tensor alone has more: what Hugging Face takes. */
export const defaultShard = 5e9

/** A part of a file that is the same for all: the head of a file of tensors, or all of a small one. */
export interface PlannedFile { readonly name: string; readonly size: number; readonly head: Uint8Array }
export interface PlannedTensor<A> { readonly array: A; readonly parts: readonly PlannedPart[] }
/** Where some of an array's bytes go: those of one tensor of a file. */
export interface PlannedPart {
  /** The number of its file. */
  readonly file: number
  /** The byte where the tensor begins, and how many it has. */
  readonly begin: number
  readonly size: number
  /** In bytes. */
  readonly piece: StoredPiece
}
export interface CheckpointPlan<A> {
  readonly files: readonly PlannedFile[]
  readonly places: readonly PlannedTensor<A>[]
  readonly tensors: readonly TensorRecord[]
  /** Bytes of all files. */
  readonly size: number
}

export interface Shaped { readonly name: string; readonly dtype: DType; readonly shape: readonly number[] }

/** Tensors, ordered by name, in files of at most `limit` bytes each; with their names. */
export function shards<T extends Shaped>(stem: string, tensors: readonly T[], limit: number): { readonly name: string; readonly tensors: readonly T[] }[] {
  const found: T[][] = []
  let room = 0
  for (const tensor of [...tensors].sort((a, b) => byName(a.name, b.name))) {
    const bytes = bytesOf(tensor.dtype, tensor.shape)
    if (found.length === 0 || bytes > room) {
      found.push([])
      room = limit
    }
    found.at(-1)?.push(tensor)
    room -= bytes
  }
  const number = (n: number): string => String(n).padStart(5, '0')
  return found.map((own, i) => ({ tensors: own, name: found.length === 1 ? `${stem}.safetensors` : `${stem}-${number(i + 1)}-of-${number(found.length)}.safetensors` }))
}

/** The text of the index of several files. */
export function indexOf(files: readonly { readonly name: string; readonly tensors: readonly Shaped[] }[]): string {
  const all = files.flatMap(f => f.tensors.map(t => ({ ...t, file: f.name }))).sort((a, b) => byName(a.name, b.name))
  const total = all.reduce((n, t) => n + bytesOf(t.dtype, t.shape), 0)
  return `{\n  "metadata": {\n    "total_size": ${total}\n  },\n  "weight_map": {\n${all.map(t => `    ${JSON.stringify(t.name)}: ${JSON.stringify(t.file)}`).join(',\n')}\n  }\n}\n`
}

/** What a file of tensors says of itself: `pt` is what Hugging Face's loaders insist on, and means no more than arrays in memory order. */
export const metadataOf = (dims: readonly Named<readonly string[]>[]): Readonly<Record<string, string>> =>
  ({ format: 'pt', ...Object.fromEntries([...dims].sort((a, b) => byName(a.path, b.path)).map(({ path, value }) => [`dims.${path}`, value.join(' ')])) })

type Entry = Shaped & { readonly axes: readonly Dim[]; readonly pieces: readonly StoredPiece[] }

/** Each array a tensor under its own path. */
const asTheyAre = (arrays: readonly Named<MeshArray>[]): FileTensor[] => arrays.map(({ path, value: { dtype, shape } }) => {
  const count = sizeOf(shape)
  return { name: path, dtype, axes: shape, pieces: [{ path, from: 0, count, run: count, stride: count, offset: 0 }] }
})

export interface Laid<A> {
  readonly files: readonly (PlannedFile & { readonly tensors: readonly (Shaped & { readonly axes: readonly Dim[] })[] })[]
  readonly places: readonly PlannedTensor<A>[]
}

/** Arrays in files of at most `limit` bytes each, numbered from `first` on; under the names of other tools where there is a naming. @throws DimError where it does not fit */
export function layOut(stem: string, arrays: readonly Named<MeshArray>[], limit: number, naming?: Naming, first = 0): Laid<MeshArray> {
  const stored = naming === undefined ? asTheyAre(arrays) : storedTensors(naming, arrays)
  const parts = new Map<string, PlannedPart[]>()
  const files = shards(stem, stored.map((t): Entry => ({ ...t, shape: t.axes.map(d => d.size) })), limit).map(({ name, tensors }, i) => {
    // Dims of tensors that are named as other tools do are theirs, and not said.
    const laid = layoutFile(tensors, metadataOf(naming === undefined ? tensors.map(t => ({ path: t.name, value: names(t.axes) })) : []))
    for (const { tensor, begin } of laid.places) {
      const width = dtypes[tensor.dtype].bytes
      for (const { path, from, count, run, stride, offset } of tensor.pieces) {
        const piece = { path, from: from * width, count: count * width, run: run * width, stride: stride * width, offset: offset * width }
        const own = parts.get(path) ?? []
        own.push({ file: first + i, begin, size: bytesOf(tensor.dtype, tensor.shape), piece })
        parts.set(path, own)
      }
    }
    return { name, size: laid.size, head: laid.head, tensors: laid.places.map(({ tensor: { name, dtype, shape, axes } }) => ({ name, dtype, shape, axes })) }
  })
  return { files, places: arrays.map(({ path, value }) => ({ array: value, parts: parts.get(path) ?? [] })) }
}

/** @throws DimError where two arrays of a group have one path, or the naming does not fit the weights */
export function planCheckpoint(groups: { readonly [G in Group]: readonly Named<MeshArray>[] }, limit: number = defaultShard, naming?: Naming): CheckpointPlan<MeshArray> {
  const files: PlannedFile[] = []
  const places: PlannedTensor<MeshArray>[] = []
  const tensors: TensorRecord[] = []
  for (const group of ['weights', 'state'] as const) {
    const paths = new Set<string>()
    for (const { path } of groups[group]) {
      if (paths.has(path)) throw new DimError({ code: 'tensor-name', what: `two arrays of a checkpoint's ${group} have the path "${path}"`, fix: 'rename one: a "." in a key reads as a step of the path' })
      paths.add(path)
    }
    const laid = layOut(stems[group], groups[group], limit, group === 'weights' ? naming : undefined, files.length)
    places.push(...laid.places)
    for (const { name, size, head, tensors: own } of laid.files) {
      files.push({ name, size, head })
      tensors.push(...own.map(t => ({ group, path: t.name, dtype: t.dtype, dims: t.axes.map(d => ({ name: d.name, size: d.size })), file: name })))
    }
    if (group === 'weights' && laid.files.length > 1) {
      const head = Buffer.from(indexOf(laid.files))
      files.push({ name: indexName, size: head.byteLength, head })
    }
  }
  return { files, places, tensors, size: files.reduce((n, f) => n + f.size, 0) }
}
