/**
 * Which tensor of a checkpoint lies where: weights in Hugging Face's layout (one `model.safetensors`, or several with an index), all other arrays in
 * files whose names no loader of weights takes for its own. Nothing of it depends on the mesh, the layout or the number of processes.
 */
import { names } from '../core/dim.ts'
import type { DType } from '../core/dtype.ts'
import { DimError } from '../core/errors.ts'
import type { MeshArray } from '../engine/index.ts'
import type { Group, TensorRecord } from './manifest.ts'
import { byName, bytesOf, layoutFile } from './safetensors.ts'

export interface Named<T> { readonly path: string; readonly value: T }

/** The first parts of the groups' file names. */
const stems: { readonly [G in Group]: string } = { weights: 'model', state: 'state' }
export const indexName = 'model.safetensors.index.json'

/** Bytes of tensors that a file holds at most, unless one tensor alone has more: what Hugging Face takes. */
export const defaultShard = 5e9

/** A part of a file that is the same for all: the head of a file of tensors, or all of a small one. */
export interface PlannedFile { readonly name: string; readonly size: number; readonly head: Uint8Array }
export interface PlannedTensor<A> { readonly array: A; /** The number of its file. */ readonly file: number; /** The byte where it begins. */ readonly begin: number }
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

type Entry = Shaped & { readonly array: MeshArray }

/** @throws DimError where two arrays of a group have one path */
export function planCheckpoint(groups: { readonly [G in Group]: readonly Named<MeshArray>[] }, limit: number = defaultShard): CheckpointPlan<MeshArray> {
  const files: PlannedFile[] = []
  const places: PlannedTensor<MeshArray>[] = []
  const tensors: TensorRecord[] = []
  for (const group of ['weights', 'state'] as const) {
    const paths = new Set<string>()
    for (const { path } of groups[group]) {
      if (paths.has(path)) throw new DimError({ code: 'tensor-name', what: `two arrays of a checkpoint's ${group} have the path "${path}"`, fix: 'rename one: a "." in a key reads as a step of the path' })
      paths.add(path)
    }
    const parts = shards(stems[group], groups[group].map(({ path, value }): Entry => ({ name: path, dtype: value.dtype, shape: value.shape.map(d => d.size), array: value })), limit)
    for (const { name, tensors: own } of parts) {
      const laid = layoutFile(own, metadataOf(own.map(t => ({ path: t.name, value: names(t.array.shape) }))))
      for (const { tensor, begin } of laid.places) {
        places.push({ array: tensor.array, file: files.length, begin })
        tensors.push({ group, path: tensor.name, dtype: tensor.dtype, dims: tensor.array.shape.map(d => ({ name: d.name, size: d.size })), file: name })
      }
      files.push({ name, size: laid.size, head: laid.head })
    }
    if (group === 'weights' && parts.length > 1) {
      const head = Buffer.from(indexOf(parts))
      files.push({ name: indexName, size: head.byteLength, head })
    }
  }
  return { files, places, tensors, size: files.reduce((n, f) => n + f.size, 0) }
}
