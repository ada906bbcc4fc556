/** A GPT's step as Megatron lays it on devices, planned by the partitioner: what is to be priced of a row of a table of measured runs. */
import type { Mesh } from '../../src/core/mesh.ts'
import type { Tasks } from '../../src/cost/time.ts'
import { workOf, type Task } from '../../src/cost/work.ts'
import { planTraced, trace, type Traced } from '../../src/engine/compile.ts'
import type { Tree } from '../../src/engine/index.ts'
import type { Machine } from '../../src/machine/machine.ts'
import { gptModel } from '../../src/models/index.ts'
import type { Model } from '../../src/models/model.ts'
import { adamwCosine, defineRun, type Run } from '../../src/train/index.ts'
import { stateOf, trainStep, type StepResult, type TrainState } from '../../src/train/program.ts'
import { layoutsOf, meshOfRun, modelOf } from '../../src/train/run.ts'
import { trainerConfig } from '../../src/train/session.ts'

/** Tensor ways innermost, then data, stages outermost; `batch` is of a step on all devices, `microbatch` of one data way. Every layer is computed again on the way back, and only what enters it is kept. */
export interface GptRow {
  readonly embed: number
  readonly heads: number
  readonly layers: number
  readonly seq: number
  readonly vocab: number
  readonly tensor: number
  readonly data: number
  readonly stages: number
  readonly microbatch: number
  readonly batch: number
}

const data = { batch: () => { throw new Error('a planned run reads no data') } }
export const microbatchesOf = ({ batch, data: ways, microbatch }: GptRow): number => batch / ways / microbatch

/** Megatron's run in our words. All is of one dtype here: `narrowed` says which. */
export function runOf(row: GptRow, microbatches: number): Run {
  const { embed, heads, layers, seq, vocab, tensor, data: ways, stages, microbatch } = row
  const piped = stages > 1
  const model = gptModel({ vocab, seq, layers, embed, heads, headDim: embed / heads, hidden: 4 * embed, dropout: 0, blockwise: 0, biases: 'all', ...(piped ? { pipeline: { stages, microbatches, schedule: '1f1b', remat: { keep: [] } } } : {}) })
  return defineRun({
    name: 'measured', data, model, batch: microbatch * ways * microbatches, steps: 1, optimizer: adamwCosine({ rate: 1e-4 }), ...(piped ? {} : { microbatches, remat: 'everything' }),
    mesh: { stage: stages, data: ways, model: tensor },
    layout: { batch: 'data', heads: 'model', hidden: 'model', vocab: 'model', ...(piped ? { stage: 'stage', layers: 'stage' } : {}) },
  } as never)
}

export interface Planned extends Tasks { readonly mesh: Mesh }
type Timed = Task & { readonly times: number }

type Step = Traced<readonly [TrainState<Tree>, Tree], StepResult<Tree>>
let last: { readonly key: string; readonly model: Model<Tree, Tree>; readonly traced: Step } | undefined

function plan(row: GptRow, microbatches: number, fusion: Machine['fusion']): Planned {
  const run = runOf(row, microbatches)
  const { tensor: _tensor, data: _data, ...traced } = row
  const key = JSON.stringify([traced, microbatches, row.data * row.microbatch])
  if (last?.key !== key) {
    const [model, config] = [modelOf(run), trainerConfig(run)]
    last = { key, model, traced: trace(trainStep(model, config), [stateOf(model, config), model.batch] as const) }
  }
  const { model, traced: step } = last
  const mesh = meshOfRun(run)
  const { local } = planTraced(step, { mesh, dims: model.dims, ...layoutsOf(run, model), donate: [0] })
  return { mesh, values: local.inputs.length + local.outputs.length, tasks: together(workOf(local, fusion).map(({ node: _node, at: _at, ...task }) => task)) }
}

/** Those that are alike as one. */
function together(tasks: readonly Timed[]): readonly Timed[] {
  const found = new Map<string, Timed>()
  for (const { times, ...task } of tasks) {
    const key = JSON.stringify(task)
    found.set(key, { ...task, times: times + (found.get(key)?.times ?? 0) })
  }
  return [...found.values()]
}

/** A number of microbatches that no row has: how often anything runs tells how much of that is by the microbatch. */
const many = 10_007
const shapes = new Map<string, Planned>()

/**
 * What a step of the row does on a device. A plan for very many microbatches serves all rows that differ only in their number: what runs v · many + r times there, runs v · m + r times with m of them.
 * One microbatch alone, without stages, is planned as it is, since it has no loop.
 */
export function plannedRow(row: GptRow, fusion: Machine['fusion'] = 'rows'): Planned {
  const m = microbatchesOf(row)
  if (m === 1 && row.stages === 1) return narrowed(plan(row, 1, fusion))
  const { batch: _batch, ...shape } = row
  const key = `${fusion} ${JSON.stringify(shape)}`
  const found = shapes.get(key) ?? narrowed(plan(row, many, fusion))
  shapes.set(key, found)
  return { ...found, tasks: found.tasks.map(t => ({ ...t, times: Math.floor(t.times / many) * m + t.times % many })) }
}
/** The same, without what is known of other numbers of microbatches. */
export const plannedWhole = (row: GptRow, fusion: Machine['fusion'] = 'rows'): Planned => narrowed(plan(row, microbatchesOf(row), fusion))

/**
 * What there is only because one program serves all stages: choices that keep results of idle ones out of sums, and what one stage has and all are told of at a tick. Where every stage is a program of its own, idle
 * ones compute nothing, and only neighbours send.
 */
const isOfOneProgram = (t: Timed): boolean => (t.kind === 'memory' && t.operations.length > 0 && t.operations.every(([op]) => op === 'select'))
  || (t.kind === 'collective' && t.collective === 'all-reduce' && t.axes.join() === 'stage' && t.times > 1)

/** In half precision, as these runs compute: products of bf16, and two bytes where four are planned; but what is done once a step on elements is the update, whose numbers are f32 there, too. */
function narrowed(planned: Planned): Planned {
  return {
    ...planned,
    tasks: planned.tasks.filter(t => !isOfOneProgram(t)).map((t): Timed => t.kind === 'product' ? { ...t, product: { ...t.product, dtype: 'bf16' } }
      : t.kind === 'collective' ? { ...t, bytes: t.bytes / 2 }
        : t.kind === 'memory' && t.times > 1 ? { ...t, bytes: t.bytes / 2 } : t),
  }
}
