/**
 * The search over layouts. Variables are what each axis of each mesh does; what one layout costs is added up from tables (see `tables.ts`). Every choice for one axis is priced alone, which bounds what it
 * costs beside others from below if it scaled with them; combinations are taken in the order of these bounds until none that is left can be among the best. These are then planned whole.
 */
import type { Dim } from '../core/dim.ts'
import { names } from '../core/dim.ts'
import type { Layouts } from '../core/layout.ts'
import { mesh as meshOf, type Mesh } from '../core/mesh.ts'
import { dtypeOf, shapeOf } from '../graph/node.ts'
import type { Graph } from '../graph/ops.ts'
import type { LocalGraph } from '../partition/local.ts'
import { checkGraph } from '../partition/partition.ts'
import type { Machine } from '../machine/machine.ts'
import { factorings, orders } from './factors.ts'
import { Tensors } from './legal.ts'
import { neighbours } from './neighbours.ts'
import { idle, layoutsFor, optionKey, optionsFor, type Option } from './options.ts'
import { checkPins, keepsPins, pinnedAxes, pinnedOption, type Pins } from './pins.ts'
import { lyingBytes, referenceOf, restingBytes, type Reference } from './reference.ts'
import { Tables, type Tabled } from './tables.ts'

/** A program that the step may be: what is computed again, in how many parts the batch goes through. */
export interface Variant<V> {
  readonly of: V
  readonly graph: () => Graph
  /** Arguments that the program takes over. */
  readonly donations: (local: LocalGraph) => ReadonlyMap<number, number>
  /** Why these layouts cannot be used with it. */
  readonly refuses: (layouts: Layouts, mesh: Mesh) => string | undefined
  /** Whether it can be better than those found so far that fit. */
  readonly worth: (found: readonly V[]) => boolean
}

export interface SearchGiven<V> {
  /** The one to begin with first. */
  readonly variants: readonly Variant<V>[]
  readonly devices: number
  /** Where it is given; else its axes are searched, too. */
  readonly mesh?: Mesh | undefined
  readonly machine: Machine
  readonly dims: readonly Dim[]
  readonly uses: Layouts['uses']
  readonly pins?: Pins | undefined
  /** Bytes that a device has for the program. */
  readonly memory: number
  readonly onProgress?: ((at: Progress) => void) | undefined
}
export interface Progress { readonly what: string; readonly done: number; readonly total: number }

/** A layout on a mesh, as the tables see it. */
export interface Candidate<V> {
  readonly variant: Variant<V>
  readonly mesh: Mesh
  readonly layouts: Layouts
  readonly cost: Tabled
  /** Uses of what rests that meet it there: see `partition`. */
  readonly atRest: ReadonlySet<string>
  /** At the peak, near enough. */
  readonly bytes: number
}

/** Axes of a mesh at most. */
const mostAxes = 3
/** Choices for an axis of one size that go on into combinations, and combinations that are priced. */
const mostOptions = 8
const mostPriced = 80
/** Of those that seem too large, how many are priced all the same, and how many are asked whether they fit in another variant. */
const [mostLarge, mostAsked] = [8, 200]
/** Layouts that are tried in other variants, and improved a rule at a time. */
const carriedOn = 3

interface Choice { readonly axis: string; readonly size: number; readonly option: Option }
interface Combination { readonly choices: readonly Choice[]; readonly bound: number; readonly bytes: number }
/** An axis that does what another one does is none. One may do nothing: where all devices together are slower than some of them, the others do the same. */
const redundant = (choices: readonly Choice[]): boolean => new Set(choices.map(c => optionKey(c.option))).size < choices.length
interface Single { readonly option: Option; readonly cost: Tabled; readonly resting: number }
const axisNames = ['x', 'y', 'z', 'w', 'v', 'u'] as const

/** One variant: its program, and tables for every list of sizes. */
class Searcher<V> {
  readonly reference: Reference
  readonly tensors: Tensors
  private readonly tables = new Map<string, { readonly mesh: Mesh; readonly tables: Tables }>()
  private readonly priced = new Map<string, Candidate<V> | undefined>()
  readonly variant: Variant<V>
  private readonly given: SearchGiven<V>

