/** Arrays that lie otherwise than a program wants them: whether they do, and the way to where they are wanted. */
import { formatShape } from '../core/dim.ts'
import { DimError, type Site } from '../core/errors.ts'
import { formatMesh, sameMesh, type Mesh } from '../core/mesh.ts'
import type { Placement } from '../partition/local.ts'
import type { Backend } from '../runtime/backend.ts'
import { sameMemory, samePlacement, type MeshArray } from './array.ts'
import { blockOf, reordered } from './blocks.ts'
import { lay } from './place.ts'

/** Where an argument is wanted, and how errors speak of it. */
export interface Target { readonly backend: Backend; readonly mesh: Mesh; readonly placement: Placement; readonly what: string; readonly at: () => Site | undefined }

const describe = (p: Placement, mesh: Mesh): string =>
  `${p.dtype} ${formatShape(p.shape)}${[...p.sharding].map(([dim, axes]) => `, ${dim} → ${axes.join(', ')}`).join('')} on the mesh ${formatMesh(mesh)}`

/**
 * Whether the buffers of an array can be used as they are. Where it is of another mesh they can if each device holds what is wanted
 * there; else it is to be moved.
 * @throws DimError where it is another array than is wanted, lies otherwise on the same mesh, or would have to move between processes
 */
export function liesWell(array: MeshArray, { backend, mesh, placement, what, at }: Target): boolean {
  const here = array.backend === backend && sameMemory(array.placement, placement, backend.lowering)
  if (here && sameMesh(array.mesh, mesh) && samePlacement(array, placement)) return true
  const details = { expected: describe(placement, mesh), given: describe(array, array.mesh) }
  const dims = (p: Placement): string => p.shape.map(d => `${d.name}=${d.size}`).sort().join()
  if (array.dtype !== placement.dtype || dims(array) !== dims(placement)) {
    throw new DimError({ code: 'placement', what: `${what} is another array than the program expects`, details, fix: 'give one of the same dims and dtype', at: at() })
  }
  if (here && sameMesh(array.mesh, mesh)) {
    throw new DimError({ code: 'placement', what: `${what} lies otherwise than the program expects`, details, fix: 'compile both programs with one layout', at: at() })
  }
  const sameBlocks = here && array.mesh.size === mesh.size && formatShape(array.shape) === formatShape(placement.shape)
    && Array.from({ length: mesh.size }, (_, d) => d).every(d => blockText(array, array.mesh, d) === blockText(placement, mesh, d))
  if (sameBlocks) return true
  if (array.backend.processes.count > 1 || backend.processes.count > 1) {
    throw new DimError({
      code: 'other-mesh', what: `${what} lies on the mesh ${formatMesh(array.mesh)}, and the program is for the mesh ${formatMesh(mesh)}`, details,
      fix: 'compile both programs for one mesh; only within one process are arrays moved from one mesh to another', at: at(),
    })
  }
  return false
}

const blockText = ({ shape, sharding }: Placement, mesh: Mesh, device: number): string => {
  const { sizes, starts } = blockOf(shape, sharding, mesh, device)
  return `${sizes.join()} ${starts.join()}`
}

/** The same numbers where they are wanted, by way of the host. */
export async function moved(array: MeshArray, { backend, mesh, placement, what }: Target): Promise<MeshArray> {
  const data = await array.bits()
  return lay(backend, mesh, placement, reordered(data, array.dtype, array.shape, placement.shape), what)
}
