/**
 * Other stages for a model that goes through a pipeline, or may: a climb from one pipeline to those beside it (more stages or fewer, more microbatches or fewer, another schedule, none), as long as one is
 * quicker. Each has a program of its own, so few are tried, on the meshes of the best layouts so far with an axis of stages in them.
 */
import type { Dim } from '../core/dim.ts'
import { MeshworkError } from '../core/errors.ts'
import { idle, optionKey, type Option } from './options.ts'
import { keepsPins, pinnedAxes } from './pins.ts'
import { byRules, byTime, redundant, type Searched } from './search.ts'
import { Searcher, type Candidate, type Choice, type SearchGiven, type Variant } from './searcher.ts'

/** A program that goes through a pipeline, or through none. */
export interface Staged<V> {
  /** What distinguishes it. */
  readonly key: string
  /** 1 where there is no pipeline. */
  readonly stages: number
  /** The share of a step in which stages have nothing to do. */
  readonly idle: number
  readonly dims: readonly Dim[]
  /** The ways to run it; the one to begin with first. */
  readonly variants: readonly Variant<V>[]
}

/** Layouts that are taken to other stages, those of a pipeline that are priced, and pipelines that are tried. */
const [mostSeeds, mostPriced, mostTried] = [2, 4, 5]

const dimsOfStages: readonly string[] = ['stage', 'layers']
const bare = (dims: readonly string[]): readonly string[] => dims.filter(d => !dimsOfStages.includes(d))
const without = ({ compute, params, state, gradients, named }: Option): Option =>
  ({ compute: bare(compute), params: bare(params), state: bare(state), gradients: bare(gradients), named: Object.fromEntries(Object.entries(named).flatMap(([name, dims]) => (bare(dims).length === 0 ? [] : [[name, bare(dims)]]))) })
const ofStages: Option = { ...idle, compute: dimsOfStages }
const isOfStages = ({ option }: Choice): boolean => option.compute.includes('stage')

/** What axes do, with so many stages on one of them: the devices that this takes or leaves are another one's, whichever. `fixed`: the sizes stay as they are. */
export function restaged(choices: readonly Choice[], stages: number, fixed: boolean, named: readonly string[]): Choice[][] {
  const had = choices.find(isOfStages)
  const others = choices.filter(c => c !== had).map(c => ({ ...c, option: without(c.option) }))
  if (fixed) {
    const all = choices.map(c => ({ ...c, option: without(c.option) }))
    if (stages === 1) return had === undefined ? [] : [all]
    return choices.flatMap((c, i) => (c.size === stages && (had === undefined || c === had) ? [all.map((d, k) => (k === i ? { ...d, option: ofStages } : d))] : []))
  }
  let axis = had?.axis ?? 'p'
  while (had === undefined && choices.some(c => c.axis === axis)) axis = `${axis}p`
  const more = stages === 1 ? [] : [{ axis, size: stages, option: ofStages }]
  const freed = (had?.size ?? 1) / stages
  if (freed === 1) return [[...others, ...more]]
  return others.flatMap((c, i) => {
    const size = c.size * freed
    if (!Number.isInteger(size) || (size === 1 && named.includes(c.axis))) return []
    return [[...others.flatMap((d, k) => (k !== i ? [d] : size === 1 ? [] : [{ ...d, size }])), ...more]]
  })
}

const keyOf = (choices: readonly Choice[]): string => choices.map(c => `${c.axis}=${c.size} ${optionKey(c.option)}`).join(' | ')