  constructor(variant: Variant<V>, given: SearchGiven<V>) {
    this.variant = variant
    this.given = given
    const graph = variant.graph()
    this.reference = referenceOf(graph, variant.donations, given.uses)
    this.tensors = new Tensors(graph, checkGraph(graph, meshOf({}), { layout: {}, ...(given.uses === undefined ? {} : { uses: given.uses }) }, given.dims))
  }

  get evaluated(): number { return this.priced.size }

  private tablesOf(sizes: readonly Choice[]): { readonly mesh: Mesh; readonly tables: Tables } {
    const key = sizes.map(s => `${s.axis}=${s.size}`).join()
    const { reference: { graph, runs, streamed } } = this
    const mesh = meshOf(Object.fromEntries(sizes.map(s => [s.axis, s.size])))
    const known = this.tables.get(key) ?? { mesh, tables: new Tables({ graph, mesh, machine: this.given.machine, runs, streamed }) }
    this.tables.set(key, known)
    return known
  }

  /** The layout with its axes in the order that takes least time; undefined where it is none, or the program cannot be laid so. */
  candidate(choices: readonly Choice[]): Candidate<V> | undefined {
    const key = choices.map(c => `${c.axis}=${c.size}: ${optionKey(c.option)}`).join(' | ')
    if (!this.priced.has(key)) this.priced.set(key, this.price(choices))
    return this.priced.get(key)
  }

  private price(choices: readonly Choice[]): Candidate<V> | undefined {
    const { uses, mesh: fixed } = this.given
    const layouts = layoutsFor(choices, uses)
    const { mesh, tables } = this.tablesOf(choices)
    if (this.wrong(layouts, mesh) !== undefined) return undefined
    const laid = tables.lay(layouts)
    const placements = fixed === undefined ? orders(choices) : [choices]
    const priced = placements.map(order => {
      const placed = meshOf(Object.fromEntries(order.map(c => [c.axis, c.size])))
      return { placed, cost: tables.price(laid, layouts, placed) }
    })
    const [best] = priced.sort((a, b) => a.cost.ms - b.cost.ms)
    return best === undefined ? undefined : { variant: this.variant, mesh: best.placed, layouts, cost: best.cost, atRest: laid.atRest, bytes: this.bytesOf(layouts, mesh) }
  }

  /** What a layout would have in memory at the peak, near enough; undefined where it is none. This takes no table. */
  bytes(choices: readonly Choice[]): number | undefined {
    const layouts = layoutsFor(choices, this.given.uses)
    const mesh = meshOf(Object.fromEntries(choices.map(c => [c.axis, c.size])))
    return this.wrong(layouts, mesh) === undefined ? this.bytesOf(layouts, mesh) : undefined
  }
  private bytesOf(layouts: Layouts, mesh: Mesh): number { return restingBytes(this.reference, layouts, mesh) + lyingBytes(this.reference, layouts, mesh) }

  /** Why a layout cannot be. */
  wrong(layouts: Layouts, mesh: Mesh): string | undefined { return this.tensors.wrong(layouts, mesh) ?? this.variant.refuses(layouts, mesh) }

  /** What an axis of this size may do, with pins or without, and what it costs alone: the quickest first. */
  singles(size: number, axis: string | undefined): Single[] {
    const { pins = {}, dims, uses } = this.given
    const { graph, walked, multiplied } = this.reference
    const weights = graph.inputs.filter(n => n.attrs.role === 'params').map(n => ({ shape: shapeOf(n), dtype: dtypeOf(n) }))
    const all = optionsFor(size, { tensors: this.tensors, dims, names: Object.keys(uses ?? {}), weights, walked, multiplied })
    const must = axis === undefined ? idle : pinnedOption(pins, axis)
    const pinned = axis === undefined ? [] : [must, ...all.map((o): Option => ({ ...o, compute: [...new Set([...must.compute, ...o.compute])], params: pins.params === undefined ? o.params : must.params, state: pins.state === undefined ? o.state : must.state }))]
    const kept = new Map([...all, ...pinned, idle].filter(o => keepsPins(pins, axis, o)).map(o => [optionKey(o), o]))
    const rest = this.given.devices / size
    const priced = (option: Option): Single[] => {
      const own = { axis: 'x', size, option }
      const c = this.candidate(rest === 1 || this.given.mesh !== undefined ? [own] : [own, { axis: 'y', size: rest, option: idle }])
      return c === undefined ? [] : [{ option, cost: c.cost, resting: restingBytes(this.reference, c.layouts, c.mesh) }]
    }
    const byMs = (a: Single, b: Single): number => a.cost.ms - b.cost.ms
    const places = (o: Option): boolean => Object.keys(o.named).length > 0
    const plain = [...kept.values()].filter(o => !places(o)).flatMap(priced).sort(byMs)
    // Places that the model names are tried of what is quick without: of what is slow they would not make the quickest.
    const leading = new Set(plain.slice(0, mostOptions).map(s => optionKey(s.option)))
    const found = [...plain, ...[...kept.values()].filter(o => places(o) && leading.has(optionKey({ ...o, named: {} }))).flatMap(priced)].sort(byMs)
    return found
  }

