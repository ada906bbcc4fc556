/** Host data, laid over a mesh. */
import type { TypedArray } from '../core/dtype.ts'
import { localShape } from '../core/layout.ts'
import type { Mesh } from '../core/mesh.ts'
import type { Placement } from '../partition/local.ts'
import type { Backend, CallSite, DeviceBuffer } from '../runtime/backend.ts'
import { devicesHere, MeshArray } from './array.ts'
import { blockOf, cut, type Block } from './blocks.ts'
import { collected } from './held.ts'
import { hostValues } from './host.ts'

/** Makes the host data of a part when asked, so that no process needs the whole: one part after another, the next when what it gave has been copied. Row-major. */
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
  const { shape, dtype, sharding, memory } = placement
  const partOn = async (device: number): Promise<TypedArray> => {
    if (typeof data !== 'function') return cut(data, dtype, shape, sharding, mesh, device)
    return hostValues(await data(blockOf(shape, sharding, mesh, device)), { dtype, shape: localShape(shape, sharding, mesh), what, at })
  }
  // Devices that hold the same part share what is made for it.
  const groups = new Map<string, { readonly device: number; readonly index: number }[]>()
  for (const [index, device] of devicesHere(backend, mesh).entries()) {
    const key = blockOf(shape, sharding, mesh, device).starts.join()
    groups.set(key, [...groups.get(key) ?? [], { device, index }])
  }
  const puts: PromiseSettledResult<DeviceBuffer>[] = []
  const laid = async (group: readonly { readonly device: number; readonly index: number }[]): Promise<void> => {
    const [first] = group
    const part = first === undefined ? undefined : partOn(first.device)
    const { sizes } = blockOf(shape, sharding, mesh, first?.device ?? 0)
    const done = await Promise.allSettled(group.map(async ({ device }) => backend.put(await (part ?? partOn(device)), { shape: sizes, dtype, ...(memory === undefined ? {} : { memory }) }, device)))
    group.forEach(({ index }, i) => { const put = done[i]; if (put !== undefined) puts[index] = put })
  }
  // What makes parts makes one at a time, when the one before has been copied.
  if (typeof data !== 'function') await Promise.all([...groups.values()].map(laid))
  else for (const group of groups.values()) if (!puts.some(p => p.status === 'rejected')) await laid(group)
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
