/** One program that is searched: its tables for every mesh, what its layouts cost, and what one axis may do. */
import type { Dim } from '../core/dim.ts'
import type { Layouts } from '../core/layout.ts'
import { mesh as meshOf, type Mesh } from '../core/mesh.ts'
import { choices } from '../core/platform.ts'
import { dtypeOf, shapeOf } from '../graph/node.ts'
import type { Graph } from '../graph/ops.ts'
import type { LocalGraph } from '../partition/local.ts'
import { checkGraph } from '../partition/partition.ts'
import type { Machine } from '../machine/machine.ts'
import { orders } from './factors.ts'
import { Tensors } from './legal.ts'
import { idle, layoutsFor, optionKey, optionsFor, type Option } from './options.ts'
import { keepsPins, pinnedOption, type Pins } from './pins.ts'
import { lyingBytes, referenceOf, restingBytes, type Reference } from './reference.ts'
import { Tables, type Laid, type Tabled } from './tables.ts'

/** A program that the step may be: what is computed again, in how many parts the batch goes through. */
export interface Variant<V> {
  readonly of: V
  /** What is computed again, as text: programs of other pipelines are compared by the same. */
  readonly again: string
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
  /** What its axes do. */
  readonly choices: readonly Choice[]
  readonly cost: Tabled
  /** Uses of what rests that meet it there: see `partition`. */
  readonly atRest: ReadonlySet<string>
  /** At the peak, near enough. */
  readonly bytes: number
}

/** Choices for an axis of one size that go on into combinations. */
const mostOptions = 8

export interface Choice { readonly axis: string; readonly size: number; readonly option: Option }
export interface Single { readonly option: Option; readonly cost: Tabled; readonly resting: number }
const keyOf = (choices: readonly Choice[]): string => choices.map(c => `${c.axis}=${c.size}: ${optionKey(c.option)}`).join(' | ')

/** One variant: its program, and tables for every list of sizes. */
export class Searcher<V> {
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
    this.reference = referenceOf(graph, variant.donations, given.uses, choices[given.machine.platform])
    this.tensors = new Tensors(graph, checkGraph(graph, meshOf({}), { layout: {}, ...(given.uses === undefined ? {} : { uses: given.uses }) }, given.dims))
  }

  get evaluated(): number { return this.priced.size }
  /** Whether what these choices cost is known. */
  knows(choices: readonly Choice[]): boolean { return this.priced.has(keyOf(choices)) }

  private tablesOf(sizes: readonly Choice[]): { readonly mesh: Mesh; readonly tables: Tables } {
    const key = sizes.map(s => `${s.axis}=${s.size}`).join()
    const { reference: { graph, runs, streamed } } = this
    const mesh = meshOf(Object.fromEntries(sizes.map(s => [s.axis, s.size])))
    const known = this.tables.get(key) ?? { mesh, tables: new Tables({ graph, mesh, machine: this.given.machine, runs, streamed }) }
    this.tables.set(key, known)
    return known
  }

  /** The layout with its axes in the order that takes least time; undefined where it is none, or the program cannot be laid so. What takes longer than `limit` need not be known exactly. */
  candidate(choices: readonly Choice[], limit: number = Infinity): Candidate<V> | undefined {
    const key = keyOf(choices)
    if (!this.priced.has(key)) this.priced.set(key, this.price(choices, limit))
    return this.priced.get(key)
  }

  private price(choices: readonly Choice[], limit: number): Candidate<V> | undefined {
    const { uses, mesh: fixed } = this.given
    const layouts = layoutsFor(choices, uses)
    const { mesh, tables } = this.tablesOf(choices)
    if (this.wrong(layouts, mesh) !== undefined) return undefined
    const placements = fixed === undefined ? orders(choices) : [choices]
    const pricedAs = (laid: Laid): { readonly placed: Mesh; readonly cost: Tabled }[] => placements.map(order => {
      const placed = meshOf(Object.fromEntries(order.map(c => [c.axis, c.size])))
      return { placed, cost: tables.price(laid, layouts, placed) }
    })
    const laid = tables.lay(layouts, all => limit < Infinity && all.tempted.size > 0 && Math.min(...pricedAs(all).map(({ cost }) => cost.ms - cost.restingMs)) > limit)
    const [best] = pricedAs(laid).sort((a, b) => a.cost.ms - b.cost.ms)
    return best === undefined ? undefined : { variant: this.variant, mesh: best.placed, layouts, choices, cost: best.cost, atRest: laid.atRest, bytes: this.bytesOf(layouts, mesh) }
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

  /** What an axis of this size may do, with pins or without. */
  options(size: number, axis: string | undefined): Option[] {
    const { pins = {}, dims, uses } = this.given
    const { graph, walked, multiplied } = this.reference
    const weights = graph.inputs.filter(n => n.attrs.role === 'params').map(n => ({ shape: shapeOf(n), dtype: dtypeOf(n) }))
    const all = optionsFor(size, { tensors: this.tensors, dims, names: Object.keys(uses ?? {}), weights, walked, multiplied })
    const must = axis === undefined ? idle : pinnedOption(pins, axis)
    const pinned = axis === undefined ? [] : [must, ...all.map((o): Option => ({ ...o, compute: [...new Set([...must.compute, ...o.compute])], params: pins.params === undefined ? o.params : must.params, state: pins.state === undefined ? o.state : must.state }))]
    return [...new Map([...all, ...pinned, idle].filter(o => keepsPins(pins, axis, o)).map(o => [optionKey(o), o])).values()]
  }

  /** The same with what each costs alone: the quickest first. */
  singles(size: number, axis: string | undefined): Single[] {
    const { uses } = this.given
    const kept = this.options(size, axis)
    const rest = this.given.devices / size
    // What rests where the other axes split all of it: more than there is fits beside none of their choices.
    const fits = (option: Option): boolean => {
      const [layouts, mesh] = [layoutsFor([{ axis: 'x', option }], uses), meshOf({ x: size })]
      return size === this.given.devices || this.wrong(layouts, mesh) !== undefined || restingBytes(this.reference, layouts, mesh) / rest <= this.given.memory
    }
    const priced = (option: Option): Single[] => {
      const own = { axis: 'x', size, option }
      const c = this.candidate(rest === 1 || this.given.mesh !== undefined ? [own] : [own, { axis: 'y', size: rest, option: idle }])
      return c === undefined ? [] : [{ option, cost: c.cost, resting: restingBytes(this.reference, c.layouts, c.mesh) }]
    }
    const byMs = (a: Single, b: Single): number => a.cost.ms - b.cost.ms
    const places = (o: Option): boolean => Object.keys(o.named).length > 0
    const fitting = kept.filter(o => !places(o)).filter(fits)
    const plain = (fitting.length > 0 ? fitting : kept.filter(o => !places(o))).flatMap(priced).sort(byMs)
    // Places that the model names are tried of what is quick without: of what is slow they would not make the quickest.
    const leading = new Set(plain.slice(0, mostOptions).map(s => optionKey(s.option)))
    const found = [...plain, ...kept.filter(o => places(o) && leading.has(optionKey({ ...o, named: {} }))).flatMap(priced)].sort(byMs)
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