  /** Those of them that go on into combinations. To do nothing takes no other's place. */
  leading(size: number, axis: string | undefined): Single[] {
    const all = this.singles(size, axis)
    const nothing = all.slice(0, mostOptions).filter(s => s.option === idle)
    const found = all.filter(s => s.option !== idle)
    const front = found.filter(s => !found.some(o => o !== s && o.cost.ms <= s.cost.ms && o.resting < s.resting))
    return [...[...new Set([...front, ...found])].slice(0, Math.max(mostOptions, front.length)), ...nothing]
  }
}

/** Combinations of choices, one for each axis, with a bound on their time: what each alone takes, as if all the others shared it evenly. */
function combined(sizes: readonly { readonly axis: string; readonly size: number; readonly pinned: string | undefined }[], singles: (size: number, pinned: string | undefined) => readonly Single[], devices: number): { readonly choices: Choice[]; readonly bound: number }[] {
  const share = (ms: number, size: number): number => ms * size / devices
  let all: { choices: Choice[]; sent: number; computed: number }[] = [{ choices: [], sent: 0, computed: 0 }]
  for (const [at, { axis, size, pinned }] of sizes.entries()) {
    const free = sizes.slice(0, at).flatMap((s, i) => (s.pinned === undefined ? [i] : []))
    all = all.flatMap(({ choices, sent, computed }) => singles(size, pinned).flatMap(({ option, cost }) => {
      // Two axes that do the same are one.
      if (pinned === undefined && choices.some(c => optionKey(c.option) === optionKey(option))) return []
      // Of two free axes of one size, which does what is a matter of their names.
      if (pinned === undefined && free.some(i => sizes[i]?.size === size && optionKey(choices[i]?.option ?? idle) > optionKey(option))) return []
      return [{ choices: [...choices, { axis, size, option }], sent: sent + share(cost.collectiveMs, size), computed: Math.max(computed, share(cost.productMs + cost.memoryMs, size)) }]
    }))
  }
  return all.map(({ choices, sent, computed }) => ({ choices, bound: sent + computed }))
}

export interface Searched<V> {
  /** Those that fit, the quickest first; then those that do not, the least too large first. */
  readonly candidates: readonly Candidate<V>[]
  /** What everything on one axis costs: the obvious ones, with what each does; `wrong` where it cannot be. */
  readonly obvious: readonly { readonly name: string; readonly candidate?: Candidate<V>; readonly wrong?: string }[]
  readonly priced: number
}

const byTime = (memory: number) => (a: { readonly bytes: number; readonly cost: Tabled }, b: { readonly bytes: number; readonly cost: Tabled }): number => {
  const [fitsA, fitsB] = [a.bytes <= memory, b.bytes <= memory]
  return fitsA !== fitsB ? (fitsA ? -1 : 1) : fitsA ? a.cost.ms - b.cost.ms : a.bytes - b.bytes
}

