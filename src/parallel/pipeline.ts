/**
 * Pipelines: layers in stages, and a batch in microbatches that go through them one after another. All stages are computed at once, along a dim `stage`; what they hand on is rolled along
 * it. So a layout that lays `stage` on an axis makes each device compute one stage, and the hand-over a permute between neighbours; and no layout changes the numbers.
 */
import { hiddenName, names, type Dim } from '../core/dim.ts'
import { isFloat } from '../core/dtype.ts'
import { DimError, UsageError } from '../core/errors.ts'
import { userSite } from '../core/site.ts'
import { withGradient } from '../graph/custom.ts'
import { whereAlone, whereAtWork } from '../graph/cond.ts'
import { sumsIn } from '../graph/half-precision.ts'
import { make } from '../graph/make.ts'
import { shapeOf, type Node } from '../graph/node.ts'
import { roll, shift, stack } from '../graph/rearrange.ts'
import { scan } from '../graph/scan.ts'
import { broadcast, iota, leavesOf, loose, mapTree, rebuildTree, tensor, where } from '../graph/tensor.ts'
import type { AnyTensor, Tensor, Tree, Without } from '../graph/types.ts'
import { laidBy } from '../autodiff/laid.ts'
import { lifted } from './lift.ts'
import type { Cut } from './lifting.ts'
import { planOf, type Pipelined, type Plan } from './schedule.ts'
import { filled, placed, stagesOf, type Stages } from './places.ts'
import { batchOf, guarded, traced, unrounded, zeros, type Traced } from './stages.ts'

type T = Tensor<string>

export interface PipelineOptions extends Pipelined {
  /** The dim of a batch, which is cut into microbatches: `batch` unless said. */
  readonly batch?: string | undefined
  /** How many layers there are, where they are not stacked in their order but lie in the places that `placesOf` has for them: where they are used, so that none moves. */
  readonly layers?: number | undefined
}

/** A sum of which all but one addend along a dim are 0: exact in any dtype. */
export const single = (x: T, over: string): T => tensor(make('reduce', [x.node], { kind: 'sum', over: [over] }))
export const along = (x: AnyTensor, ...dims: readonly Dim[]): T => loose(broadcast(loose(x), dims as readonly Dim<never>[]))
export const choose = (p: T, yes: T, no: T | number): T => where(p as never, yes, no as never) as T
export const outer = (dim: Dim, x: AnyTensor): T => tensor(make('broadcast', [x.node], { shape: [dim, ...x.shape.filter(d => d.name !== dim.name)] }))

/** Everything that a tick is made of, of one pipeline. */
export interface Works {
  readonly plan: Plan
  readonly stages: Stages
  readonly stage: T
  readonly ticks: Dim
  readonly micro: Dim
  readonly whole: Dim
  readonly part: Dim
  readonly traced: Traced
  /** The layers, by rounds, stages and a stage's own; and which of them there are. */
  readonly layers: readonly T[]
  readonly real: readonly T[]
}

/** @throws UsageError, DimError where the options, the batch, the layers or the blocks do not fit */
export function worksOf<X extends Tree>(over: Dim, x: X, stacked: Tree, block: (x: X, layer: Tree) => X, options: PipelineOptions): Works {
  const plan = planOf(options)
  const whole = batchOf(x, options.batch ?? 'batch', plan.microbatches)
  for (const { path, leaf } of leavesOf(stacked)) {
    const found = leaf.shape.find(d => d.name === over.name)
    if (found?.size !== over.size) throw new DimError({ code: 'pipeline-layers', what: `pipeline over "${over.name}" of size ${over.size}: ${path === '' ? 'what is stacked' : `"${path}"`} ${found === undefined ? 'lacks that dim' : `has size ${found.size}`}`, details: { tensor: names(leaf.shape).join(' ') }, fix: 'stack what blocks are given along their dim', at: userSite() })
  }
  const stages = stagesOf(over.name, options.layers ?? over.size, options, plan)
  if (options.layers !== undefined && over.size !== stages.places.length) {
    throw new DimError({ code: 'pipeline-layers', what: `pipeline over "${over.name}" of size ${over.size}: ${options.layers} layers have ${stages.places.length} places`, fix: 'stack them in the places that placesOf says', at: userSite() })
  }
  const real = filled(over.name, stages)
  return {
    plan, stages, whole, stage: iota(stages.stage) as T,
    part: { name: whole.name, size: whole.size / plan.microbatches }, micro: { name: hiddenName(whole.name, 'micro'), size: plan.microbatches }, ticks: { name: hiddenName(whole.name, 'tick'), size: plan.forwardTicks },
    traced: traced(over, x, stacked, stages, block),
    layers: leavesOf(stacked).map(l => placed(l.leaf, over.name, stages, options.layers !== undefined)), real: real === undefined ? [] : [real],
  }
}

