/** A GPT's step as Megatron lays it on devices, planned by the partitioner: what is to be priced of a row of a table of measured runs. */
import { sizeOf, type Dim } from '../../src/core/dim.ts'
import type { Mesh } from '../../src/core/mesh.ts'
import type { Tasks } from '../../src/cost/time.ts'
import { productFlops } from '../../src/cost/price.ts'
import { workOf, type Task, type Work } from '../../src/cost/work.ts'
import { shapeOf } from '../../src/graph/node.ts'
import { planTraced, trace, type Traced } from '../../src/engine/compile.ts'
import type { Tree } from '../../src/engine/index.ts'
import type { Machine } from '../../src/machine/machine.ts'
import { gptModel } from '../../src/models/index.ts'
import type { Model } from '../../src/models/model.ts'
import type { LocalNode } from '../../src/partition/local.ts'
import { adamwCosine, defineRun, type Run } from '../../src/train/index.ts'
import { stateOf, trainStep, type StepResult, type TrainState } from '../../src/train/program.ts'
import { layoutsOf, meshOfRun, modelOf } from '../../src/train/run.ts'
import { trainerConfig } from '../../src/train/session.ts'
import { asFsdp, type Reduced } from './published/fsdp.ts'
import { maxText } from './published/max-text.ts'

/** Tensor ways innermost, then data, stages outermost; `batch` is of a step on all devices, `microbatch` of one data way. */
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
  /** MaxText's decoder, whose attention and feed-forward part read the same norm; a GPT unless said. */
  readonly decoder?: 'MaxText'
  readonly headDim?: number
  /** Where stages differ, the layers of each. */
  readonly perStage?: readonly number[]
  /** Parts of the layers that each stage has, as Megatron's interleaved schedule walks them (Narayanan et al. 2021). */
  readonly rounds?: number
  /**
   * What is computed again on the way back. `layers`, unless said: each layer as a whole of what enters it, as `torch.utils.checkpoint` runs it, its last product and sum among them. `needed`: the same, but for what the way
   * back does not need, as compilers leave it out. `scores`: what lies between the products of attention, and those. `nothing`: what products give is kept.
   */
  readonly recompute?: 'layers' | 'needed' | 'scores' | 'nothing'
  /** Norms and what is added lie in parts of the sequence on the devices that share a layer (Korthikanti et al. 2022). */
  readonly sequence?: boolean
  /** They lie in parts of `embed` there, as MaxText's rule for `activation_embed` has it. */
  readonly split?: 'embed'
  /** What rests in parts on the devices of different data: moments (ZeRO-1), or weights, too (ZeRO-3, FSDP). */
  readonly sharded?: 'moments' | 'weights'
  /** Copies of what rests in parts, over slices whose links are slow: `data` counts devices of all of them. */
  readonly slices?: number
  /** PyTorch's FSDP has the weights, and reduces gradients in such numbers (`published/fsdp.ts`). */
  readonly fsdp?: Reduced
  /** Products of weights' gradients add to the sums over microbatches themselves, as Megatron's do. */
  readonly summing?: boolean
  /**
   * Attention is one kernel that keeps scores on the chip (Dao et al. 2022): of blocks of so many positions it skips those that are hidden as a whole, and back it makes so many products. `again`: it runs again on the way back though
   * what products give is kept, as it is none to a policy that keeps those (MaxText's `minimal`).
   */
  readonly attends?: { readonly block: number; readonly back: number; readonly again?: boolean }
  /** Of what nothing waits for only gathering goes on beside computation, as XLA's flags have it in MaxText's scripts. */
  readonly beside?: 'gathering'
}

const data = { batch: () => { throw new Error('a planned run reads no data') } }
export const microbatchesOf = ({ batch, data: ways, microbatch }: GptRow): number => batch / ways / microbatch

const isFull = ({ recompute = 'layers' }: GptRow): boolean => recompute === 'layers' || recompute === 'needed'