/** Every layout worth a plan. @throws LayoutError for pins that contradict each other */
export function searchLayouts<V>(given: SearchGiven<V>): Searched<V> {
  const { devices, memory, pins = {}, variants, onProgress = () => {} } = given
  const [first, ...others] = variants
  if (first === undefined) throw new Error('there is nothing to search')
  const base = new Searcher(first, given)
  checkPins(pins, { tensors: base.tensors, dims: given.dims.map(d => d.name), devices, mesh: given.mesh, uses: given.uses })
  const combinations = combinationsIn(base, given)
  // Where nothing fits in the first, combinations are those that fit in the next one in which any does.
  const least = [...combinations].sort((a, b) => a.bytes - b.bytes).slice(0, mostAsked)
  const fitsIn = (searcher: Searcher<V>): boolean => least.some(({ choices }) => (searcher.bytes(choices) ?? Infinity) <= memory)
  let lead = base
  for (const [i, variant] of (fitsIn(base) ? [] : others).entries()) {
    onProgress({ what: 'ways to run the step in which anything fits', done: i, total: others.length })
    const other = new Searcher(variant, given)
    if (!fitsIn(other)) continue
    lead = other
    break
  }
  const found = searchIn(lead, given, combinations, c => (lead === base ? c.bytes : lead.bytes(c.choices)))
  const best = (list: readonly Candidate<V>[]): Candidate<V>[] => [...list].sort(byTime(memory))
  let all = best(found.map(f => f.candidate))
  const carried = [...new Map([...best(found.map(f => f.candidate)).slice(0, carriedOn), ...[...found.map(f => f.candidate)].sort((a, b) => a.cost.ms - b.cost.ms).slice(0, carriedOn)].map(c => [c, found.find(f => f.candidate === c)?.choices ?? []]))]
  let priced = base.evaluated + (lead === base ? 0 : lead.evaluated)
  for (const [i, variant] of variants.filter(v => v !== lead.variant).entries()) {
    onProgress({ what: 'other ways to run the step', done: i, total: others.length })
    if (!variant.worth(all.filter(c => c.bytes <= memory).map(c => c.variant.of))) continue
    const searcher = variant === first ? base : new Searcher(variant, given)
    const before = searcher.evaluated
    all = best([...all, ...carried.flatMap(([, choices]) => searcher.candidate(choices) ?? [])])
    priced += searcher.evaluated - before
  }
  return { candidates: all, obvious: obviousOf(base, given), priced }
}

interface Found<V> { readonly candidate: Candidate<V>; readonly choices: readonly Choice[] }

/** Every combination that is a layout, the least bound first. */
function combinationsIn<V>(searcher: Searcher<V>, given: SearchGiven<V>): Combination[] {
  const { devices, mesh: fixed, pins = {}, onProgress = () => {} } = given
  const known = new Map<string, Single[]>()
  const singles = (size: number, pinned: string | undefined): Single[] => {
    const key = `${size} ${pinned ?? ''}`
    const list = known.get(key) ?? searcher.leading(size, pinned)
    known.set(key, list)
    return list
  }
  const named = pinnedAxes(pins)
  // Each pinned axis is one of the mesh's; which, is tried.
  const meshes = fixed !== undefined ? [fixed.axes.map(a => ({ axis: a.name, size: a.size, pinned: a.name }))]
    : factorings(devices, Math.max(mostAxes, named.length)).filter(sizes => sizes.length >= named.length).flatMap(sizes => {
        const axes = sizes.map((size, i) => ({ axis: axisNames[i] ?? `a${i}`, size }))
        const ways = named.length === 0 ? [[]] : distinct(orders(axes).map(o => o.slice(0, named.length)))
        return ways.map(way => axes.map(a => { const at = way.findIndex(w => w.axis === a.axis); return { ...a, axis: named[at] ?? a.axis, pinned: at < 0 ? undefined : named[at] } }))
      })
  return meshes.flatMap((sizes, i) => {
    onProgress({ what: 'axes alone', done: i, total: meshes.length })
    return combined(sizes, singles, devices).flatMap(({ choices, bound }): Combination[] => {
      if (fixed === undefined && redundant(choices)) return []
      const bytes = searcher.bytes(choices)
      return bytes === undefined ? [] : [{ choices, bound, bytes }]
    })
  }).sort((a, b) => a.bound - b.bound)
}

