/** The collectives of a training step equal the closed form exactly: kind, axes, how often, how many elements. */
import { expect, test } from 'vitest'
import { sizeOf } from '../src/core/dim.ts'
import { mesh as meshOf, plan, type Layouts } from '../src/engine/index.ts'
import type { Collective } from '../src/partition/collectives.ts'
import { smallBytes } from '../src/partition/passes/merge.ts'
import { gpt, type Gpt, type GptConfig } from '../src/models/index.ts'
import { leavesOf } from '../src/engine/index.ts'
import { stateOf, trainStep } from '../src/train/program.ts'
import { fieldsOf, optimizerOf } from '../src/train/run.ts'
import recipe from '../recipes/gpt-tiny.ts'

const batch = 16
const layout = { batch: 'batch', heads: 'model', hidden: 'model', vocab: 'model' }
const optimizer = optimizerOf({ ...recipe, steps: 100 })
// The recipe's model.
const tiny = fieldsOf(recipe)['model'] as GptConfig

function collectivesOf(config: GptConfig, b: number, m: number, more: Omit<Layouts, 'layout'> = {}): readonly Collective[] {
  const model = gpt(config, batch)
  const step = trainStep(model, { seed: 0, remat: 'all-but-contractions', optimizer })
  return plan(step, [stateOf(model, { optimizer }), model.batch] as const, { mesh: meshOf({ batch: b, model: m }), layout, ...more, dims: model.dims }).collectives
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

const small = (p: { readonly elements: number }): boolean => 4 * p.elements <= smallBytes
const layered = (p: { readonly path: string }): boolean => p.path.startsWith('blocks.')

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
  const gradients = localParameters(gpt(config, batch), m)
  const loss = { elements: 1 }
  const once = (sums: readonly { readonly elements: number }[]): Row[] => (sums.length === 0 ? [] : [allReduce('batch', 1, sums.reduce((n, p) => n + p.elements, 0))])
  const dataParallel = b === 1 ? [] : [
    // Every parameter's gradient once a step, all layers of it together; and the loss. Small ones that are there at the same
    // time are one: those of the layers, and those of the last norm, with which the loss comes where no model axis delays it.
    ...gradients.filter(p => !small(p)).map(p => allReduce('batch', 1, p.elements)),
    ...once(gradients.filter(p => small(p) && layered(p))),
    ...once([...gradients.filter(p => small(p) && !layered(p)), ...m === 1 ? [loss] : []]),
    ...m === 1 ? [] : once([loss]),
  ]
  return [...tensorParallel, ...dataParallel]
}

/** The same with the residual stream split over `model` along the sequence (Megatron's sequence parallelism): each pair of all-reduces is an all-gather and a reduce-scatter. */
function sequenceParallel(config: GptConfig, b: number, m: number): Row[] {
  const tokens = (batch * config.seq) / b
  const width = tokens * config.embed
  const move = (kind: Row['kind'], count: number): Row => ({ kind, axes: ['model'], count, elements: kind === 'all-gather' ? width / m : width })
  const gradients = localParameters(gpt(config, batch), m)
  // What is applied to the device's own tokens gets its gradient from all devices; what is contracted between, from those along `batch`.
  const onStream = gradients.filter(p => p.shape.every(d => d.name === 'embed' || d.name === 'layers'))
  const positions = gradients.filter(p => p.path === 'positions').map(p => ({ ...p, elements: p.elements / m }))
  const others = gradients.filter(p => !onStream.includes(p) && p.path !== 'positions')
  const sum = (some: readonly { readonly elements: number }[]): number => some.reduce((n, p) => n + p.elements, 0)
  const along = b === 1 ? 'model' : 'batch,model'
  return [
    // Two forward and two backward a layer; around the embedding and the head.
    move('all-gather', 4 * config.layers + 2), move('reduce-scatter', 4 * config.layers + 2),
    allReduce('model', 3, tokens), allReduce('model', 1, 1),
    // The gradient of the positions, of which each device has those of its own tokens, is made whole.
    { kind: 'all-gather', axes: ['model'], count: 1, elements: sum(positions) },
    allReduce(along, 1, sum(onStream.filter(layered))), allReduce(along, 1, sum(onStream.filter(p => !layered(p)))),
    ...b === 1 ? [] : [
      ...[...others, ...positions].filter(p => !small(p)).map(p => allReduce('batch', 1, p.elements)),
      allReduce('batch', 1, sum([...others, ...positions].filter(small))), allReduce('batch', 1, 1),
    ],
  ]
}

const meshes = [[1, 1], [2, 1], [1, 2], [2, 2], [4, 1], [1, 4], [2, 4]] as const
const configs = { 'gpt-tiny': tiny, 'with dropout, 3 layers': { ...tiny, layers: 3, dropout: 0.1, heads: 8, headDim: 16 } }