/** The run in our words. All is of one dtype here: `narrowed` says which. */
export function runOf(row: GptRow, microbatches: number): Run {
  const { embed, heads, layers, seq, vocab, tensor, data: ways, stages, microbatch, hidden = 4 * embed, headDim = embed / heads, perStage, sequence = false, split, sharded, slices = 1 } = row
  const piped = stages > 1
  const remat = isFull(row) ? 'everything' : 'all-but-contractions'
  const pipeline = { stages: perStage ?? stages, microbatches, schedule: '1f1b', remat: isFull(row) ? { keep: [] } : remat }
  const common = { vocab, seq, layers, embed, heads, headDim, hidden, blockwise: 0 as const, dropout: 0, ...(piped ? { pipeline } : {}) }
  const model = row.decoder === undefined ? gptModel({ ...common, biases: 'all' } as never) : maxText({ vocab, seq, layers, embed, heads, headDim, hidden }, microbatch * ways * microbatches)
  const shard = slices > 1 ? { shard: ways / slices } : {}
  const batch = slices > 1 ? ['data', 'shard'] : 'data'
  const parts = { embed: slices > 1 ? 'shard' : 'data' }
  return defineRun({
    name: 'measured', data, model, batch: microbatch * ways * microbatches, steps: 1, optimizer: adamwCosine({ rate: 1e-4 }), ...(piped ? {} : { remat }), ...(piped ? {} : { microbatches }),
    mesh: { stage: stages, data: slices > 1 ? slices : ways, ...shard, model: tensor },
    layout: { batch, heads: 'model', hidden: 'model', vocab: 'model', ...(piped ? { stage: 'stage', layers: 'stage' } : {}) },
    ...(sequence ? { layouts: { residual: { seq: 'model' } } } : split === undefined ? {} : { layouts: { residual: { [split]: 'model' } } }), ...(sharded === 'weights' ? { params: parts } : sharded === 'moments' ? { state: parts } : {}),
  } as never)
}

/** `ends`: of what the first or the last stage does beside its layers. `updates`: under FSDP, of what is done once a step to weights. */
type Timed = Task & { readonly times: number; readonly ends?: 'first' | 'last'; readonly updates?: true }
export interface Planned extends Tasks<Timed> { readonly mesh: Mesh }

type Step = Traced<readonly [TrainState<Tree>, Tree], StepResult<Tree>>
let last: { readonly key: string; readonly model: Model<Tree, Tree>; readonly traced: Step } | undefined

function plan(row: GptRow, microbatches: number, fusion: Machine['fusion']): Planned {
  const run = runOf(row, microbatches)
  const { tensor: _tensor, data: _data, slices: _slices, sharded: _sharded, attends: _attends, beside: _beside, fsdp: _fsdp, batch: _batch, ...traced } = row
  const key = JSON.stringify([traced, microbatches, row.data * row.microbatch])
  if (last?.key !== key) {
    const [model, config] = [modelOf(run), trainerConfig(run)]
    last = { key, model, traced: trace(trainStep(model, config), [stateOf(model, config), model.batch] as const) }
  }
  const { model, traced: step } = last
  const mesh = meshOfRun(run)
  const { local } = planTraced(step, { mesh, dims: model.dims, ...layoutsOf(run, model), donate: [0] })
  return { mesh, values: local.inputs.length + local.outputs.length, tasks: together(summedInProducts(row, sentInParts(row, layersAgain(row, attentionOf(row, workOf(local, fusion))))).map(({ at: _at, node, ...task }): Timed => ({ ...task, ...(row.stages > 1 ? endsOf(node) : {}), ...(row.fsdp !== undefined && task.times === 1 && isOfWeights(node) ? { updates: true } : {}) }))) }
}

/** Whether a value has a number for each pair of positions: scores, what follows of them, and their gradients. */
const isOfPairs = (shape: readonly Dim[]): boolean => ['seq', 'kvSeq'].every(name => shape.some(d => d.name === name))

/**
 * Attention as the row computes it. As one kernel nothing of pairs is read or written, and it is operations of two names whose costs a machine says: there `attention`, two products for each pair, once more where it is computed again,
 * and back `attentionBack`, five, since scores are made once more, or as many as the kernel has. Of scores that are computed again outside of such a kernel, both products are.
 */
