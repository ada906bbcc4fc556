/**
 * The search over layouts. Variables are what each axis of each mesh does; what one layout costs is added up from tables (see `tables.ts`). Every choice for one axis is priced alone, which bounds what it
 * costs beside others from below if it scaled with them; combinations are taken in the order of these bounds until none that is left can be among the best. These are then planned whole.
 */
import { names } from '../core/dim.ts'
import { mesh as meshOf } from '../core/mesh.ts'
import { shapeOf } from '../graph/node.ts'
import { factorings, orders } from './factors.ts'
import { neighbours } from './neighbours.ts'
import { idle, layoutsFor, optionKey, sumsGradients, type Option } from './options.ts'
import { checkPins, keepsPins, pinnedAxes, type Pins } from './pins.ts'
import { Searcher, type Candidate, type Choice, type SearchGiven, type Single } from './searcher.ts'
import type { Tabled } from './tables.ts'

/** Axes of a mesh at most. */
const mostAxes = 3
/** Combinations that are priced. */
const mostPriced = 80
/** Of those that seem too large, how many are priced all the same, and how many are asked whether they fit in another variant. */
const [mostLarge, mostAsked] = [8, 200]
/** Layouts that are tried in other variants, and improved a rule at a time. */
const carriedOn = 3

interface Combination { readonly choices: readonly Choice[]; readonly bound: number; readonly bytes: number }
/** An axis that does what another one does is none. One may do nothing: where all devices together are slower than some of them, the others do the same. */
export const redundant = (choices: readonly Choice[]): boolean => new Set(choices.map(c => optionKey(c.option))).size < choices.length
/** Names of axes while nobody has named them: none that pins name. */
const axisNames = (named: readonly string[]): string[] => ['x', 'y', 'z', 'w', 'v', 'u'].map(name => { let own = name; while (named.includes(own)) own = `${own}${name}`; return own })

export interface Sized { readonly axis: string; readonly size: number; readonly pinned: string | undefined }
/** Every mesh of so many devices: each pinned axis is one of its axes; which, is tried. */
export function meshesOf(devices: number, pins: Pins): Sized[][] {
  const named = pinnedAxes(pins)
  const letters = axisNames(named)
  return factorings(devices, Math.max(mostAxes, named.length)).filter(sizes => sizes.length >= named.length).flatMap(sizes => {
    const axes = sizes.map((size, i) => ({ axis: letters[i] ?? `a${i}`, size }))
    const ways = named.length === 0 ? [[]] : distinct(orders(axes).map(o => o.slice(0, named.length)))
    return ways.map(way => axes.map(a => { const at = way.findIndex(w => w.axis === a.axis); return { ...a, axis: named[at] ?? a.axis, pinned: at < 0 ? undefined : named[at] } }))
  })
}

/** Combinations of choices, one for each axis, with a bound on their time: what each alone takes, as if all the others shared it evenly. */
function combined(sizes: readonly Sized[], singles: (size: number, pinned: string | undefined) => readonly Single[], devices: number): { readonly choices: Choice[]; readonly bound: number }[] {
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

interface Timed { readonly bytes: number; readonly cost: Tabled }
export const byTime = (memory: number): ((a: Timed, b: Timed) => number) => (a, b) => {
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
  let all = best(found)
  const carried = [...new Set([...all.slice(0, carriedOn), ...[...found].sort((a, b) => a.cost.ms - b.cost.ms).slice(0, carriedOn)])]
  let priced = base.evaluated + (lead === base ? 0 : lead.evaluated)
  for (const [i, variant] of variants.filter(v => v !== lead.variant).entries()) {
    onProgress({ what: 'other ways to run the step', done: i, total: others.length })
    if (!variant.worth(all.filter(c => c.bytes <= memory).map(c => c.variant.of))) continue
    const searcher = variant === first ? base : new Searcher(variant, given)
    const before = searcher.evaluated
    all = best([...all, ...carried.flatMap(({ choices }) => searcher.candidate(choices) ?? [])])
    priced += searcher.evaluated - before
  }
  return { candidates: all, obvious: obviousOf(base, given), priced }
}

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
  const meshes = fixed !== undefined ? [fixed.axes.map(a => ({ axis: a.name, size: a.size, pinned: a.name }))] : meshesOf(devices, pins)
  return meshes.flatMap((sizes, i) => {
    onProgress({ what: 'axes alone', done: i, total: meshes.length })
    return combined(sizes, singles, devices).flatMap(({ choices, bound }): Combination[] => {
      if (fixed === undefined && redundant(choices)) return []
      const bytes = searcher.bytes(choices)
      return bytes === undefined ? [] : [{ choices, bound, bytes }]
    })
  }).sort((a, b) => a.bound - b.bound)
}

