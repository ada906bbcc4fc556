/** Host data, laid over a mesh. */
import type { TypedArray } from '../core/dtype.ts'
import { localShape } from '../core/layout.ts'
import type { Mesh } from '../core/mesh.ts'
import type { Placement } from '../partition/local.ts'
import type { Backend, CallSite, DeviceBuffer, RestingType } from '../runtime/backend.ts'
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

/** A part, and the devices here that hold it, each with its place among those here: they share what is made for them. */
interface Group { readonly block: Block; readonly type: RestingType; readonly devices: readonly { readonly device: number; readonly index: number }[] }
interface Grouped { readonly backend: Backend; readonly mesh: Mesh; readonly groups: readonly Group[] }
/** Found once for what each step lays alike. */
const grouped = new WeakMap<Placement, Grouped>()

function groupsOf(backend: Backend, mesh: Mesh, placement: Placement): readonly Group[] {
  const known = grouped.get(placement)
  if (known?.backend === backend && known.mesh === mesh) return known.groups
  const found = new Map<string, Group & { readonly devices: { readonly device: number; readonly index: number }[] }>()
  const { dtype, memory } = placement
  for (const [index, device] of devicesHere(backend, mesh).entries()) {
    const block = blockOf(placement.shape, placement.sharding, mesh, device)
    const key = block.starts.join()
    const group = found.get(key)
    if (group === undefined) found.set(key, { block, type: { shape: block.sizes, dtype, ...(memory === undefined ? {} : { memory }) }, devices: [{ device, index }] })
    else group.devices.push({ device, index })
  }
  const groups = [...found.values()]
  grouped.set(placement, { backend, mesh, groups })
  return groups
}

/** As `place`, of data that has been checked. */
export async function lay(backend: Backend, mesh: Mesh, placement: Placement, data: TypedArray | Source, what: string, at?: CallSite): Promise<MeshArray> {
  const { shape, dtype, sharding } = placement
  const part = async (block: Block): Promise<TypedArray> => {
    if (typeof data !== 'function') return cut(data, dtype, shape, block)
    return hostValues(await data(block), { dtype, shape: localShape(shape, sharding, mesh), what, at })
  }
  const groups = groupsOf(backend, mesh, placement)
  const buffers: DeviceBuffer[] = []
  const failures: unknown[] = []
  const laid = async ({ block, type, devices }: Group): Promise<void> => {
    try {
      const values = await part(block)
      const done = await Promise.allSettled(devices.map(({ device }) => backend.put(values, type, device)))
      devices.forEach(({ index }, i) => {
        const put = done[i]
        if (put?.status === 'fulfilled') buffers[index] = put.value
        else failures.push(put?.reason)
      })
    } catch (reason) {
      failures.push(reason)
    }
  }
  // What makes parts makes one at a time, when the one before has been copied.
  if (typeof data !== 'function') await Promise.all(groups.map(laid))
  else for (const group of groups) if (failures.length === 0) await laid(group)
  if (failures.length === 0) {
    const array = new MeshArray(placement, mesh, backend, buffers)
    await collected()
    return array
  }
  // Some are missing.
  for (const buffer of Object.values(buffers)) buffer.dispose()
  throw failures[0]
}
