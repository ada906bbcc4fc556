/** Weights of few bits as a file has them: the arguments that stand for a model's parameters, and where their numbers are read. */
import { compare, loadArrays } from '../checkpoint/load.ts'
import { keptForms, keptShapes, keptSource, storedHalves } from '../checkpoint/kept.ts'
import { openWeights, type Source } from '../checkpoint/index.ts'
import { UsageError } from '../core/errors.ts'
import type { Naming } from '../core/naming.ts'
import { treeOps } from '../core/tree.ts'
import { barrier, leavesOf, mapTree, param, placementTrees, type AnyTensor, type Arrays, type Backend, type Mesh, type Placements, type Tree } from '../engine/index.ts'
import type { WritingModel } from '../models/index.ts'

const tensors = treeOps((x): x is AnyTensor => typeof x === 'object' && x !== null && 'node' in x, 'a tensor')

/**
 * The arguments that stand for a model's parameters where those that are contracted stay in 16 bits if their file has them so: products read them as they lie, and are the same.
 * @throws FileError where it is no file of weights
 */
export async function halvesKept(path: string, { params, quantized }: WritingModel, naming: Naming | undefined): Promise<Tree> {
  await using opened = await openWeights(path)
  const few = new Set(leavesOf(quantized(params, { bits: 8 })).map(l => l.path))
  const contracted = leavesOf(params).filter(({ path: name, leaf }) => leaf.dtype === 'f32' && few.has(`${name}.values`))
  const halves = storedHalves(opened, naming, contracted.map(({ path: name, leaf }) => ({ path: name, value: leaf })))
  return mapTree(params, (leaf, name) => param(name, leaf.shape, halves.get(name) ?? leaf.dtype))
}

/** The parameters that may be of few bits along their last dims, which is how files have them. */
function along({ params, quantized }: WritingModel): ReadonlySet<string> {
  // Of 4 bits the dim that is quantized is half as long.
  const few = new Map(leavesOf(quantized(params, { bits: 4, group: 1 })).map(l => [l.path, l.leaf.shape]))
  return new Set(leavesOf(params).filter(({ path, leaf }) => {
    const [last, halved] = [leaf.shape.at(-1), few.get(`${path}.values`)?.at(-1)]
    return last !== undefined && halved?.name === last.name && 2 * halved.size === last.size
  }).map(l => l.path))
}

export interface Kept extends AsyncDisposable {
  /** In place of the model's parameters: numbers and scales where the file has them, else the parameter. */
  readonly params: Tree
  /** What they hold. All processes call it. @throws FileError where the file lacks one */
  load<T extends Tree>(placements: Placements<T>, backend: Backend, mesh: Mesh): Promise<Arrays<T>>
}

/** Opens a file of which the weights are to stay as they are. @throws FileError where it is none, UsageError where it has no weights of few bits for the model */
export async function openKept(path: string, model: WritingModel, naming: Naming | undefined): Promise<Kept> {
  const opened = await openWeights(path)
  try {
    const parameters = leavesOf(model.params).map(({ path: name, leaf }) => ({ path: name, value: leaf }))
    const may = along(model)
    const forms = naming === undefined ? new Map<string, never>() : keptForms(opened, naming, parameters.filter(p => may.has(p.path)))
    if (naming === undefined || forms.size === 0) throw new UsageError({ code: 'nothing-to-keep', what: `${path} has no weights of few bits that could stay so`, fix: 'leave --weights out; or give int8 or int4, which whole weights become' })
    const params = tensors.map(model.params, (leaf, at) => {
      const form = forms.get(at)
      return form === undefined ? leaf : Object.fromEntries(Object.entries(keptShapes(form, leaf.shape)).map(([part, { shape, dtype }]) => [part, param(`${at}.${part}`, shape as never, dtype)]))
    }) as Tree
    const source: Source = await keptSource(opened, naming, parameters, forms)
    return {
      params,
      async load(placements, backend, mesh) {
        const wanted = placementTrees.flatten(placements).map(({ path: name, leaf }) => ({ path: name, value: leaf }))
        compare(path, wanted, source, { cast: true, refuse: { missing: true, unexpected: false } })
        const arrays = await loadArrays(source, wanted, backend, mesh)
        await barrier(backend.processes, 'reading weights')
        return placementTrees.rebuild(placements, arrays) as never
      },
      [Symbol.asyncDispose]: () => opened.close(),
    }
  } catch (e) {
    await opened.close()
    throw e
  }
}
