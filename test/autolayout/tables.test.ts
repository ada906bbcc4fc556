/** The search's tables against whole plans: on layouts drawn at random, senseless ones among them, operations, products and every collective are those of the plan, and so is what they take. */
import { expect, test } from 'vitest'
import { Tables } from '../../src/autolayout/tables.ts'
import { Tensors } from '../../src/autolayout/legal.ts'
import { mesh as meshOf, type Mesh } from '../../src/core/mesh.ts'
import type { Layouts } from '../../src/core/layout.ts'
import { groupOf } from '../../src/cost/collective.ts'
import { productFlops } from '../../src/cost/price.ts'
import { stepTime, workMs } from '../../src/cost/time.ts'
import { runsOf } from '../../src/cost/turns.ts'
import { workOf } from '../../src/cost/work.ts'
import { graphOf, type Tree } from '../../src/engine/index.ts'
import type { Node } from '../../src/graph/node.ts'
import { knownMachine } from '../../src/machine/read.ts'
import { convNetModel, gptModel, llamaModel, lstmModel, mlp, t5Model } from '../../src/models/index.ts'
import { collectives, type Collective } from '../../src/partition/collectives.ts'
import type { LocalBody } from '../../src/partition/local.ts'
import { checkGraph, partition } from '../../src/partition/partition.ts'
import { stateOf, trainStep, type TrainState } from '../../src/train/program.ts'
import { adamwCosine } from '../../src/train/index.ts'
import { models as ofBench } from '../../bench/layouts/models.ts'
import { modelOf } from '../../src/train/run.ts'
import { trainerConfig } from '../../src/train/session.ts'
import { all } from '../support/depth.ts'
import { draw } from '../support/values.ts'

