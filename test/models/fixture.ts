/** What transformers computed of a small model, as `test/oracle/encoders.py` wrote it: the files' weights, what the model was given, logits, loss and gradients. */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect } from 'vitest'
import { mesh as meshOf } from '../../src/core/mesh.ts'
import { storedAs } from '../../src/core/naming.ts'
import { treeOps } from '../../src/core/tree.ts'
import { isTensor } from '../../src/graph/tensor.ts'
import type { Layout } from '../../src/core/layout.ts'
import { storedTensors, eachRun, type FileTensor } from '../../src/checkpoint/stored.ts'
import { compile, leavesOf, lossAndGrads, MeshArray, openBackend, type AnyTensor, type Given, type Key, type Tensor, type Tree } from '../../src/engine/index.ts'
import type { Architecture, JsonObject } from '../../src/models/hugging-face/architecture.ts'
import type { AnyModel, Model } from '../../src/models/index.ts'
import { valuesOf, type Operand } from '../graph/support.ts'

interface Numbers { readonly shape: readonly number[]; readonly data: readonly number[] }
interface File {
  readonly config: JsonObject
  readonly seq: number
  readonly options: JsonObject
  readonly weights: { readonly [name: string]: Numbers }
  readonly given: { readonly [name: string]: Numbers }
  readonly results: { readonly [name: string]: readonly number[] }
  readonly gradients: { readonly [name: string]: readonly number[] }
}
export const fixtureFile = (name: string): File => JSON.parse(readFileSync(fileURLToPath(new URL(`fixtures/${name}.json`, import.meta.url)), 'utf8')) as File

const tensors = treeOps((x): x is AnyTensor => isTensor(x), 'a tensor')
const arrays = treeOps((x): x is MeshArray => x instanceof MeshArray, 'an array')

/** How far two lists are apart, over the largest of the second. */
const apart = (found: ArrayLike<number>, wanted: readonly number[]): number =>
  wanted.reduce((most, x, i) => Math.max(most, Math.abs(x - (found[i] ?? NaN)) || (Number.isNaN(found[i]) ? Infinity : 0)), 0) / Math.max(1e-3, ...wanted.map(Math.abs))

type Judged = {
  readonly logits: (model: never) => AnyTensor
  readonly called?: string
  /** How far results may be apart: f64's rounding unless said. */
  readonly within?: number
}
export interface Fixture {
  readonly file: File
  readonly model: AnyModel
  readonly stored: readonly FileTensor[]
  /** Holds logits, loss and gradients to the file by the reference evaluator, in f64. */
  readonly exactly: (judged: Judged) => void
  /** The same on pretend devices, in f32: the loss and the gradients, relative to their largest. */
  readonly onMesh: (sizes: { readonly batch: number; readonly model: number }, layout: Layout) => Promise<number>
}