/** The layouts of a pipeline, from those of another one: computed again as the first of these is, or else in the first way in which any fits. */
function layoutsOf<V>(staged: Staged<V>, given: SearchGiven<V>, seeds: readonly Candidate<V>[]): { readonly searcher: Searcher<V> | undefined; readonly found: Candidate<V>[]; readonly priced: number } {
  const { mesh, memory, pins = {} } = given
  const named = pinnedAxes(pins)
  const keeps = (choices: readonly Choice[]): boolean => (mesh !== undefined || !redundant(choices)) && choices.every(c => keepsPins(pins, mesh !== undefined || named.includes(c.axis) ? c.axis : undefined, c.option))
  const all = [...new Map(seeds.flatMap(s => restaged(s.choices, staged.stages, mesh !== undefined, named)).filter(keeps).map(c => [keyOf(c), c])).values()]
  const again = seeds[0]?.variant.again
  const alike = staged.variants.filter(v => v.again === again)
  for (const variant of all.length === 0 ? [] : new Set([...alike, ...staged.variants])) {
    const searcher = new Searcher(variant, { ...given, dims: staged.dims, variants: staged.variants })
    const fitting = all.filter(choices => (searcher.bytes(choices) ?? Infinity) <= memory).slice(0, mostPriced)
    if (fitting.length === 0) continue
    return { searcher, found: fitting.flatMap(choices => searcher.candidate(choices) ?? []), priced: searcher.evaluated }
  }
  return { searcher: undefined, found: [], priced: 0 }
}

/** What was found, with layouts of other stages among it. `beside` says which pipelines are next to one. */
export function searchStages<V>(given: SearchGiven<V>, searched: Searched<V>, own: Staged<V>, beside: (key: string) => readonly Staged<V>[]): Searched<V> {
  const { memory, onProgress = () => {} } = given
  let all = [...searched.candidates]
  let { priced } = searched
  const seen = new Map([[own.key, own]])
  const searchers = new Map<Candidate<V>, { readonly staged: Staged<V>; readonly searcher: Searcher<V> }>()
  const keys = new Map<Candidate<V>, Staged<V>>()
  let at = own
  const best = (): Candidate<V> | undefined => all.filter(c => c.bytes <= memory).sort(byTime(memory))[0]
  while (seen.size <= mostTried) {
    const lead = best()
    if (lead === undefined) break
    // What nobody waits for, and no more than that: the products of the best, as busy as another pipeline is.
    const products = Math.min(...all.filter(c => c.bytes <= memory).map(c => c.cost.productMs * (1 - (keys.get(c) ?? own).idle)))
    const next = beside(at.key).filter(s => !seen.has(s.key) && products / (1 - s.idle) < lead.cost.ms)
    if (next.length === 0) break
    const seeds = [...all].filter(c => (keys.get(c) ?? own) === at).sort(byTime(memory)).slice(0, mostSeeds)
    for (const staged of next) {
      if (seen.size > mostTried) break
      onProgress({ what: 'stages of a pipeline', done: seen.size - 1, total: mostTried })
      seen.set(staged.key, staged)
      try {
        const { searcher, found, priced: more } = layoutsOf(staged, given, seeds)
        priced += more
        for (const c of found) {
          keys.set(c, staged)
          if (searcher !== undefined) searchers.set(c, { staged, searcher })
        }
        all = [...all, ...found]
      } catch (e) {
        // Layers that cannot go through this pipeline.
        if (!(e instanceof MeshworkError)) throw e
      }
    }
    const now = best()
    const its = now === undefined ? at : keys.get(now) ?? own
    if (its === at) break
    at = its
  }
  // The best of other stages has its rules looked at one by one, and is run in other ways.
  const winner = best()
  const where = winner === undefined ? undefined : searchers.get(winner)
  if (winner !== undefined && where !== undefined) {
    const { staged, searcher } = where
    const its = { ...given, dims: staged.dims, variants: staged.variants }
    const before = searcher.evaluated
    const found = new Set<Candidate<V>>([winner])
    byRules(searcher, its, 1, () => [...found], choices => {
      const c = given.mesh === undefined && redundant(choices) ? undefined : searcher.candidate(choices)
      if (c !== undefined) found.add(c)
    })
    priced += searcher.evaluated - before
    const [lead = winner] = [...found].sort(byTime(memory))
    all = [...new Set([...all, ...found])]
    for (const variant of staged.variants.filter(v => v !== searcher.variant)) {
      const other = new Searcher(variant, its)
      const candidate = other.candidate(lead.choices)
      if (candidate !== undefined) all.push(candidate)
      priced += other.evaluated
    }
  }
  return { ...searched, candidates: all.sort(byTime(memory)), priced }
}