test.each(Object.entries(configs).flatMap(([name, config]) => meshes.map(([b, m]) => ({ name, config, b, m }))))('$name, batch $b × model $m', ({ config, b, m }) => {
  // Four heads are split over four devices at most.
  expect(rows(collectivesOf(config, b, m))).toEqual(rows(closedForm(config, b, m)))
})

test.each(Object.entries(configs).flatMap(([name, config]) => [[1, 2], [2, 2], [2, 4]].map(([b = 1, m = 1]) => ({ name, config, b, m }))))('sequence parallel $name, batch $b × model $m', ({ config, b, m }) => {
  expect(rows(collectivesOf(config, b, m, { layouts: { residual: { from: 'compute', seq: 'model' } } }))).toEqual(rows(sequenceParallel(config, b, m)))
})

/** Small ones of a kind and a place as one; the others as they are. */
const rowsOf = (kind: Row['kind'], count: (p: Held) => number, elements: (p: Held) => number, held: readonly Held[], perTime: (p: Held) => number): Row[] => {
  const row = (n: number, times: number): Row => ({ kind, axes: ['batch'], count: times, elements: n })
  const isSmall = (p: Held): boolean => small({ elements: perTime(p) })
  const together = [true, false].flatMap(inLayers => {
    const some = held.filter(p => isSmall(p) && layered(p) === inLayers)
    const [first] = some
    return first === undefined ? [] : [row(some.reduce((n, p) => n + elements(p), 0), count(first))]
  })
  return [...held.filter(p => !isSmall(p)).map(p => row(elements(p), count(p))), ...together]
}
type Held = ReturnType<typeof localParameters>[number]
/** Gradients reduce-scattered: of a layer's in its turn what is worth a collective of its own, so that only one layer's are whole at once; the rest after the loop. */
const scattered = (held: readonly Held[], layers: number): Row[] => {
  const perTurn = (p: Held): number => p.elements / layers
  const inTurns = (p: Held): boolean => layered(p) && !small({ elements: perTurn(p) })
  return [
    ...held.filter(inTurns).map((p): Row => ({ kind: 'reduce-scatter', axes: ['batch'], count: layers, elements: perTurn(p) })),
    ...rowsOf('reduce-scatter', () => 1, p => p.elements, held.filter(p => !inTurns(p)), p => p.elements),
  ]
}

test.each([2, 4])('FSDP over %i: parameters gathered where they are used, gradients reduce-scattered', b => {
  const { layers } = tiny
  const held = localParameters(gpt(tiny, batch), 1)
  const resting = held.filter(p => p.shape.some(d => d.name === 'embed'))
  const times = (p: Held): number => (layered(p) ? layers : 1)
  const perTime = (p: Held): number => p.elements / times(p)
  const gathered = (some: readonly Held[]): Row[] => rowsOf('all-gather', times, p => perTime(p) / b, some, perTime)
  const expected = [
    ...gathered(resting),
    // The backward pass gathers again what it reads; the last bias is only added.
    ...gathered(resting.filter(p => layered(p) && p.path !== 'blocks.downBias')),
    ...scattered(resting, layers),
    ...rowsOf('all-reduce', () => 1, p => p.elements, held.filter(p => !resting.includes(p)), p => p.elements),
    // The loss, and the norm of gradients that are split.
    allReduce('batch', 2, 1),
  ]
  expect(rows(collectivesOf(tiny, b, 1, { params: { embed: 'batch' } }))).toEqual(rows(expected))
})

test.each([2, 4])('ZeRO-1 over %i: gradients reduce-scattered, new parameters gathered once', b => {
  const held = localParameters(gpt(tiny, batch), 1)
  const split = held.filter(p => p.shape.some(d => d.name === 'embed'))
  const whole = (p: Held): number => p.elements
  // New parameters are there at the same time, in layers or not.
  const small1 = split.filter(p => small({ elements: p.elements }))
  const expected = [
    ...scattered(split, tiny.layers),
    ...split.filter(p => !small1.includes(p)).map((p): Row => ({ kind: 'all-gather', axes: ['batch'], count: 1, elements: p.elements / b })),
    { kind: 'all-gather', axes: ['batch'], count: 1, elements: small1.reduce((n, p) => n + p.elements, 0) / b } as const,
    ...rowsOf('all-reduce', () => 1, whole, held.filter(p => !split.includes(p)), whole),
    allReduce('batch', 2, 1),
  ]
  expect(rows(collectivesOf(tiny, b, 1, { state: { embed: 'batch' } }))).toEqual(rows(expected))
})
