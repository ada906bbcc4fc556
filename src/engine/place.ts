/** Host data, laid over a mesh. */
import type { TypedArray } from '../core/dtype.ts'
import { localShape } from '../core/layout.ts'
import type { Mesh } from '../core/mesh.ts'
import type { Placement } from '../partition/local.ts'
import type { Backend, CallSite } from '../runtime/backend.ts'
import { devicesHere, MeshArray } from './array.ts'
import { blockOf, cut, type Block } from './blocks.ts'
import { collected } from './held.ts'
import { hostValues } from './host.ts'

/** Makes the host data of a part when asked, so that no process needs the whole. Row-major. */
export type Source = (block: Block) => TypedArray | Promise<TypedArray>

/**
 * Lays host data over the mesh: the whole array, row-major in the placement's shape, or what makes a part of it. Floats are rounded to
 * half precision where that is wanted.
 * @throws DimError where the data is not of the placement's dtype or has another number of elements
 */
export function place(backend: Backend, mesh: Mesh, placement: Placement, data: TypedArray | Source, what: string): Promise<MeshArray> {
  return lay(backend, mesh, placement, typeof data === 'function' ? data : hostValues(data, { ...placement, what }), what)
}

/** As `place`, of data that has been checked. */
export async function lay(backend: Backend, mesh: Mesh, placement: Placement, data: TypedArray | Source, what: string, at?: CallSite): Promise<MeshArray> {
  const { shape, dtype, sharding } = placement
  const partOn = async (device: number): Promise<TypedArray> => {
    if (typeof data !== 'function') return cut(data, dtype, shape, sharding, mesh, device)
    return hostValues(await data(blockOf(shape, sharding, mesh, device)), { dtype, shape: localShape(shape, sharding, mesh), what, at })
  }
  // Devices that hold the same part share what is made for it.
  const made = new Map<string, Promise<TypedArray>>()
  const puts = await Promise.allSettled(devicesHere(backend, mesh).map(async device => {
    const { sizes, starts } = blockOf(shape, sharding, mesh, device)
    const key = starts.join()
    const part = made.get(key) ?? partOn(device)
    made.set(key, part)
    return backend.put(await part, { shape: sizes, dtype }, device)
  }))
  const buffers = puts.flatMap(p => (p.status === 'fulfilled' ? [p.value] : []))
  const failed = puts.find(p => p.status === 'rejected')
  if (failed === undefined) {
    const array = new MeshArray(placement, mesh, backend, buffers)
    await collected()
    return array
  }
  for (const buffer of buffers) buffer.dispose()
  throw failed.reason
}
