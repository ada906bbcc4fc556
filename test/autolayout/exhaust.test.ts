/** The solver against trying everything: where all layouts of a small model can be priced, none is quicker than what the search finds. */
import { expect, test } from 'vitest'
import { factorings, orders } from '../../src/autolayout/factors.ts'
import { searchLayouts } from '../../src/autolayout/search.ts'
import type { SearchGiven } from '../../src/autolayout/searcher.ts'
import { layoutsFor, type Option } from '../../src/autolayout/options.ts'
import { referenceOf } from '../../src/autolayout/reference.ts'
import { Tables } from '../../src/autolayout/tables.ts'
import { Tensors } from '../../src/autolayout/legal.ts'
import { mesh as meshOf } from '../../src/core/mesh.ts'
import { graphOf, type Tree } from '../../src/engine/index.ts'
import { knownMachine } from '../../src/machine/read.ts'
import { gptModel, mlp, type Model } from '../../src/models/index.ts'
import { checkGraph } from '../../src/partition/partition.ts'
import { stateOf, trainStep, type TrainState } from '../../src/train/program.ts'
import { adamwCosine } from '../../src/train/index.ts'
import { all } from '../support/depth.ts'

const config = { seed: 0, remat: 'nothing', optimizer: adamwCosine({ rate: 1e-3 }).build({ steps: 1 }) } as const
type Any = Model<Tree, Tree, string>
const traced = (model: Any) => {
  const args: [TrainState<Tree>, Tree] = [stateOf(model, config), model.batch]
  return graphOf(trainStep(model, config), args)
}
const subsets = <T>(list: readonly T[]): T[][] => list.reduce<T[][]>((found, x) => [...found, ...found.map(s => [...s, x])], [[]])

/** The least that any layout costs of those in which every axis splits any dims in computation, and any more at rest, parameters and slots or slots alone; and how many there are. */
function leastOf(model: Any, devices: number, machine: ReturnType<typeof knownMachine>): { readonly ms: number; readonly layouts: number } {
  const graph = traced(model)
  const dims = Object.values(model.dims)
  const uses = model.layouts
  const { runs, streamed } = referenceOf(graph, () => new Map(), uses)
  const tensors = new Tensors(graph, checkGraph(graph, meshOf({}), { layout: {}, ...(uses === undefined ? {} : { uses }) }, dims))
  const names = dims.map(d => d.name)
  const weights = graph.inputs.filter(n => n.attrs.role === 'params').flatMap(n => n.results.flatMap(r => r.shape.map(d => d.name)))
  const inWeights = names.filter(d => weights.includes(d))
  const options = subsets(names).flatMap(compute => subsets(inWeights.filter(d => !compute.includes(d))).flatMap((rest): Option[] =>
    (rest.length === 0 ? [{ compute, params: [], state: [], gradients: [], named: {} }] : [{ compute, params: rest, state: [], gradients: [], named: {} }, { compute, params: [], state: rest, gradients: [], named: {} }])))
  const ranks = new Map(options.map((o, i) => [o, i]))
  const rank = (o: Option): number => ranks.get(o) ?? 0
  const splits = ({ compute, params, state }: Option): readonly string[] => [...compute, ...params, ...state]
  let [ms, layouts] = [Infinity, 0]
  for (const factors of factorings(devices, 3)) {
    const sizes = factors.map((size, i) => ({ axis: 'xyz'.charAt(i), size }))
    const mesh = meshOf(Object.fromEntries(sizes.map(s => [s.axis, s.size])))
    const tables = new Tables({ graph, mesh, machine, runs, streamed })
    const legal = sizes.map(s => options.filter(option => tensors.wrong(layoutsFor([{ ...s, option }], uses), mesh) === undefined))
    let found: { readonly axis: string; readonly size: number; readonly option: Option }[][] = [[]]
    sizes.forEach((s, i) => { found = found.flatMap(choices => (legal[i] ?? []).map(option => [...choices, { ...s, option }])) })
    for (const choices of found) {
      // Two axes of one size that split no dim both, in the place of each other, are the same under other names.
      if (choices.some((c, i) => choices.slice(0, i).some(o => o.size === c.size && rank(o.option) > rank(c.option) && !splits(o.option).some(d => splits(c.option).includes(d))))) continue
      const its = layoutsFor(choices, uses)
      if (tensors.wrong(its, mesh) !== undefined) continue
      layouts++
      const laid = tables.lay(its)
      for (const order of orders(sizes)) ms = Math.min(ms, tables.price(laid, its, meshOf(Object.fromEntries(order.map(s => [s.axis, s.size])))).ms)
    }
  }
  return { ms, layouts }
}
function searchOf(model: Any, devices: number, machine: ReturnType<typeof knownMachine>): number {
  const graph = traced(model)
  const variant = { of: 'step', again: 'nothing', graph: () => graph, donations: () => new Map<number, number>(), refuses: () => undefined, worth: () => true }
  const given: SearchGiven<string> = { variants: [variant], devices, machine, dims: Object.values(model.dims), uses: model.layouts, memory: Infinity }
  const [best] = searchLayouts(given).candidates
  if (best === undefined) throw new Error('nothing was found')
  return best.cost.ms
}

const [h100, cpu] = [knownMachine('8xh100'), knownMachine('cpu-25gbe')]
const wide = mlp({ inputs: 16, hidden: 8192, outputs: 16 }, 8) as unknown as Any
const narrow = mlp({ inputs: 256, hidden: 256, outputs: 8 }, 4096) as unknown as Any
const square = mlp({ inputs: 2048, hidden: 2048, outputs: 2048 }, 64) as unknown as Any
const gpt = gptModel({ vocab: 256, seq: 16, layers: 1, embed: 64, heads: 8, headDim: 8, hidden: 256, dropout: 0 }).build({ batch: 8, precision: { params: 'f32', compute: 'f32' } }) as unknown as Any
const cases: readonly (readonly [name: string, model: Any, devices: number, machine: ReturnType<typeof knownMachine>])[] = [
  ['one with many examples on 4 devices', narrow, 4, h100],
  ...all ? [['a wide perceptron on 4', wide, 4, cpu], ['one with large weights on 4', square, 4, cpu], ['a wide perceptron on 8', wide, 8, h100], ['one with many examples on 8', narrow, 8, cpu], ['one with large weights on 8', square, 8, h100], ['a GPT on 2', gpt, 2, cpu]] as const : [],
]
test.each(cases)('no layout of %s is quicker than what is found', (_, model, devices, machine) => {
  const { ms, layouts } = leastOf(model, devices, machine)
  expect(layouts).toBeGreaterThan(100)
  expect(searchOf(model, devices, machine)).toBeLessThanOrEqual(ms * (1 + 1e-9))
})