function searchIn<V>(searcher: Searcher<V>, given: SearchGiven<V>, combinations: readonly Combination[], bytesOf: (c: Combination) => number | undefined): Found<V>[] {
  const { mesh: fixed, memory, pins = {}, onProgress = () => {} } = given
  const named = pinnedAxes(pins)
  const found = new Map<string, Found<V>>()
  const add = (choices: readonly Choice[]): Candidate<V> | undefined => {
    if (fixed === undefined && redundant(choices)) return undefined
    const candidate = searcher.candidate(choices)
    if (candidate !== undefined) found.set(choices.map(c => `${c.axis}=${c.size} ${optionKey(c.option)}`).join(' | '), { candidate, choices })
    return candidate
  }
  const worst = (): number => [...found.values()].map(f => f.candidate).filter(c => c.bytes <= memory).map(c => c.cost.ms).sort((a, b) => a - b)[9] ?? Infinity
  let limit = Infinity
  const large: Combination[] = []
  let tried = 0
  for (const c of combinations) {
    if (c.bound > limit || tried === mostPriced) break
    const bytes = bytesOf(c)
    if (bytes === undefined) continue
    if (bytes > memory) { large.push({ ...c, bytes }); continue }
    if (tried % 20 === 0) { onProgress({ what: 'combinations', done: tried, total: mostPriced }); limit = worst() }
    tried++
    add(c.choices)
  }
  // What seems too large may fit once less of it is kept, or be what comes nearest.
  for (const { choices } of [...large.slice(0, mostLarge), ...[...large].sort((a, b) => a.bytes - b.bytes).slice(0, mostLarge)]) add(choices)
  // Rules that the largest sets have and the best layout has not, one at a time.
  for (let round = 0; round < 3; round++) {
    const [lead, ...more] = [...found.values()].sort((a, b) => byTime(memory)(a.candidate, b.candidate)).slice(0, 2)
    onProgress({ what: 'rules one by one', done: round, total: 3 })
    const before = lead?.candidate
    for (const f of lead === undefined ? [] : [lead, ...more]) for (const next of neighbours(f.choices, searcher.tensors.dims(), (axis, option) => keepsPins(pins, fixed === undefined && !named.includes(axis) ? undefined : axis, option))) add(next)
    const [now] = [...found.values()].map(f => f.candidate).sort(byTime(memory))
    if (now === before) break
  }
  return [...found.values()]
}
const distinct = <T extends { readonly axis: string }>(lists: readonly (readonly T[])[]): (readonly T[])[] => [...new Map(lists.map(l => [l.map(a => a.axis).join(), l])).values()]

/** What anybody would try first. */
function obviousOf<V>(searcher: Searcher<V>, given: SearchGiven<V>): Searched<V>['obvious'] {
  const { devices } = given
  const { graph } = searcher.reference
  const inputs = graph.inputs.filter(n => n.attrs.role === 'compute').flatMap(n => names(shapeOf(n)))
  const inParams = new Set(graph.inputs.filter(n => n.attrs.role === 'params').flatMap(n => names(shapeOf(n))))
  const all = searcher.singles(devices, undefined).map(s => s.option)
  const is = (o: Option, dim: string): boolean => o.compute.includes(dim)
  const plain = (o: Option): boolean => o.params.length + o.state.length + Object.keys(o.named).length === 0
  const batch = 'batch'
  const pick = (fits: (o: Option) => boolean): Option | undefined => all.find(fits)
  const forms: readonly (readonly [string, Option | undefined])[] = [
    ['data parallel', pick(o => is(o, batch) && plain(o)) ?? { ...idle, compute: [batch] }],
    ['ZeRO-1', pick(o => is(o, batch) && o.state.length > 0)],
    ['FSDP', pick(o => is(o, batch) && o.params.length > 0)],
    ['tensor parallel', pick(o => !is(o, batch) && plain(o) && o.compute.filter(d => inParams.has(d)).length >= 2)],
    ['sequence parallel', inputs.includes('seq') ? pick(o => is(o, 'seq') && plain(o)) : undefined],
  ]
  return forms.flatMap(([name, option]): Searched<V>['obvious'] => {
    if (option === undefined) return []
    const choices = [{ axis: 'x', size: devices, option }]
    const candidate = searcher.candidate(choices)
    if (candidate !== undefined) return [{ name, candidate }]
    const wrong = searcher.wrong(layoutsFor(choices, given.uses), meshOf({ x: devices }))
    return [{ name, wrong: wrong ?? 'it cannot be laid so' }]
  })
}
