/** Layers of a model in a pipeline, as its configuration says: where they rest, and how they are walked. */
import { z } from 'zod'
import { hiddenName, type Dim } from '../core/dim.ts'
import type { Outcome } from '../graph/outcome.ts'
import type { ParamOptions } from '../graph/param.ts'
import { scan } from '../graph/scan.ts'
import { iota, leavesOf } from '../graph/tensor.ts'
import type { Tensor, Tree, Without } from '../graph/types.ts'
import type { PipelineSchedule } from './model.ts'
import { numbersAlong } from '../nn/numbers.ts'
import { areLayers, idleShare, inLayers, inPlaces, intoPlaces, pipeline, pipelineLoss, placesOf, planOf, type Pipelined, type Places } from '../parallel/index.ts'

/** How a model's layers go through a pipeline; a recipe's layout says on which axis `stage` and `layers` lie. */
export interface PipelineConfig extends Pipelined {
  /** What stages compute again on their way back, of the schedule `1f1b`; other schedules go by the run's `remat`. `{ keep: [] }` keeps what enters each layer, `everything` only what enters the stage, whose layers then run twice more. */
  readonly remat?: 'everything' | 'nothing' | 'all-but-contractions' | { readonly keep: readonly string[] } | undefined
  /** Who computes the loss: the last stage unless said, or all together where `vocab` lies on their axis; `all`: in any case. */
  readonly head?: 'last' | 'all' | undefined
}
const count = z.int().min(1)
export const pipelineSchema: z.ZodOptional<z.ZodType<PipelineConfig, PipelineConfig>> = z.strictObject({
  stages: z.union([count, z.array(count).min(1)]), microbatches: count, schedule: z.enum(['gpipe', 'circular', '1f1b']).optional(), rounds: count.optional(),
  remat: z.union([z.enum(['everything', 'nothing', 'all-but-contractions']), z.strictObject({ keep: z.array(z.string()) })]).optional(), head: z.enum(['last', 'all']).optional(),
}).optional()

export interface MayPipeline {
  readonly layers: number
  readonly pipeline?: PipelineConfig | undefined
  /** Layers at the beginning that are `dense`, and others than those behind them: they come before a pipeline. */
  readonly experts?: { readonly dense: number } | undefined
}

/** How many layers stand before a pipeline, on its first stage. */
export const layersBefore = ({ pipeline, experts }: MayPipeline): number => (pipeline === undefined ? 0 : experts?.dense ?? 0)
const layersWithin = (config: MayPipeline): number => config.layers - layersBefore(config)

/** The places of a configuration's layers; undefined where they lie in their order. */
export function placesIn(config: MayPipeline): Places | undefined {
  const { pipeline: how } = config
  const places = how === undefined ? undefined : placesOf(layersWithin(config), how)
  return places === undefined || areLayers(places) ? undefined : places
}
/** How many there are along `layers`: of a pipeline as many as there are places in it. */
export const layersIn = (config: MayPipeline): number => placesIn(config)?.length ?? layersWithin(config)
/** The dims that a pipeline adds to a model's. */
export const stageDims = ({ pipeline: how }: MayPipeline): { readonly stage?: Dim<'stage'> } =>
  (how === undefined ? {} : { stage: { name: 'stage', size: typeof how.stages === 'number' ? how.stages : how.stages.length } })

/** What a model says of its pipeline. */
export function toldOf({ pipeline: how }: MayPipeline): { readonly pipeline?: PipelineSchedule } {
  if (how === undefined) return {}
  const { name, stages, microbatches } = planOf(how)
  return { pipeline: { schedule: name, stages, microbatches, idle: idleShare(how) } }
}

/** A parameter's options, of one that is stacked along `layers`: at first each layer has what it has without a pipeline. */
export function stackedInit(config: MayPipeline): (how: ParamOptions) => ParamOptions {
  const places = placesIn(config)
  return how => (places === undefined || how.init === undefined ? how : { ...how, init: inPlaces(how.init, 'layers', places) })
}

type L = 'layers'
type Step<X extends Tree, W extends Tree> = (x: X, layer: Without<W, L>) => X
export interface Layers {
  /** The number of each layer, along `layers`; an empty place has that of the first there is. */
  readonly index: Tensor<L>
  /** A number of each layer, i32; undefined where all have the same. */
  readonly differing: (of: (layer: number) => number) => Tensor<L> | undefined
  /** What is told of each layer in their order, along a dim of its own, as parameters of layers rest: along `layers`, in places where those have some. */
  readonly resting: (told: Tensor<string>) => Tensor<string>
  /** One layer after another, with something carried along. */
  readonly walk: <X extends Tree, W extends Tree>(x: X, stacked: W, step: Step<X, W>) => X
  /** The same in a pipeline, where there is one and its microbatches divide the batch: then numbers may be told of few rows, too. */
  readonly through: <X extends Tree, W extends Tree>(x: X, stacked: W, step: Step<X, W>) => X
  /** The loss of what comes out; `enter` gives what goes in. */
  readonly loss: <X extends Tree, W extends Tree, B extends Tree>(enter: () => X, stacked: W, step: Step<X, W>, given: B, loss: (x: X, given: B) => Outcome) => Outcome
}

/** How the layers of a configuration are walked. `over` is their dim. */
export function layersOf(config: MayPipeline, over: Dim<L>): Layers {
  const { pipeline: how } = config
  const [layers, before] = [layersWithin(config), layersBefore(config)]
  const places = placesIn(config)
  const placing = places === undefined ? {} : { layers }
  const walk: Layers['walk'] = <X extends Tree, W extends Tree>(x: X, stacked: W, step: Step<X, W>): X => {
    if (places === undefined) return scan(over, x, stacked, (now, layer) => [step(now, layer), {}] as const)[0]
    const all = { name: hiddenName(over.name, 'all'), size: layers }
    return scan(all, x, inLayers(stacked, over.name, places, all.name), (now, layer) => [step(now, layer as unknown as Without<W, L>), {}] as const)[0]
  }
  const through: Layers['through'] = (x, stacked, step) => {
    const batch = leavesOf(x)[0]?.leaf.shape.find(d => d.name === 'batch')?.size ?? 0
    if (how === undefined || batch % how.microbatches !== 0) return walk(x, stacked, step)
    const { remat: _, head: __, ...pipelined } = how
    return pipeline(over, x, stacked, step, { ...pipelined, ...placing, ...(how.schedule === '1f1b' ? { schedule: 'gpipe' as const } : {}) })
  }
  const numbers = (of: (layer: number) => number): Tensor<L> => numbersAlong(over, Array.from({ length: over.size }, (_, i) => of(before + (places === undefined ? i : places[i] ?? 0))), 'i32')
  return {
    walk, through,
    resting: told => intoPlaces(told, hiddenName(over.name, 'all'), places, over.name),
    index: places !== undefined ? numbers(i => i) : before === 0 ? iota(over) : iota(over).add(before),
    differing: of => (Array.from({ length: config.layers }, (_, i) => of(i)).every(v => v === of(0)) ? undefined : numbers(of)),
    loss: (enter, stacked, step, given, loss) => (how === undefined ? loss(walk(enter(), stacked, step), given) : pipelineLoss(over, enter, stacked, step, given, loss, { ...how, ...placing })),
  }
}
