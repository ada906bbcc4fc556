/** A GPT's step as Megatron lays it on devices, planned by the partitioner: what is to be priced of a row of a table of measured runs. */
import type { Dim } from '../../src/core/dim.ts'
import type { Mesh } from '../../src/core/mesh.ts'
import type { Tasks } from '../../src/cost/time.ts'
import { productFlops } from '../../src/cost/price.ts'
import { workOf, type Task, type Work } from '../../src/cost/work.ts'
import { shapeOf } from '../../src/graph/node.ts'
import { planTraced, trace, type Traced } from '../../src/engine/compile.ts'
import type { Tree } from '../../src/engine/index.ts'
import type { Machine } from '../../src/machine/machine.ts'
import { gptModel, llamaModel } from '../../src/models/index.ts'
import type { Model } from '../../src/models/model.ts'
import { adamwCosine, defineRun, type Run } from '../../src/train/index.ts'
import { stateOf, trainStep, type StepResult, type TrainState } from '../../src/train/program.ts'
import { layoutsOf, meshOfRun, modelOf } from '../../src/train/run.ts'
import { trainerConfig } from '../../src/train/session.ts'

/**
 * Tensor ways innermost, then data, stages outermost; `batch` is of a step on all devices, `microbatch` of one data way. Unless something else is said, every layer is computed again on the way back, and only what
 * enters it is kept.
 */
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
  /** Of the feed-forward part; 4 · `embed` unless said. */
  readonly hidden?: number
  /** A feed-forward part with a gate, rotary positions and an embedding of its own for logits, as MaxText's decoder has it. */
  readonly gated?: boolean
  readonly headDim?: number
  /** Where stages differ, the layers of each. */
  readonly perStage?: readonly number[]
  /** Of an interleaved schedule. */
  readonly rounds?: number
  /** `full` unless said; `scores` computes again what lies between the products of attention, and those; `nothing` keeps what products give. */
  readonly recompute?: 'full' | 'scores' | 'nothing'
  /** Norms and what is added lie in parts of the sequence on the devices that share a layer (Korthikanti et al. 2022). */
  readonly sequence?: boolean
  /** What rests in parts on the devices of different data: moments (ZeRO-1), or weights, too (ZeRO-3, FSDP). */
  readonly sharded?: 'moments' | 'weights'
  /** Copies of what rests in parts, over slices whose links are slow: `data` counts devices of all of them. */
  readonly slices?: number
  /** Weights are gathered in f32. */
  readonly gatheredWide?: boolean
  /** Attention is one kernel that keeps scores on the chip, and skips those that are hidden (Dao et al. 2022). */
  readonly flash?: boolean
}

const data = { batch: () => { throw new Error('a planned run reads no data') } }
export const microbatchesOf = ({ batch, data: ways, microbatch }: GptRow): number => batch / ways / microbatch

/** The run in our words. All is of one dtype here: `narrowed` says which. */
export function runOf(row: GptRow, microbatches: number): Run {
  const { embed, heads, layers, seq, vocab, tensor, data: ways, stages, microbatch, hidden = 4 * embed, headDim = embed / heads, perStage, rounds = 1, recompute = 'full', sequence = false, sharded, slices = 1 } = row
  const piped = stages > 1
  const remat = recompute === 'full' ? 'everything' : 'all-but-contractions'
  const pipeline = { stages: perStage ?? stages, microbatches, ...(rounds > 1 ? { schedule: 'circular', rounds } : { schedule: '1f1b', remat: recompute === 'full' ? { keep: [] } : remat }) }
  const common = { vocab, seq, layers, embed, heads, headDim, hidden, blockwise: 0 as const, dropout: 0, ...(piped ? { pipeline } : {}) }
  const model = row.gated === true ? llamaModel(common as never) : gptModel({ ...common, biases: 'all' } as never)
  const shard = slices > 1 ? { shard: ways / slices } : {}
  const batch = slices > 1 ? ['data', 'shard'] : 'data'
  const parts = { embed: slices > 1 ? 'shard' : 'data' }
  return defineRun({
    name: 'measured', data, model, batch: microbatch * ways * microbatches, steps: 1, optimizer: adamwCosine({ rate: 1e-4 }), ...(piped && rounds === 1 ? {} : { remat }), ...(piped ? {} : { microbatches }),
    mesh: { stage: stages, data: slices > 1 ? slices : ways, ...shard, model: tensor },
    layout: { batch, heads: 'model', hidden: 'model', vocab: 'model', ...(row.gated === true ? { kvHeads: 'model' } : {}), ...(piped ? { stage: 'stage', layers: 'stage' } : {}) },
    ...(sequence ? { layouts: { residual: { seq: 'model' } } } : {}), ...(sharded === 'weights' ? { params: parts } : sharded === 'moments' ? { state: parts } : {}),
  } as never)
}