function attentionOf(row: GptRow, work: readonly Work[]): readonly Work[] {
  const ofPairs = (w: Work): boolean => w.kind !== 'collective' && w.kind !== 'turn' && [w.node, ...w.node.inputs].some(n => isOfPairs(shapeOf(n)))
  // All of them are as large, and as many run in each turn of the loops there and back.
  const products = work.flatMap(w => (w.kind === 'product' && ofPairs(w) ? [w.times] : []))
  const planned = products.reduce((sum, times) => sum + times, 0) / Math.max(...products)
  const { attends, recompute, seq } = row
  const there = recompute === 'nothing' && attends?.again !== true ? 2 : 4
  return work.flatMap((w): Work[] => {
    if (!ofPairs(w)) return [w]
    if (w.kind !== 'product') return attends === undefined ? [w] : []
    if (attends === undefined) return [recompute === 'scores' ? { ...w, product: { ...w.product, batch: w.product.batch * 8 / planned } } : w]
    const each = productFlops(w.product) / planned * (1 + Math.min(1, attends.block / seq)) / 2
    return [{ kind: 'memory', times: w.times, at: w.at, node: w.node, bytes: 0, operations: [['attention', 'f32', there * each], ['attentionBack', 'f32', attends.back * each]] }]
  })
}

/** Whether it is the product that makes what leaves a layer, or, on the way back, the cotangent of what enters its feed-forward part: the two are alike. */
const isOfHidden = (n: LocalNode | undefined): boolean => n?.op === 'dot' && n.attrs.over.includes('hidden') && shapeOf(n).some(d => d.name === 'embed')

/** Where a layer is computed again as a whole, its last product is, too, what devices sum of it, and the sum that leaves it: all of them once, and here they are half with each of two products that are alike. */
function layersAgain({ recompute = 'layers' }: GptRow, work: readonly Work[]): readonly Work[] {
  if (recompute !== 'layers') return work
  return work.flatMap((w): Work[] => {
    if (w.kind === 'collective' && w.node.inputs.some(isOfHidden)) return [{ ...w, times: 1.5 * w.times }]
    if (w.kind !== 'product' || !isOfHidden(w.node)) return [w]
    return [{ ...w, times: 1.5 * w.times }, { kind: 'memory', times: w.times / 2, at: w.at, node: w.node, bytes: 3 * 4 * sizeOf(shapeOf(w.node)), operations: [['add', 'f32', 2 * sizeOf(shapeOf(w.node))]] }]
  })
}

/**
 * What goes from stage to stage where devices of a layer all have the same of it: each sends a part, and they gather the parts behind, as Megatron (Narayanan et al. 2021, section 4.1) and DeepSpeed do. Where they have
 * parts of the sequence it is in parts already.
 */
function sentInParts({ tensor, sequence = false }: GptRow, work: readonly Work[]): readonly Work[] {
  if (tensor === 1 || sequence) return work
  return work.flatMap((w): Work[] => w.kind === 'collective' && w.collective === 'permute' && w.axes.join() === 'stage'
    ? [{ ...w, bytes: w.bytes / tensor }, { ...w, collective: 'all-gather', axes: ['model'], bytes: w.bytes / tensor }] : [w])
}

const ofData: ReadonlySet<string> = new Set(['batch', 'seq', 'kvSeq'])
/** Whether neither it nor what it reads has a dim of the data. */
const isOfWeights = (n: LocalNode): boolean => ![n, ...n.inputs].some(x => x.results.length === 1 && shapeOf(x).some(d => ofData.has(d.name)))
/** Whether it adds what has no dim of the data, once a microbatch: gradients of weights to their sum. */
const isOfSums = ({ times, node }: Work): boolean => times > 1 && node.op === 'binary' && node.attrs.fn === 'add' && !shapeOf(node).some(d => ofData.has(d.name))
/** Where products add to sums themselves, their bytes go by while they multiply. */
const summedInProducts = ({ summing = false }: GptRow, work: readonly Work[]): readonly Work[] => (summing ? work.filter(w => w.kind !== 'memory' || !isOfSums(w)) : work)