/** The model that the file's config.json says, for what the file gives it. */
export function fixture<C, I, M extends AnyModel>(name: string, there: Architecture<C, I, M>, key?: Key): Fixture {
  const file = fixtureFile(name)
  const configured = there.kind({ ...there.fromConfig(file.config, { seq: file.seq }), ...file.options } as I)
  const model = configured.build({ batch: 4 }) as AnyModel & Pick<Model<Tree, Tree>, 'loss'>
  const leaves = leavesOf(model.params)
  const stored = storedTensors(there.names(configured.config), leaves.map(({ path, leaf }) => ({ path, value: leaf })))
  const nameIn = (whole: string): string => {
    const { prefix = '' } = there.names(configured.config)
    return whole in file.weights || !whole.startsWith(prefix) ? whole : whole.slice(prefix.length)
  }
  const values = new Map(leaves.map(({ path, leaf }) => [path, new Float64Array(leaf.shape.reduce((n, d) => n * d.size, 1)).fill(NaN)]))
  const eachPiece = (call: (path: string, at: number, tensor: string, from: number, length: number) => void): void => {
    for (const t of stored) for (const piece of t.pieces) eachRun(piece, 0, piece.count, (inPiece, inTensor, length) => { call(piece.path, piece.from + inPiece, nameIn(t.name), inTensor, length) })
  }
  for (const t of stored) expect(file.weights[nameIn(t.name)]?.shape, t.name).toEqual(t.axes.map(a => a.size))
  eachPiece((path, at, tensor, from, length) => { values.get(path)?.set(file.weights[tensor]?.data.slice(from, from + length) ?? [], at) })
  const dataOf = (path: string): Float64Array => values.get(path) ?? new Float64Array(0)
  const given = (path: string): readonly number[] => file.given[path]?.data ?? []
  const loss = (p: Tree, b: Tree) => lossAndGrads((q: Tree) => model.loss(q as never, b as never, key))(p)
  /** The largest error of the gradients by name, of those of the file. */
  const gradientErrors = (found: ReadonlyMap<string, ArrayLike<number>>): [string, number][] => {
    const joined = new Map<string, number[]>()
    eachPiece((path, at, tensor, from, length) => {
      const into = joined.get(tensor) ?? []
      joined.set(tensor, into)
      for (let i = 0; i < length; i++) into[from + i] = found.get(path)?.[at + i] ?? NaN
    })
    return [...joined].map(([tensor, data]): [string, number] => [tensor, apart(data, file.gradients[tensor] ?? [NaN])])
  }
  return {
    file, model, stored,
    exactly({ logits, called = 'logits', within = 1e-8 }) {
      const { value, grads, updates = {} } = loss(model.params, model.batch)
      const operands: Operand[] = [
        ...leaves.map(({ path, leaf }) => ({ tensor: leaf as Tensor<string>, data: dataOf(path) })),
        ...leavesOf(model.batch).map(({ path, leaf }) => ({ tensor: leaf as Tensor<string>, data: given(path) })),
      ]
      const [grad, kept] = [leavesOf(grads), leavesOf(updates)]
      const [foundLogits = [], foundLoss = [], ...rest] = valuesOf([logits(model as never), value, ...grad.map(g => g.leaf), ...kept.map(k => k.leaf)], operands)
      const foundGrads = rest.slice(0, grad.length)
      expect(apart(foundLogits, file.results[called] ?? [NaN]), called).toBeLessThan(within)
      expect(apart(foundLoss, file.results['loss'] ?? [NaN]), 'loss').toBeLessThan(within)
      const errors = gradientErrors(new Map(grad.map((g, i) => [g.path, foundGrads[i] ?? []])))
      expect(errors.filter(([, e]) => !(e < 10 * within))).toEqual([])
      expect(errors.length).toBeGreaterThan(10)
      const [names, wanted] = [there.names(configured.config).parameters, Object.keys(file.results).filter(name => name.includes('running_'))]
      expect(kept.map(k => storedAs(names[k.path] ?? '').name).sort()).toEqual(wanted.sort())
      for (const [i, { path }] of kept.entries()) expect(apart(rest[grad.length + i] ?? [], file.results[storedAs(names[path] ?? '').name] ?? [NaN]), path).toBeLessThan(within)
    },
    async onMesh(sizes, layout) {
      await using backend = await openBackend({ plugin: 'simulate', devices: sizes.batch * sizes.model })
      const program = await compile(loss, [model.params, model.batch] as const, { mesh: meshOf(sizes), layout, backend, dims: model.dims })
      const host = (tree: Tree, of: (path: string) => ArrayLike<number>): Given<Tree> =>
        tensors.map(tree, (leaf, path) => (leaf.dtype === 'i32' ? Int32Array : leaf.dtype === 'f32' ? Float32Array : Uint8Array).from(of(path))) as Given<Tree>
      const { value, grads, ...others } = await program(host(model.params, dataOf), host(model.batch, given))
      const found = new Map<string, ArrayLike<number>>()
      for (const { path, leaf } of arrays.flatten(grads)) {
        found.set(path, await leaf.read() as Float32Array)
        leaf.dispose()
      }
      const error = apart([await value.item()], file.results['loss'] ?? [NaN])
      for (const { leaf } of arrays.flatten([value, others])) leaf.dispose()
      program.dispose()
      return Math.max(error, ...gradientErrors(found).map(([, e]) => e))
    },
  }
}