export interface Planned extends Tasks { readonly mesh: Mesh }
type Timed = Task & { readonly times: number }

type Step = Traced<readonly [TrainState<Tree>, Tree], StepResult<Tree>>
let last: { readonly key: string; readonly model: Model<Tree, Tree>; readonly traced: Step } | undefined

function plan(row: GptRow, microbatches: number, fusion: Machine['fusion']): Planned {
  const run = runOf(row, microbatches)
  const { tensor: _tensor, data: _data, slices: _slices, sharded: _sharded, flash: _flash, gatheredWide: _wide, batch: _batch, ...traced } = row
  const key = JSON.stringify([traced, microbatches, row.data * row.microbatch])
  if (last?.key !== key) {
    const [model, config] = [modelOf(run), trainerConfig(run)]
    last = { key, model, traced: trace(trainStep(model, config), [stateOf(model, config), model.batch] as const) }
  }
  const { model, traced: step } = last
  const mesh = meshOfRun(run)
  const { local } = planTraced(step, { mesh, dims: model.dims, ...layoutsOf(run, model), donate: [0] })
  return { mesh, values: local.inputs.length + local.outputs.length, tasks: together(attentionOf(row, workOf(local, fusion)).map(({ node: _node, at: _at, ...task }) => task)) }
}

/** Whether a value has a number for each pair of positions: scores, what follows of them, and their gradients. */
const isOfPairs = (shape: readonly Dim[]): boolean => ['seq', 'kvSeq'].every(name => shape.some(d => d.name === name))

/**
 * Attention as the row computes it. As one kernel (Dao et al. 2022) it is operations named `attention`, which a machine says the cost of, and nothing of pairs is read or written: half of them where later
 * positions are skipped, and on the way back scores once more. Of scores that are computed again outside of such a kernel, both products are.
 */
function attentionOf({ flash = false, recompute = 'full' }: GptRow, work: readonly Work[]): readonly Work[] {
  const again = flash ? (recompute === 'full' ? 9 / 8 : 7 / 6) : recompute === 'scores' ? 8 / 6 : 1
  return work.flatMap((w): Work[] => {
    const pairs = w.kind !== 'collective' && w.kind !== 'turn' && [w.node, ...w.node.inputs].some(n => isOfPairs(shapeOf(n)))
    if (!pairs) return [w]
    if (w.kind === 'product') return flash ? [{ kind: 'memory', times: w.times, at: w.at, node: w.node, bytes: 0, operations: [['attention', 'f32', productFlops(w.product) * again / 2]] }] : [{ ...w, product: { ...w.product, batch: w.product.batch * again } }]
    return flash ? [] : [w]
  })
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
  if (m === 1 && row.stages === 1) return narrowed(row, plan(row, 1, fusion))
  const { batch: _batch, ...shape } = row
  const key = `${fusion} ${JSON.stringify(shape)}`
  const found = shapes.get(key) ?? narrowed(row, plan(row, many, fusion))
  shapes.set(key, found)
  return { ...found, tasks: found.tasks.map(t => ({ ...t, times: Math.floor(t.times / many) * m + t.times % many })) }
}
/** The same, without what is known of other numbers of microbatches. */
export const plannedWhole = (row: GptRow, fusion: Machine['fusion'] = 'rows'): Planned => narrowed(row, plan(row, microbatchesOf(row), fusion))

/**
 * What there is only because one program serves all stages: choices that keep results of idle ones out of sums, and what one stage has and all are told of at a tick. Where every stage is a program of its own, idle
 * ones compute nothing, and only neighbours send.
 */
const isOfOneProgram = (t: Timed): boolean => (t.kind === 'memory' && t.operations.length > 0 && t.operations.every(([op]) => op === 'select'))
  || (t.kind === 'collective' && t.collective === 'all-reduce' && t.axes.join() === 'stage' && t.times > 1)

/** In half precision, as these runs compute: products of bf16, and two bytes where four are planned; but what is done once a step on elements is the update, whose numbers are f32 there, too. */
function narrowed({ gatheredWide = false }: GptRow, planned: Planned): Planned {
  return {
    ...planned,
    tasks: planned.tasks.filter(t => !isOfOneProgram(t)).map((t): Timed => t.kind === 'product' ? { ...t, product: { ...t.product, dtype: 'bf16' } }
      : t.kind === 'collective' ? (gatheredWide && t.collective === 'all-gather' ? t : { ...t, bytes: t.bytes / 2 })
        : t.kind === 'memory' && t.times > 1 ? { ...t, bytes: t.bytes / 2 } : t),
  }
}