const inFull = { params: 'f32', compute: 'f32' } as const
const decoder = { vocab: 64, seq: 16, layers: 2, embed: 32, headDim: 8, hidden: 64 } as const
type Remat = 'nothing' | 'all-but-contractions' | 'everything'
const models: { readonly [name: string]: { readonly built: unknown; readonly remat: Remat; readonly microbatches?: number; /** Stages are drawn, too, with their layers on one axis. */ readonly staged?: true; /** Beside those that are drawn. */ readonly also?: readonly { readonly mesh: number; readonly layouts: Layouts }[] } } = {
  gpt: {
    built: gptModel({ ...decoder, heads: 4 }).build({ batch: 8, precision: inFull }), remat: 'all-but-contractions',
    // What is attended to is summed, cut, and kept whole for the way back: it is no reduce-scatter.
    also: [{ mesh: 2, layouts: { layout: { vocab: ['a', 'b'], kvSeq: ['a'], headDim: ['b'] }, params: { headDim: ['a'] }, state: {} } }],
  },
  lstm: {
    built: lstmModel({ vocab: 64, seq: 16, layers: 1, embed: 32 }).build({ batch: 8, precision: inFull }), remat: 'all-but-contractions',
    // The loop over time is given what was met where it rests, so that its results go to where the rules have them.
    also: [{ mesh: 1, layouts: { layout: { seq: ['a'], past: ['a', 'b'] }, params: { past: ['a'], hidden: ['b'] }, state: {} } }, { mesh: 2, layouts: { layout: { seq: ['b'], past: ['a', 'b'] }, params: { past: ['b'], hidden: ['a'] }, state: {} } }],
  },
  llama: { built: llamaModel({ ...decoder, heads: 8, kvHeads: 4 }).build({ batch: 8, precision: inFull }), remat: 'all-but-contractions' },
  'gpt that keeps all, in half precision': { built: gptModel({ ...decoder, heads: 4 }).build({ batch: 8 }), remat: 'nothing' },
  'gpt that keeps nothing, in microbatches': {
    built: gptModel({ ...decoder, heads: 4 }).build({ batch: 8, precision: inFull }), remat: 'everything', microbatches: 2,
    // A gathered weight is larger than what is multiplied by it: its product is gathered instead.
    also: [{ mesh: 2, layouts: { layout: { hidden: ['a'], kvSeq: ['a'], seq: ['b'] }, params: { seq: ['a'], heads: ['b'] }, state: {}, layouts: { residual: { seq: ['b'] } } } }],
  },
  experts: { built: llamaModel({ ...decoder, heads: 8, kvHeads: 4, experts: { count: 4, chosen: 2, hidden: 32 } }).build({ batch: 8, precision: inFull }), remat: 'all-but-contractions' },
  t5: {
    built: t5Model({ vocab: 64, source: 16, target: 16, encoderLayers: 2, decoderLayers: 2, embed: 32, heads: 4, headDim: 8, hidden: 64 }).build({ batch: 8, precision: inFull }), remat: 'all-but-contractions',
    // A table's dim and one of the numbers that are looked up in it lie on one axis: no tensor has both.
    also: [{ mesh: 1, layouts: { layout: { buckets: ['a'], source: ['a'], kvSource: ['b'] }, params: { heads: ['b'] }, state: {} } }],
  },
  'conv net': { built: convNetModel({ height: 16, width: 16, channels: 4, features: [8, 16], hidden: 32 }).build({ batch: 8, precision: inFull }), remat: 'all-but-contractions' },
  ...Object.fromEntries((['gpipe', '1f1b', 'circular'] as const).map((schedule, nth) => [`gpt in a pipeline, ${schedule}`, {
    built: gptModel({ ...decoder, layers: 4, heads: 4, pipeline: { stages: 2, microbatches: 2, schedule } }).build({ batch: 8, precision: inFull }), remat: 'all-but-contractions' as const, staged: true as const,
    also: [
      // Nothing lies on the stages' axis: all devices compute what one stage would, and its head on the way and on the way back once.
      { mesh: 0, layouts: { layout: { hidden: ['a'] }, params: { vocab: ['a'] }, state: {}, layouts: { residual: { seq: ['a'] } } } },
      { mesh: 0, layouts: { layout: { vocab: ['a'], kvSeq: ['a'] }, params: { vocab: ['a'] }, state: {}, layouts: { residual: { seq: ['a'] } } } },
      // Of what the way back computes again, this is brought on the way there already: in a choice that fell away, as all devices are at work.
      { mesh: 0, layouts: { layout: { seq: ['a'] }, params: {}, state: {}, layouts: { residual: {} } } },
      { mesh: 0, layouts: { layout: { embed: ['a'] }, params: {}, state: { batch: ['a'] }, layouts: { residual: {} } } },
      // One stage alone has each end.
      { mesh: 2, layouts: { layout: { heads: ['a'], vocab: ['a'], stage: ['b'], layers: ['b'] }, params: {}, state: {}, layouts: { residual: {} } } },
      { mesh: 1, layouts: { layout: { batch: ['a'], stage: ['b'], layers: ['b'] }, params: { heads: ['a'] }, state: { stage: ['a'] }, layouts: { residual: {} } } },
      // What they are about is the same in each schedule: these in turn, and in the deep run all in each.
    ].filter((_, i) => all || i % 3 === nth),
  }])),
  perceptron: {
    built: mlp({ inputs: 32, hidden: 64, outputs: 32 }, 8), remat: 'nothing',
    // What was met where it rests goes, once it is reduced, to where the rules want it: in the second layout to another place than in the first.
    also: [
      { mesh: 2, layouts: { layout: { batch: ['a'], outputs: ['b'] }, params: { outputs: ['a'], hidden: ['b'] }, state: { outputs: ['a'], hidden: ['b'] } } },
      { mesh: 2, layouts: { layout: { inputs: ['a'], hidden: ['b'] }, params: { outputs: ['a'], batch: ['b'] }, state: {} } },
    ],
  },
}
/** Those whose layouts `npm run bench -- --only layouts` tries, in the deep run. */
const tried: typeof models = all ? Object.fromEntries(Object.entries(ofBench).map(([name, run]) => { const { remat, microbatches } = trainerConfig(run); return [name, { built: modelOf(run), remat: remat as Remat, ...(microbatches === undefined ? {} : { microbatches }) }] })) : {}
/** On which collectives go on beside computation. */
const machine = knownMachine('8xh100')
/** Of each model. */
const count = all ? 200 : 2
const ofStages = ['stage', 'layers']
const meshes = [{ a: 4 }, { a: 2, b: 2 }, { a: 4, b: 2 }, { a: 8 }].map(m => meshOf(m) as Mesh)

/** By kind, axes, dtype and size: how often. */
function counted(found: readonly Collective[]): { readonly [kind: string]: number } {
  const sums = new Map<string, number>()
  for (const c of found) {
    const key = `${c.kind} ${c.axes.join()} ${c.dtype} ${c.elements}`
    sums.set(key, (sums.get(key) ?? 0) + c.count)
  }
  return Object.fromEntries([...sums].sort())
}