/** Which stage has it alone, of what is of the vocabulary: rows are looked up, and their gradient made and added, by the first; logits and what follows of them are the last's. */
function endsOf(n: LocalNode): { readonly ends?: 'first' | 'last' } {
  const all = [n, ...n.inputs].filter(x => x.results.length === 1)
  if (!all.some(x => shapeOf(x).some(d => d.name === 'vocab'))) return {}
  return { ends: all.some(x => x.op === 'take' || x.op === 'scatterAdd') ? 'first' : 'last' }
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
 * One microbatch alone, without stages, is planned as it is, since it has no loop. In an interleaved schedule stages wait for each other a `rounds`th as long, and send as many times as often. Of the
 * stages at the ends others wait for the last, which has logits to make while the first looks rows up.
 */
export function plannedRow(row: GptRow, fusion: Machine['fusion'] = 'rows'): Planned {
  const { perStage, ...even } = row
  if (perStage !== undefined) return longestStage(perStage.map(layers => plannedRow({ ...even, layers: layers * row.stages }, fusion)))
  const m = microbatchesOf(row)
  if (m === 1 && row.stages === 1) return narrowed(row, plan(row, 1, fusion), 1)
  const { batch: _batch, rounds = 1, ...shape } = row
  const key = `${fusion} ${JSON.stringify(shape)}`
  const found = shapes.get(key) ?? narrowed(row, plan(row, many, fusion), many)
  shapes.set(key, found)
  const timesOf = (t: Timed): number => {
    // Halves there are where a layer is computed again as a whole.
    const each = Math.floor(2 * t.times / many) / 2
    const [idle, sends] = each === 0 ? [1, 1] : [1 / rounds, isOfStages(t) ? rounds : 1]
    return sends * (each * m + idle * (t.times - each * many))
  }
  return { ...found, tasks: found.tasks.filter(t => t.ends !== 'first' || t.times < many).map(t => ({ ...t, times: timesOf(t) })) }
}
const isOfStages = (t: Timed): boolean => t.kind === 'collective' && t.collective === 'permute' && t.axes.join() === 'stage'
/** The same, without what is known of other numbers of microbatches, and with all that one program for all stages does at each turn. */
export const plannedWhole = (row: GptRow, fusion: Machine['fusion'] = 'rows'): Planned => narrowed(row, plan(row, microbatchesOf(row), fusion), microbatchesOf(row))
/** Of stages that differ, planned as if all were like each: what is at the ends is left out of all but the last, and the stage that multiplies the most is the one that the others wait for. */
function longestStage(likeEach: readonly Planned[]): Planned {
  const flops = ({ tasks }: Planned): number => tasks.reduce((sum, t) => sum + (t.kind === 'product' ? t.times * productFlops(t.product) : 0), 0)
  const [last, ...before] = [...likeEach].reverse()
  if (last === undefined) throw new Error('there are no stages')
  return [last, ...before.map(p => ({ ...p, tasks: p.tasks.filter(t => t.ends === undefined || t.times <= 1) }))].reduce((a, b) => (flops(b) > flops(a) ? b : a))
}

/**
 * What there is only because one program serves all stages: choices that keep results of idle ones out of sums, and what one stage has and all are told of at a tick. Where every stage is a program of its own, idle
 * ones compute nothing, and only neighbours send.
 */
const isOfOneProgram = (t: Timed): boolean => (t.kind === 'memory' && t.operations.length > 0 && t.operations.every(([op]) => op === 'select'))
  || (t.kind === 'collective' && t.collective === 'all-reduce' && t.axes.join() === 'stage' && t.times > 1)

/** In half precision, as these runs compute: products of bf16, and two bytes where four are planned; but what is done once a step on elements is the update, whose numbers are f32 there, too; under FSDP what of it is of weights alone. */
function narrowed({ fsdp, beside, layers }: GptRow, planned: Planned, microbatches: number): Planned {
  const half = (t: Timed): Timed => t.kind === 'product' ? { ...t, product: { ...t.product, dtype: 'bf16' } }
    : t.kind === 'collective' ? { ...t, bytes: t.bytes / 2, waited: t.waited || (beside === 'gathering' && t.collective === 'reduce-scatter') }
      : t.kind === 'memory' && (t.times > 1 || (fsdp !== undefined && t.updates !== true)) ? { ...t, bytes: t.bytes / 2 } : t
  const tasks = planned.tasks.filter(t => !isOfOneProgram(t))
  return { ...planned, tasks: fsdp === undefined ? tasks.map(half) : asFsdp(fsdp, tasks, { layers, microbatches }, half) }
}
