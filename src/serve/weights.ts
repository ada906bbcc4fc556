/** A model's weights, brought from files onto the devices of a mesh. */
import { FileError } from '../core/errors.ts'
import type { Mesh } from '../core/mesh.ts'
import type { Naming } from '../core/naming.ts'
import { treeOps, type TreeOps } from '../core/tree.ts'
import { loadInitial } from '../checkpoint/index.ts'
import { MeshArray, placementTrees, type Arrays, type Backend, type Placements, type Tree } from '../engine/index.ts'

/** Trees of arrays that lie over a mesh. */
export const arrayTrees: TreeOps<MeshArray> = treeOps((x): x is MeshArray => x instanceof MeshArray, 'an array')
export const free = (tree: unknown): void => { for (const { leaf } of arrayTrees.flatten(tree)) leaf.dispose() }

/** Where weights lie, and under which names. */
export interface Stored {
  /** A file, a folder in Hugging Face's layout. */
  readonly weights: string
  /** Under their paths unless given. */
  readonly naming?: Naming | undefined
}

/** The file's arrays, laid as a program wants them. All processes call it. @throws FileError that names what the file lacks */
export async function loadParams<T extends Tree>({ weights, naming }: Stored, placements: Placements<T>, backend: Backend, mesh: Mesh): Promise<Arrays<T>> {
  const wanted = placementTrees.flatten(placements).map(({ path, leaf }) => ({ path, value: leaf }))
  const { arrays: found, missing } = await loadInitial(weights, wanted, {}, backend, mesh, naming)
  if (missing.length === 0) return placementTrees.rebuild(placements, wanted.map(w => found.get(w.path))) as Arrays<T>
  free([...found.values()])
  throw new FileError({ code: 'tensors-differ', what: `${weights} lacks weights of the model`, details: { missing: missing.slice(0, 8).join(', ') }, fix: 'use the weights that belong to its config.json' })
}