function searchIn<V>(searcher: Searcher<V>, given: SearchGiven<V>, combinations: readonly Combination[], bytesOf: (c: Combination) => number | undefined): Candidate<V>[] {
  const { mesh: fixed, memory, onProgress = () => {} } = given
  const found = new Map<string, Candidate<V>>()
  let limit = Infinity
  const add = (choices: readonly Choice[]): Candidate<V> | undefined => {
    if (fixed === undefined && redundant(choices)) return undefined
    const candidate = searcher.candidate(choices, limit)
    if (candidate !== undefined) found.set(choices.map(c => `${c.axis}=${c.size} ${optionKey(c.option)}`).join(' | '), candidate)
    return candidate
  }
  const worst = (): number => [...found.values()].filter(c => c.bytes <= memory).map(c => c.cost.ms).sort((a, b) => a - b)[9] ?? Infinity
  const large: Combination[] = []
  // What one axis alone costs is known already. Bounds of many axes are lower than of one, and where the step's own overhead outweighs all that is split they would never let it come up.
  const known = new Set(combinations.filter(({ choices }) => searcher.knows(choices) && (searcher.candidate(choices)?.bytes ?? Infinity) <= memory))
  for (const { choices } of known) add(choices)
  let tried = 0
  for (const c of combinations) {
    if (known.has(c)) continue
    if (c.bound > limit || tried === mostPriced) break
    const bytes = bytesOf(c)
    if (bytes === undefined) continue
    if (bytes > memory) { large.push({ ...c, bytes }); continue }
    if (tried % 20 === 0) onProgress({ what: 'combinations', done: tried, total: mostPriced })
    limit = worst()
    tried++
    add(c.choices)
  }
  // What seems too large may fit once less of it is kept; or it is what comes nearest, where little fits.
  limit = worst()
  for (const { choices } of limit < Infinity ? large.slice(0, carriedOn) : [...large.slice(0, mostLarge), ...[...large].sort((a, b) => a.bytes - b.bytes).slice(0, mostLarge)]) add(choices)
  limit = worst()
  byRules(searcher, given, 3, () => [...found.values()], add)
  return [...found.values()]
}

/** Rules that the largest sets have and the best layout has not, one at a time, until none makes it better. */
export function byRules<V>({ tensors }: Searcher<V>, { mesh: fixed, memory, pins = {}, onProgress = () => {} }: SearchGiven<V>, rounds: number, known: () => readonly Candidate<V>[], add: (choices: readonly Choice[]) => unknown): void {
  const named = pinnedAxes(pins)
  const keeps = (axis: string, option: Option): boolean => keepsPins(pins, fixed === undefined && !named.includes(axis) ? undefined : axis, option)
  for (let round = 0; round < rounds; round++) {
    const [before, ...more] = [...known()].sort(byTime(memory)).slice(0, 2)
    onProgress({ what: 'rules one by one', done: round, total: rounds })
    for (const c of before === undefined ? [] : [before, ...more]) for (const next of neighbours(c.choices, tensors.dims(), keeps, sumsGradients(tensors))) add(next)
    const [now] = [...known()].sort(byTime(memory))
    if (now === before) break
  }
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
