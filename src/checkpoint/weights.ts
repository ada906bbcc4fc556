/** Parameters over a mesh ↔ one safetensors file. */
import type { TypedArray } from '../core/dtype.ts'
import { FileError } from '../core/errors.ts'
import { names } from '../core/dim.ts'
import { place, type Backend, type Mesh, type MeshArray, type Placement } from '../engine/index.ts'
import { openSafetensors, writeSafetensors } from './safetensors.ts'

export interface Named<T> { readonly path: string; readonly value: T }

/** Writes the arrays under their paths, whole, whatever the mesh. The dims' names go into the metadata. */
export async function saveWeights(file: string, arrays: readonly Named<MeshArray>[]): Promise<void> {
  const tensors: { name: string; dtype: MeshArray['dtype']; shape: number[]; data: TypedArray }[] = []
  for (const { path, value } of arrays) {
    tensors.push({ name: path, dtype: value.dtype, shape: value.shape.map(d => d.size), data: await value.read() })
  }
  const dims = Object.fromEntries(arrays.map(({ path, value }) => [`dims.${path}`, names(value.shape).join(' ')]))
  await writeSafetensors(file, tensors, { format: 'meshwork', ...dims })
}

/** Reads arrays and lays them over the mesh. @throws FileError where one is missing or of another shape or dtype. */
export async function loadWeights(file: string, wanted: readonly Named<Placement>[], backend: Backend, mesh: Mesh): Promise<MeshArray[]> {
  const source = await openSafetensors(file)
  try {
    const arrays: MeshArray[] = []
    for (const { path, value } of wanted) {
      const entry = source.tensors.get(path)
      const shape = value.shape.map(d => d.size)
      if (entry === undefined || entry.dtype !== value.dtype || entry.shape.join() !== shape.join()) {
        throw new FileError({
          code: 'weights', what: `${file}: the weights do not fit the model at "${path}"`, fix: 'use the run folder that the weights were written in',
          details: { expected: `${value.dtype} [${shape.join(', ')}]`, found: entry === undefined ? 'nothing' : `${entry.dtype} [${entry.shape.join(', ')}]` },
        })
      }
      arrays.push(await place(backend, mesh, value, await source.read(path), path))
    }
    return arrays
  } finally {
    await source.close()
  }
}
