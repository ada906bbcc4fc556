/** Where layers rest: in the places that the stages of a pipeline have for them, so that none moves. In rounds a stage's layers are not one after another; unlike stages leave places empty. */
import { hiddenName, type Dim } from '../core/dim.ts'
import { DimError, UsageError } from '../core/errors.ts'
import { userSite } from '../core/site.ts'
import type { Initialiser } from '../graph/param.ts'
import { concat, pad, slice } from '../graph/rearrange.ts'
import { loose, mapTree, tensor } from '../graph/tensor.ts'
import { make } from '../graph/make.ts'
import type { AnyTensor, Tensor, Tree } from '../graph/types.ts'
import { numbersAlong } from '../nn/numbers.ts'
import { planOf, type Pipelined, type Plan } from './schedule.ts'

type T = Tensor<string>
/** Of each place, stage by stage, and of a stage round by round, its layer; undefined where it has none. */
export type Places = readonly (number | undefined)[]

/** The dims of layers in a pipeline, and the places that they have. */
export interface Stages {
  readonly stage: Dim
  /** Rounds of a circular schedule. */
  readonly rounds: Dim | undefined
  /** The layers of one stage in one round. */
  readonly own: Dim
  readonly places: Places
  /** Whether there is a layer in every place. */
  readonly full: boolean
}

/** @throws UsageError where there are fewer layers than stages, or other numbers of them are said */
export function stagesOf(over: string, layers: number, { stages }: Pipelined, { stages: p, rounds }: Plan): Stages {
  const pieces = p * rounds
  const said = typeof stages === 'number' ? undefined : stages
  const wrong = (what: string, fix: string): UsageError => new UsageError({ code: 'pipeline-layers', what: `pipeline: ${what}`, fix, at: userSite() })
  if (layers < pieces) throw wrong(`${layers} layers cannot be ${pieces} stages${rounds === 1 ? '' : ` (${p} in each of ${rounds} rounds)`}`, `use at most ${layers} stages, or more layers`)
  const total = said?.reduce((a, b) => a + b, 0) ?? 0
  if (said !== undefined && total * rounds !== layers) throw wrong(`the stages [${said.join(', ')}] have ${total} layers${rounds === 1 ? '' : ` in each of ${rounds} rounds`}, and there are ${layers}`, 'let the numbers of layers add up')
  // The first pieces have a layer more where they do not divide.
  const counts = Array.from({ length: pieces }, (_, i) => said?.[i % p] ?? Math.floor(layers / pieces) + (i < layers % pieces ? 1 : 0))
  const starts = counts.map((_, i) => counts.slice(0, i).reduce((a, b) => a + b, 0))
  const most = Math.max(...counts)
  const places = Array.from({ length: p }, (_, s) => Array.from({ length: rounds }, (_, r) => {
    const piece = r * p + s
    return Array.from({ length: most }, (_, i) => (i < (counts[piece] ?? 0) ? (starts[piece] ?? 0) + i : undefined))
  })).flat(2)
  return {
    stage: { name: 'stage', size: p }, rounds: rounds === 1 ? undefined : { name: hiddenName(over, 'round'), size: rounds },
    // Of a name that no layout has a rule for: what lies on an axis is the stages.
    own: { name: hiddenName(over, 'own'), size: most }, places, full: !places.includes(undefined),
  }
}

/** The places of so many layers. Where they are the layers in their order, layers need no places. @throws UsageError as `pipeline` */
export const placesOf = (layers: number, pipelined: Pipelined): Places => stagesOf('layers', layers, pipelined, planOf(pipelined)).places
export const areLayers = (places: Places): boolean => places.every((layer, i) => layer === i)

/** Neighbours that follow each other: from which layer on, and how many; of empty places how many. */
function runs(order: Places): { readonly from: number | undefined; size: number }[] {
  const found: { readonly from: number | undefined; size: number }[] = []
  for (const layer of order) {
    const last = found.at(-1)
    const goes = last !== undefined && (layer === undefined ? last.from === undefined : last.from !== undefined && last.from + last.size === layer)
    if (goes) last.size++
    else found.push({ from: layer, size: 1 })
  }
  return found
}

/** The places of a dim picked in an order, zeros where there is none. */
function picked(x: T, over: string, order: Places, to = over): T {
  const part = hiddenName(over, 'part')
  const pieces = runs(order).map(({ from, size }): T => (from === undefined ? empty(x, over, { name: part, size }) : slice<string, string>(x, over, { start: from, end: from + size, as: part as never })))
  const [only] = pieces
  const all: T = only !== undefined && pieces.length === 1 ? only : concat<string, string>(pieces, part)
  return tensor(make('rename', [all.node], { from: part, to }))
}
const empty = (x: T, over: string, to: Dim): T => {
  const none: T = slice<string, string>(x, over, { end: 1, as: to.name as never })
  // Shifted out of sight: zeros of the same dims, however x lies.
  return slice<string, string>(pad<string, string>(none, to.name, 0, to.size), to.name, { start: 1 })
}

/** A tensor stacked along the layers, or along their places, along stages, rounds and a stage's layers of a round. Where a place is empty are zeros. */
export function placed(x: AnyTensor, over: string, { stage, rounds, own, places }: Stages, inPlaces: boolean): T {
  const there = inPlaces || areLayers(places) ? loose(x) : picked(loose(x), over, places)
  return there.split(over, [stage, ...rounds === undefined ? [] : [rounds], own])
}

/** Which places have a layer: bools over stages, rounds and a stage's layers; undefined where all have. */
export const filled = (over: string, stages: Stages): T | undefined =>
  (stages.full ? undefined : placed(loose(numbersAlong({ name: hiddenName(over, 'place'), size: stages.places.length }, stages.places.map(layer => (layer === undefined ? 0 : 1)), 'i32')).notEqual(0), hiddenName(over, 'place'), stages, true))

/** Of tensors that lie in places, the layers in their order, along another dim: their number is one that no layout may fit. */
export const inLayers = <X extends Tree>(tree: X, over: string, places: Places, to: string): X => {
  const layers = places.flatMap((layer, i) => (layer === undefined ? [] : [[layer, i] as const])).sort(([a], [b]) => a - b).map(([, i]) => i)
  return mapTree(tree, x => (x.shape.some(d => d.name === over) ? picked(loose(x), over, layers, to) : x))
}

/** Of what lies in the layers' order, along a dim of its own, the places, along another; in their order where they are undefined. */
export const intoPlaces = (x: Tensor<string>, over: string, places: Places | undefined, to: string): Tensor<string> =>
  (places === undefined ? tensor(make('rename', [x.node], { from: over, to })) : picked(x, over, places, to))

/** First values of layers in places: those that the layers would have without. */
export const inPlaces = (init: Initialiser, over: string, places: Places): Initialiser => {
  // What is one number everywhere takes no key, and an empty place is in no sum.
  if (typeof init === 'number') return init
  const layers = places.filter(layer => layer !== undefined).length
  return (key, shape, dtype) => {
    if (!shape.some(d => d.name === over && d.size === places.length)) throw new DimError({ code: 'initialiser', what: `a parameter lacks the dim "${over}" of ${places.length} places`, fix: 'declare it with that dim', at: userSite() })
    const own: Dim = { name: hiddenName(over, 'all'), size: layers }
    return picked(loose(init(key, shape.map(d => (d.name === over ? own : d)), dtype)), own.name, places, over)
  }
}