/** A batch's tensor cut: element r of microbatch m is element r · m of the batch, so that each device's part of the batch has examples of every microbatch. */
export const cutBatch = (x: AnyTensor, { whole, part, micro }: Pick<Works, 'whole' | 'part' | 'micro'>): T => loose(x).split(whole.name, [part, micro])

/** Which microbatch and which round each stage works on, i32, and whether it works on any; of a turn, which is the tick less the stages before. */
export function turnOf({ plan: { rounds, microbatches, stages: p } }: Works, turn: T): { readonly on: T; readonly microbatch: T; readonly round: T | undefined } {
  const last = rounds * microbatches - 1
  const on = turn.greaterEqual(0).and(turn.lessEqual(last))
  const held = turn.clamp(0, last)
  if (rounds === 1) return { on, microbatch: held, round: undefined }
  const within = held.rem(rounds * p)
  return { on, microbatch: held.div(rounds * p).mul(p).add(within.rem(p)), round: within.div(p) }
}

/** A round's layers of each stage. Their cotangent goes to that round, and is 0 in the others. */
const layersOf = ({ stages: { rounds } }: Works, w: T, round: T | undefined): T => {
  if (rounds === undefined || round === undefined) return w
  if (!isFloat(w.dtype)) return w.take(rounds.name, round)
  return withGradient([w, round], ([w, round]): T => w.take(rounds.name, round),
    (g, _, [, round]) => [stack<string, string>(Array.from({ length: rounds.size }, (_, r) => choose(round.equal(r), g, 0)), rounds as never) as T, undefined])
}

/** What the stages make of what came to them. `given` are x's leaves with the dim of the stages, `turn` says for each how far it is; `standing` stands for what blocks use from outside. */
export function stagesAt(works: Works, given: readonly T[], turn: T, layers: readonly T[] = works.layers, standing: (n: Node) => Node = n => n): { readonly on: T; readonly made: readonly T[] } {
  const { traced: { params, outputs }, real, stages: { stage }, whole, part, micro, plan } = works
  const { on, microbatch, round } = turnOf(works, turn)
  const cut: Cut | undefined = plan.microbatches === 1 ? undefined : { whole, part, parts: plan.microbatches, at: microbatch.node }
  const captured = (n: Node): Node => {
    const from = tensor<string>(standing(n))
    const own = cut !== undefined && isWhole(n, whole) ? cutBatch(from, works).take(micro.name, microbatch) : from
    return isFloat(own.dtype) ? guarded(spread(own, stage), on).node : own.node
  }
  // An idle stage does nothing, where it has a device of its own.
  const made = whereAtWork(on, { share: plan.rounds * plan.microbatches / plan.forwardTicks, more: 1 / plan.forwardTicks }, () => {
    const values = [...given.map(v => guarded(v, on)), ...[...layers, ...real].map(w => layersOf(works, w, round)), on]
    return lifted(params, outputs, values.map(v => v.node), { stage, cut }, captured).map(n => spread(tensor<string>(n), stage))
  })
  return { on, made }
}
export const isWhole = (n: Node, whole: Dim): boolean => shapeOf(n).some(d => d.name === whole.name && d.size === whole.size)
/** The same for every stage, where it is not of each. */
export const spread = (x: T, stage: Dim): T => (isOf(x, stage) ? x : outer(stage, x))