for (const [name, { built, remat, microbatches = 1, also = [], staged }] of Object.entries({ ...models, ...tried })) {
  test(`${count} layouts of ${name}, drawn at random, have in tables what they have in plans`, () => {
    const model = built as { readonly params: Tree; readonly batch: Tree; readonly dims: { readonly [d: string]: { readonly name: string; readonly size: number } }; readonly layouts?: { readonly [n: string]: string } } & Parameters<typeof trainStep>[0]
    const config = { seed: 0, remat, microbatches, optimizer: adamwCosine({ rate: 1e-3 }).build({ steps: 1 }) } as const
    const args: [TrainState<Tree>, Tree] = [stateOf(model, config), model.batch]
    const graph = graphOf(trainStep(model, config), args)
    const dims = Object.values(model.dims)
    const uses = model.layouts === undefined ? {} : { uses: model.layouts }
    const runs = new Map([...runsOf(graph as unknown as LocalBody, n => (n.op === 'dot' ? 1 : 0), 'waited')].map(([body, times]) => [body.outputs as unknown as readonly Node[], times]))
    const tables = new Map(meshes.map(mesh => [mesh, new Tables({ graph, mesh, machine, runs, streamed: [] })]))
    const tensors = new Tensors(graph, checkGraph(graph, meshOf({}), { layout: {}, ...uses }, dims))
    const compare = (mesh: Mesh, layouts: Layouts): void => {
      const local = partition(graph, mesh, layouts, dims)
      const found = tables.get(mesh)?.of(layouts)
      if (found === undefined) throw new Error('no tables')
      const time = stepTime(local, machine, mesh)
      const beside = workOf(local).reduce((sum, w) => (w.kind === 'collective' && !w.waited ? sum + w.times * workMs(machine, w, mesh.size, axes => groupOf(machine, mesh, axes)) * machine.overlap.share : sum), 0)
      const { flops, productMs, collectiveMs } = found
      expect({ what: `${JSON.stringify(mesh.axes)} ${JSON.stringify(layouts)}`, flops, collectives: counted(found.collectives), productMs, collectiveMs }).toEqual({
        what: expect.any(String) as unknown, flops: workOf(local).reduce((sum, w) => sum + (w.kind === 'product' ? w.times * productFlops(w.product) : 0), 0), collectives: counted(collectives(local)),
        productMs: expect.closeTo(time.productMs, 8) as unknown, collectiveMs: expect.closeTo(time.collectiveMs, 8) as unknown,
      })
      expect(found.besideMs).toBeCloseTo(beside, 8)
    }
    for (const { mesh, layouts } of also) compare(meshes[mesh] ?? meshOf({}), { ...layouts, ...uses })
    let drawn = 0
    const random = (n: number): number => Math.floor(draw(7, drawn++) * n)
    const names = dims.map(d => d.name).filter(d => staged === undefined || !ofStages.includes(d))
    let seen = 0
    while (seen < count) {
      const mesh = meshes[random(meshes.length)]
      if (mesh === undefined) throw new Error('no mesh')
      const rules = (most: number): { [dim: string]: string[] } => {
        const found: { [dim: string]: string[] } = {}
        for (const { name: axis } of mesh.axes) for (let k = 0; k < most; k++) { const d = names[random(names.length)] ?? ''; found[d] = [...new Set([...found[d] ?? [], axis])] }
        return found
      }
      const residual = random(2) === 0 || model.layouts?.['residual'] === undefined ? {} : { layouts: { residual: { seq: [mesh.axes[random(mesh.axes.length)]?.name ?? 'a'] } } }
      const [stage] = staged === undefined || random(3) === 0 ? [] : mesh.axes.filter(a => a.size === 2).slice(random(2))
      const stages = stage === undefined ? {} : Object.fromEntries(ofStages.map(d => [d, [stage.name]]))
      const layouts: Layouts = { layout: { ...rules(2), ...stages }, params: random(2) === 0 ? {} : rules(1), state: random(3) > 0 ? {} : rules(1), ...(microbatches > 1 && random(2) === 0 ? { gradients: rules(1) } : {}), ...residual, ...uses }
      if (tensors.wrong(layouts, mesh) !== undefined) {
        expect(() => checkGraph(graph, mesh, layouts, dims)).toThrow()
        continue
      }
      seen++
      compare(mesh, layouts)
    }
  })
}
