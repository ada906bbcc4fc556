/** The collectives of a training step equal the closed form exactly: kind, axes, how often, how many elements. */
import { expect, test } from 'vitest'
import { sizeOf } from '../src/core/dim.ts'
import { mesh as meshOf, plan, type Layouts } from '../src/engine/index.ts'
import type { Collective } from '../src/partition/collectives.ts'
import { gpt, type Gpt, type GptConfig } from '../src/models/index.ts'
import { leavesOf } from '../src/engine/index.ts'
import { stateOf, trainStep } from '../src/train/program.ts'
import recipe from '../recipes/gpt-tiny.ts'

const batch = 16
const layout = { batch: 'batch', heads: 'model', hidden: 'model', vocab: 'model' }
const { rate, ...rest } = recipe.optimizer
const optimizer = { ...rest, peak: rate, steps: 100 }

function collectivesOf(config: GptConfig, b: number, m: number, more: Omit<Layouts, 'layout'> = {}): readonly Collective[] {
  const model = gpt(config, batch)
  const step = trainStep(model, { seed: 0, remat: 'contractions', optimizer })
  return plan(step, [stateOf(model), model.batch] as const, { mesh: meshOf({ batch: b, model: m }), layout, ...more, dims: model.dims }).collectives
}

/** `kind along axes: times × elements each`, sorted. */
const rows = (found: readonly Pick<Collective, 'kind' | 'axes' | 'count' | 'elements'>[]): string[] => {
  const counts = new Map<string, number>()
  for (const c of found) {
    const key = `${c.kind} along ${c.axes.join()}: ${c.elements} elements`
    counts.set(key, (counts.get(key) ?? 0) + c.count)
  }
  return [...counts].map(([key, n]) => `${key} × ${n}`).sort()
}
type Row = Pick<Collective, 'kind' | 'axes' | 'count' | 'elements'>
const allReduce = (axes: string, count: number, elements: number): Row => ({ kind: 'all-reduce', axes: axes.split(','), count, elements })

const splitOverModel = new Set(['heads', 'hidden', 'vocab'])
/** Elements of each parameter that one of `m` devices holds. */
const localParameters = (model: Gpt, m: number) => leavesOf(model.params).map(({ path, leaf }) => ({
  path, shape: leaf.shape, elements: sizeOf(leaf.shape) / (leaf.shape.some(d => splitOverModel.has(d.name)) ? m : 1),
}))

/** Design, part 3, for batch b × model m: T tokens a batch, width d, L layers. */
function closedForm(config: GptConfig, b: number, m: number): Row[] {
  const tokens = (batch * config.seq) / b
  const width = tokens * config.embed
  const tensorParallel = m === 1 ? [] : [
    // Two forward and two backward a layer; the embedding's rows; the cotangent of what the head reads.
    allReduce('model', 4 * config.layers + 2, width),
    // The loss: the largest logit, the sum of exponentials, the target's logit.
    allReduce('model', 3, tokens),
    // The norm of the gradient.
    allReduce('model', 1, 1),
  ]
  const dataParallel = b === 1 ? [] : [
    // Every parameter's gradient once a step, all layers of it together; and the loss.
    ...localParameters(gpt(config, batch), m).map(p => allReduce('batch', 1, p.elements)),
    allReduce('batch', 1, 1),
  ]
  return [...tensorParallel, ...dataParallel]
}

const meshes = [[1, 1], [2, 1], [1, 2], [2, 2], [4, 1], [1, 4], [2, 4]] as const
const configs = { 'gpt-tiny': recipe.model, 'with dropout, 3 layers': { ...recipe.model, layers: 3, dropout: 0.1, heads: 8, headDim: 16 } }

test.each(Object.entries(configs).flatMap(([name, config]) => meshes.map(([b, m]) => ({ name, config, b, m }))))('$name, batch $b × model $m', ({ config, b, m }) => {
  // Four heads are split over four devices at most.
  expect(rows(collectivesOf(config, b, m))).toEqual(rows(closedForm(config, b, m)))
})

test.each([2, 4])('FSDP over %i: parameters gathered where they are used, gradients reduce-scattered', b => {
  const config = recipe.model
  const held = localParameters(gpt(config, batch), 1)
  const resting = held.filter(p => p.shape.some(d => d.name === 'embed'))
  const layered = (p: { readonly path: string }): boolean => p.path.startsWith('blocks.')
  // The backward pass gathers again what it reads; the last bias is only added.
  const forward = resting.map((p): Row => ({ kind: 'all-gather', axes: ['batch'], count: layered(p) ? config.layers : 1, elements: p.elements / b / (layered(p) ? config.layers : 1) }))
  const backward = resting.filter(p => layered(p) && p.path !== 'blocks.downBias')
    .map((p): Row => ({ kind: 'all-gather', axes: ['batch'], count: config.layers, elements: p.elements / b / config.layers }))
  const gradients = held.map((p): Row => (resting.includes(p) ? { kind: 'reduce-scatter', axes: ['batch'], count: 1, elements: p.elements } : allReduce('batch', 1, p.elements)))
  // The loss, and the norm of gradients that are split.
  const scalars = [allReduce('batch', 2, 1)]
  expect(rows(collectivesOf(config, b, 1, { params: { embed: 'batch' } }))).toEqual(rows([...forward, ...backward, ...gradients, ...scalars]))
})

test.each([2, 4])('ZeRO-1 over %i: gradients reduce-scattered, new parameters gathered once', b => {
  const held = localParameters(gpt(recipe.model, batch), 1)
  const split = held.filter(p => p.shape.some(d => d.name === 'embed'))
  const expected = [
    ...split.flatMap((p): Row[] => [
      { kind: 'reduce-scatter', axes: ['batch'], count: 1, elements: p.elements }, { kind: 'all-gather', axes: ['batch'], count: 1, elements: p.elements / b },
    ]),
    ...held.filter(p => !split.includes(p)).map(p => allReduce('batch', 1, p.elements)),
    allReduce('batch', 2, 1),
  ]
  expect(rows(collectivesOf(recipe.model, b, 1, { state: { embed: 'batch' } }))).toEqual(rows(expected))
})