/** Zeros that lie as a tensor does, as far as that can be told. */
export const zerosLaid = (like: AnyTensor, shape: readonly Dim[]): T => {
  const [none, by] = [zeros(shape, like.dtype), laidBy(like.node)]
  return by === undefined ? none : tensor(make('relayout', [none.node], by))
}
/** A microbatch of nothing on each stage. */
export const nothing = (like: AnyTensor, { stages: { stage }, part }: Works): T => zerosLaid(like, [stage, ...like.shape.map(d => (d.name === part.name ? part : d))])

/** What enters the first stage: a microbatch where it begins, what came round else. The others have what was handed to them. What is fed is the same for all stages, or the first one's. */
export const entering = (stage: Dim, fed: T, arrived: T, first: T): T => withGradient([fed, arrived, first],
  ([fed, arrived, first]): T => choose(first, outer(stage, fed), arrived),
  (g, _, [fed, , first]) => [unrounded(g, g => { const own = choose(first, g, 0); return isOf(fed, stage) ? own : single(own, stage.name) }), unrounded(g, g => choose(first, zeros(g.shape, g.dtype), g)), undefined])
const isOf = (x: AnyTensor, stage: Dim): boolean => x.shape.some(d => d.name === stage.name)

/** What the first stage alone has of what is the same for all. */
export const firsts = (x: AnyTensor, { stage, stages }: Pick<Works, 'stage' | 'stages'>): T => withGradient([loose(x), stage.equal(0)],
  ([x, here]): T => choose(here, outer(stages.stage, x), 0), (g, _, [, here]) => [unrounded(g, g => single(choose(here, g, 0), stages.stage.name)), undefined])

/** What the last stage has made. */
export const leaving = (made: T, { stage, stages }: Pick<Works, 'stage' | 'stages'>): T => withGradient([made, stage.equal(stages.stage.size - 1)],
  ([made, here]): T => single(choose(here, made, 0), stages.stage.name), (g, _, [, here]) => [unrounded(g, g => choose(here, outer(stages.stage, g), 0)), undefined])

export const resampled = (x: T, dim: string, to: Dim, start: number): T => tensor(make('resample', [x.node], { dim, to, start, step: 1, dilation: 1, fill: 0 }))
const group = (micro: Dim, p: number, of: number): readonly [Dim, Dim] => [{ name: hiddenName(micro.name, 'group'), size: micro.size / p }, { name: hiddenName(micro.name, 'turn'), size: of }]

/** A batch's microbatches at the ticks at which they enter the first stage. */
export function fedAt(x: AnyTensor, works: Works): T {
  const { micro, ticks, plan: { rounds, stages: p } } = works
  const cut = cutBatch(x, works)
  if (rounds === 1) return resampled(cut, micro.name, ticks, 0)
  const [groups, turns] = group(micro, p, p)
  const spread = resampled(cut.split(micro.name, [groups, turns]), turns.name, { ...turns, size: rounds * p }, 0)
  const through: Dim = { name: micro.name, size: rounds * micro.size }
  return resampled(spread.merge([groups.name, turns.name], through), through.name, ticks, 0)
}

/** Of what left the last stage at all ticks the batch: each microbatch in its last round. */
export function left(ys: T, works: Works): T {
  const { micro, ticks, whole, part, plan: { rounds, stages: p } } = works
  const through: Dim = { name: micro.name, size: rounds * micro.size }
  let found = resampled(ys, ticks.name, through, p - 1)
  if (rounds > 1) {
    const [groups, turns] = group(micro, p, rounds * p)
    const last = { ...turns, size: p }
    found = resampled(found.split(through.name, [groups, turns]), turns.name, last, (rounds - 1) * p).merge([groups.name, last.name], micro)
  }
  return found.merge([part.name, micro.name], whole)
}

/** What a stage made handed to the next. In a circle the last one's goes to the first. */
export const handedOn = (x: T, { stages: { stage }, plan: { rounds } }: Pick<Works, 'stages' | 'plan'>): T => (rounds === 1 ? shift<string, string>(x, stage.name, 1) : roll<string, string>(x, stage.name, 1))

/**
 * `scan(over, x, stacked, block)` as a pipeline: layer by layer x goes through `block(x, layer)`, which is given one slice along `over` of every leaf of `stacked`. The layers are in
 * `stages` along a dim `stage`, for which a layout has a rule; the batch is cut into microbatches, of which every stage has another one at a time. Blocks, and what they use from outside, are
 * written for the whole batch: dropout, masks and whatever else has the batch's dim is cut with it, so that the numbers are those of the scan. Along the batch a block treats each element by
 * itself. x: any dims with `batch`, the same before and after a block.
 *
 * Layers rest where they are used with a rule for `over` beside that for `stage`, `{ stage: 'pipe', layers: 'pipe' }`; in rounds, and in stages of unlike length, they have to be moved there, unless they are stacked in the places of `placesOf`.
 * @throws UsageError where an option is none, or there are fewer layers than stages; DimError where microbatches do not divide the batch, or a block changes what it hands on, or mixes examples
 */
export function pipeline<N extends string, X extends Tree, W extends Tree>(over: Dim<N>, x: X, stacked: W, block: (x: X, layer: Without<W, N>) => X, options: PipelineOptions): X {
  return walked(over, x, stacked, block, options).result
}

/** What one stage has alone: what enters the first is computed by it, and what comes out of the last is left with it, along the dim of the stages. */
export interface Alone<X extends Tree> { readonly entering?: () => X }

/** What `pipeline` gives, or where stages have something `alone` what the last one has of it. */
export function walked<N extends string, X extends Tree, W extends Tree>(
  over: Dim<N>, x: X, stacked: W, block: (x: X, layer: Without<W, N>) => X, options: PipelineOptions, alone?: Alone<X>,
): { readonly result: X; readonly works: Works } {
  if (options.schedule === '1f1b') throw new UsageError({ code: 'pipeline-schedule', what: 'pipeline: the schedule 1f1b goes back before all of the batch is through, and there is no loss to go back from', fix: 'use pipelineLoss, which is given the loss of a microbatch', at: userSite() })
  const works = worksOf(over, x, stacked, block as (x: X, layer: Tree) => X, options)
  const { stages: { stage }, ticks, stage: place } = works
  const leaves = leavesOf(x)
  const empty = leaves.map(({ leaf }) => nothing(leaf, works))
  const { entering: begin } = alone ?? {}
  const given = begin === undefined ? leaves : leavesOf(whereAlone(place.equal(0), () => mapTree(begin(), leaf => firsts(leaf, works)) as Tree))
  // What is stacked for the way back has the dtype of what is walked over: cotangents of halves are f32 until they are used.
  const [, ys] = scan(ticks, empty as Tree, { fed: given.map(l => fedAt(loose(l.leaf).cast(sumsIn(l.leaf.dtype)), works)), tick: iota(ticks) } as Tree, (arrived, now) => {
    const { fed, tick } = now as unknown as { readonly fed: readonly T[]; readonly tick: T }
    const turn = along(tick, stage).sub(place)
    const { round } = turnOf(works, turn)
    const first = round === undefined ? place.equal(0) : place.equal(0).and(round.equal(0))
    const given = (arrived as readonly T[]).map((a, i) => entering(stage, fed[i]?.cast(a.dtype) ?? a, a, first))
    const { made } = stagesAt(works, given, turn)
    return [made.map(y => handedOn(y, works)) as Tree, made.map(y => (alone === undefined ? leaving(y, works) : y)) as Tree] as const
  })
  const result = rebuildTree(x, (ys as unknown as readonly T[]).map((y, i) => {
    const found = left(y, works)
    const shape = leaves[i]?.leaf.shape ?? found.shape
    return tensor(make('broadcast', [found.node], { shape: alone === undefined ? shape : [stage, ...shape] }))
  }))
  return { result, works }
}
