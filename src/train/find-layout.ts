/** The layout of a run, found: its mesh, rules, what is computed again, its microbatches, and what a step will take, before anything runs. */
import { distinct, enoughDevices, givenBytes, named, planWhole, saidOnce, searchLayouts, searchStages, type Candidate, type Pins, type Progress, type SearchGiven, type Variant, type Whole } from '../autolayout/index.ts'
import { MeshworkError, UsageError } from '../core/errors.ts'
import type { LayoutFrom } from '../core/layout.ts'
import { mesh as meshOf } from '../core/mesh.ts'
import { formatBytes, formatMs } from '../core/quantities.ts'
import type { Machine } from '../machine/machine.ts'
import { fieldsOf, modelOf, withFields, type Run } from './run.ts'
import { pipelinesBeside, pipelineOf, policyOf, rematText, runAs, stagedOf, stagesAreSaid, type ModelFields, type Remat, type Way } from './ways.ts'

export interface FindLayoutOptions {
  /** How many there are. */
  readonly devices: number
  readonly machine: Machine
  /** Where it is given, its axes and sizes stay. */
  readonly mesh?: { readonly [axis: string]: number } | undefined
  /** Rules that stay: an axis that they name is there. */
  readonly pins?: Pins | undefined
  /** Where it is given, axes may be crossed in so few bits where that is quicker. It changes numbers: nothing is rounded that nobody has allowed to be. */
  readonly wire?: 'bf16' | 'int8' | undefined
  readonly onProgress?: ((at: Progress) => void) | undefined
}

type Rules = { readonly [dim: string]: string | readonly string[] }
/** A layout that was planned whole. All of it is plain data. */
export interface FoundLayout {
  readonly mesh: { readonly [axis: string]: number }
  readonly layout: Rules
  readonly params: Rules
  readonly state: Rules
  /** Of sums of microbatches' gradients. */
  readonly gradients: Rules
  readonly layouts: { readonly [name: string]: Rules }
  /** Of a pipeline that goes back as soon as it can, its own. */
  readonly remat: Remat
  readonly microbatches: number
  /** Axes that are crossed in fewer bits: those of the run that are still there, and such as were allowed. */
  readonly wire: Run['wire']
  /** Fields of the run's model: its pipeline, null where it is to have none any more, and `blockwise` where a pipeline needs it so. */
  readonly model: ModelFields
  readonly predicted: {
    readonly stepMs: number
    /** Of one device. */
    readonly peakBytes: number
    /** What of the step is products, elementwise work, and collectives that it waits for. */
    readonly productMs: number
    readonly memoryMs: number
    readonly collectiveMs: number
  }
}
/** What anybody would try first, and why it is not what was found. */
export interface ObviousLayout { readonly name: string; /** `fixed`: a mesh or rules that stay do not let it be. */ readonly reason: 'chosen' | 'memory' | 'time' | 'impossible' | 'fixed'; readonly text: string; readonly stepMs?: number; readonly peakBytes?: number }
export interface LayoutSearch extends FoundLayout {
  /** The best, at most ten, the quickest first; the first of them is what was chosen. */
  readonly candidates: readonly FoundLayout[]
  readonly obvious: readonly ObviousLayout[]
  /** Layouts that were priced by tables. */
  readonly priced: number
}

const plain = (rules: LayoutFrom | undefined): Rules => Object.fromEntries(Object.entries(rules ?? {}).flatMap(([d, rule]) => (rule === undefined ? [] : [[d, rule as string | readonly string[]]])))

interface Planned { readonly candidate: Candidate<Way>; readonly whole: Whole; /** By the search's own names of axes. */ readonly wire: Run['wire'] }
/** Of the quickest, how many are tried in fewer bits; and of the run's own pipeline, how many are planned whatever others there are. */
const [mostRounded, mostOwn] = [3, 3]
/** How many are planned whole: until ten fit, and at most so many; more where none has fitted. */
const [wanted, most, mostInVain] = [10, 12, 24]
/** So many times the memory, by the estimate, and no plan is needed to know it. */
const surelyTooLarge = 2
/** Devices at most of which it is asked whether a model fits on them, and how many numbers of them. */
const [mostAskedFor, mostCounts] = [16_384, 4]

/**
 * Finds how to lay a run on so many devices of a machine: over every factoring of them into axes, rules for every dim, what rests in parts, what is computed again, and microbatches, under the
 * memory of a device. A layout is priced by tables of what each op's partition rule gives; the ten best are planned whole, and sorted by what their plans take. Deterministic.
 * @throws LayoutError for rules that cannot be kept together; UsageError where the model fits on the devices in no layout, which says by how much and what would make it fit
 */
export function findLayout(run: Run, options: FindLayoutOptions): LayoutSearch {
  const { devices, machine, mesh, onProgress = () => {} } = options
  const pins = options.pins === undefined ? undefined : saidOnce(options.pins)
  const model = modelOf(run)
  const memory = machine.memory.bytes - machine.memory.reserved
  const fixed = mesh === undefined ? undefined : meshOf(mesh)
  if (fixed !== undefined && fixed.size !== devices) throw new UsageError({ code: 'devices', what: `the mesh has ${fixed.size} devices, and the search is for ${devices}`, fix: 'give --devices the same number, or leave one of them out' })
  const own = stagedOf(run, pipelineOf(run))
  const given = { devices, machine, dims: Object.values(model.dims), uses: model.layouts, pins, memory, onProgress, mesh: fixed, variants: own.variants }
  const [first] = own.variants
  const resting = first === undefined ? 0 : givenBytes(first, run.slots)
  // More than all of them hold together: that need not be searched for.
  if (resting > devices * memory) throw tooLarge(run, { devices, machine, memory, resting, enough: enoughFrom(given, resting, devices) })
  const searched = searchLayouts(given)
  const { candidates: all, obvious: usual, priced } = stagesAreSaid(pins) ? searched : searchStages(given, searched, own, pipelinesBeside(run, devices))
  // On one device all of them are one.
  const obvious = devices === 1 ? [] : usual
  const candidates = distinct(all)
  const keeps = [...Object.keys(mesh ?? {}), ...axesOf(pins)]
  // What the run says of an axis that is named stays.
  const said = Object.fromEntries(Object.entries(run.wire).filter(([axis]) => keeps.includes(axis)))
  const whole = (candidate: Candidate<Way>, wire: Run['wire']): Planned => ({ candidate, wire, whole: planWhole(candidate, candidate.variant.of.graph(), candidate.variant.of.dims, machine, wire) })
  const planned: Planned[] = []
  // Of elementwise work tables are estimates, and not alike for pipelines: the best of the run's own are looked at in any case.
  const ofOwn = new Set(candidates.filter(c => own.variants.includes(c.variant)).slice(0, mostOwn))
  for (const candidate of candidates) {
    const fit = planned.filter(p => p.whole.memory.peak <= memory).length
    if (!ofOwn.has(candidate) && (fit >= wanted || planned.length >= (fit === 0 ? mostInVain : most))) continue
    onProgress({ what: 'whole plans', done: planned.length, total: fit === 0 && planned.length >= wanted ? mostInVain : Math.max(wanted, planned.length + 1) })
    planned.push(whole(candidate, Object.fromEntries(Object.entries(said).filter(([axis]) => candidate.mesh.axes.some(a => a.name === axis)))))
  }
  // What anybody would try first is compared by its plan, so that what is said of it and of the best is one kind of figure, and is among the best where it is quicker.
  const tried = new Map(obvious.flatMap(({ name, candidate }) => (candidate === undefined || candidate.bytes > surelyTooLarge * memory ? [] : [[name, whole(candidate, {})] as const])))
  const stays = fixed !== undefined || [pins?.layout, pins?.params, pins?.state].some(rules => rules !== undefined)
  if (!stays) planned.push(...[...tried.values()].filter(o => !planned.some(p => isSame(p.candidate, o.candidate))))
  const byTime = (a: Planned, b: Planned): number => a.whole.time.stepMs - b.whole.time.stepMs
  const fitting = planned.filter(p => p.whole.memory.peak <= memory).sort(byTime)
  if (fitting.length === 0) throw nothingFits(run, planned, candidates.length, given, resting)
  const rounded = options.wire === undefined ? [] : fitting.slice(0, mostRounded).flatMap(p => roundedOf(p, options.wire ?? 'bf16', whole))
  const found = [...fitting, ...rounded.filter(p => p.whole.memory.peak <= memory)].sort(byTime).slice(0, wanted).map(p => foundOf(p, keeps))
  const [best] = found
  if (best === undefined) throw new Error('one fits')
  return { ...best, candidates: found, priced, obvious: obvious.map(({ name, candidate, wrong }) => judged({ name, candidate, wrong, whole: tried.get(name)?.whole }, best, memory, stays)) }
}
/** Whether two candidates say the same, whatever their axes are called. */
function isSame(a: Candidate<Way>, b: Candidate<Way>): boolean {
  const said = ({ mesh, layouts }: Candidate<Way>): string => { const { mesh: m, layouts: l } = named(mesh, layouts, []); return JSON.stringify([m.axes, plain(l.layout), plain(l.params), plain(l.state), plain(l.gradients), l.layouts ?? {}]) }
  return a.variant === b.variant && said(a) === said(b)
}
/** The same with axes crossed in fewer bits: all that this makes quicker, and no other. */
function roundedOf({ candidate, whole: { time }, wire: before }: Planned, bits: 'bf16' | 'int8', whole: (candidate: Candidate<Way>, wire: Run['wire']) => Planned): Planned[] {
  const axes = candidate.mesh.axes.filter(a => a.size > 1).map(a => a.name)
  let best = whole(candidate, { ...before, ...Object.fromEntries(axes.map(axis => [axis, bits])) })
  if (!(best.whole.time.stepMs < time.stepMs)) return []
  for (const axis of axes.length === 1 ? [] : axes.filter(a => before[a] === undefined)) {
    const { [axis]: _, ...fewer } = best.wire
    const next = whole(candidate, fewer)
    if (next.whole.time.stepMs <= best.whole.time.stepMs) best = next
  }
  return [best]
}
const axesOf = (pins: Pins | undefined): string[] => [pins?.layout, pins?.params, pins?.state].flatMap(rules => Object.values(rules ?? {}).flat().filter(a => a !== undefined))

function foundOf({ candidate: { variant, mesh, layouts }, whole: { time, memory }, wire }: Planned, keeps: readonly string[]): FoundLayout {
  const its = named(mesh, layouts, keeps)
  return {
    mesh: Object.fromEntries(its.mesh.axes.map(a => [a.name, a.size])), layout: plain(its.layouts.layout), params: plain(its.layouts.params), state: plain(its.layouts.state), gradients: plain(its.layouts.gradients),
    layouts: Object.fromEntries(Object.entries(its.layouts.layouts ?? {}).map(([name, rules]) => [name, plain(rules)])), remat: policyOf(variant.of.run), microbatches: variant.of.run.microbatches, model: variant.of.model, wire: Object.fromEntries(Object.entries(wire).map(([axis, bits]) => [its.names.get(axis) ?? axis, bits])),
    predicted: { stepMs: time.stepMs, peakBytes: memory.peak, productMs: time.productMs, memoryMs: time.memoryMs, collectiveMs: time.waitedMs },
  }
}

interface Obvious { readonly name: string; readonly candidate: Candidate<Way> | undefined; readonly wrong: string | undefined; readonly whole: Whole | undefined }
/** Why what anybody would try first is not what was found; `stays`: a mesh or rules were fixed, which it need not keep. */
function judged({ name, candidate, wrong, whole }: Obvious, best: FoundLayout, memory: number, stays: boolean): ObviousLayout {
  if (candidate === undefined) return { name, reason: 'impossible', text: wrong ?? 'it cannot be laid so' }
  const { cost, mesh, layouts } = candidate
  const own = { stepMs: whole?.time.stepMs ?? cost.ms, peakBytes: whole?.memory.peak ?? candidate.bytes }
  const about = whole === undefined ? 'about ' : ''
  if (own.peakBytes > memory) return { name, reason: 'memory', text: `${about}${formatBytes(own.peakBytes)} a device, ${formatBytes(own.peakBytes - memory)} more than it has`, ...own }
  const its = named(mesh, layouts, [])
  const same = JSON.stringify([plain(its.layouts.layout), plain(its.layouts.params), plain(its.layouts.state)]) === JSON.stringify([best.layout, best.params, best.state])
  if (same) return { name, reason: 'chosen', text: 'it is what was found', ...own }
  const sent = cost.most === undefined ? '' : `, about ${formatMs(cost.most.ms)} of it ${cost.most.kind}s along ${cost.most.axes.map(a => its.names.get(a) ?? a).join(', ')}`
  if (stays && own.stepMs < best.predicted.stepMs) return { name, reason: 'fixed', text: `${about}${formatMs(own.stepMs)}, but the mesh or rules that are fixed do not let it be`, ...own }
  return { name, reason: 'time', text: `${about}${formatMs(own.stepMs)}${sent}`, ...own }
}

/** So many more devices that the same layout fits on, with one of its axes larger: by its plan. */
function enoughFor({ candidate, whole: { memory: { peak } } }: Planned, devices: number, machine: Machine, memory: number): number | undefined {
  const { variant, layouts, mesh: { axes } } = candidate
  const least = 2 ** Math.max(1, Math.floor(Math.log2(peak / memory)))
  for (const times of [least, 2 * least, 4 * least]) {
    for (const wide of axes.filter(a => a.size > 1).map(a => a.name)) {
      const mesh = meshOf(Object.fromEntries(axes.map(a => [a.name, a.name === wide ? a.size * times : a.size])))
      if (variant.refuses(layouts, mesh) !== undefined) continue
      try {
        const { memory: { peak: its } } = planWhole({ variant, mesh, layouts }, variant.of.graph(), variant.of.dims, machine)
        if (its <= memory) return devices * times
      } catch (e) {
        // Dims that so many parts do not divide.
        if (!(e instanceof MeshworkError)) throw e
      }
    }
  }
  return undefined
}

/** So many devices that some layout fits on, from so many on that what rests has room; undefined where that are too many to ask, or none is found. */
function enoughFrom(given: SearchGiven<Way>, resting: number, more: number): number | undefined {
  const from = roughly(Math.max(more + 1, resting / given.memory))
  // What is computed again is what is not kept; more microbatches keep less, and are cut among fewer devices.
  const sparing = given.variants.filter(v => policyOf(v.of.run) === 'everything')
  const variants = [sparing.at(-1), sparing[0]].filter((v, i, all) => v !== undefined && all.indexOf(v) === i) as Variant<Way>[]
  const counts = Array.from({ length: mostCounts }, (_, i) => from * 2 ** i).filter(n => n <= mostAskedFor)
  try { return enoughDevices({ ...given, mesh: undefined, variants }, counts) } catch (e) {
    // Rules that stay may be kept on no such number.
    if (e instanceof MeshworkError) return undefined
    throw e
  }
}
const roughly = (devices: number): number => 2 ** Math.ceil(Math.log2(devices))
const orMore = (enough: number | undefined, rough: number): string => (enough === undefined ? `more than ${rough} devices` : `${enough} devices, on which it fits`)
const devicesOf = (devices: number, machine: Machine): string => `${devices} device${devices === 1 ? '' : 's'} of ${machine.name}`

interface TooLarge { readonly devices: number; readonly machine: Machine; readonly memory: number; readonly resting: number; readonly enough: number | undefined }
/** What rests is more than there is of memory, however it lies. */
function tooLarge(run: Run, { devices, machine, memory, resting, enough }: TooLarge): UsageError {
  const each = resting / devices
  return new UsageError({
    code: 'does-not-fit', what: `${run.name} fits on ${devicesOf(devices, machine)} in no layout: parameters, slots and batch alone take ${formatBytes(each)} of each, ${formatBytes(each - memory)} more than the ${formatBytes(memory)} there are`,
    details: { least: `${formatBytes(resting)} at rest, spread over all ${devices}; activations and gradients come on top` }, fix: `use ${orMore(enough, Math.ceil(resting / memory))}, or a smaller model`,
  })
}

function nothingFits(run: Run, planned: readonly Planned[], tried: number, given: SearchGiven<Way>, atRest: number): UsageError {
  const { devices, machine, memory, pins } = given
  const [least] = [...planned].sort((a, b) => a.whole.memory.peak - b.whole.memory.peak)
  if (least === undefined) return new UsageError({ code: 'no-layout', what: `${run.name} can be laid on ${devices} devices in no way`, details: { tried: String(tried) }, fix: 'give a number of devices whose factors divide the batch, or dims of the model' })
  const { whole: { memory: { peak, temporaries } } } = least
  const its = foundOf(least, [])
  const resting = peak - temporaries
  // What rests shrinks with the devices that it is spread over, and so does the batch's part.
  const enough = enoughFor(least, devices, machine, memory) ?? enoughFrom(given, atRest, devices)
  const fixes = [
    orMore(enough, roughly(devices * peak / memory)), ...(its.remat === 'everything' ? [] : ['remat everything']), ...(temporaries > resting && its.microbatches < run.batch ? ['more microbatches'] : []),
    ...(Object.keys(its.params).length === 0 ? [`${pins?.params === undefined ? '' : 'no fixed '}rules for parameters at rest (FSDP)`] : []), 'a smaller model or batch',
  ]
  return new UsageError({
    code: 'does-not-fit', what: `${run.name} fits on ${devicesOf(devices, machine)} in no layout: the least takes ${formatBytes(peak)} of each, ${formatBytes(peak - memory)} more than the ${formatBytes(memory)} there are`,
    details: { least: `${Object.entries(its.mesh).map(([a, n]) => `${a}=${n}`).join(' × ') || 'one device'}, remat ${rematText(its.remat)}, ${its.microbatches} microbatch${its.microbatches === 1 ? '' : 'es'}: ${formatBytes(resting)} at rest, ${formatBytes(temporaries)} beside` },
    fix: `use ${fixes.join(', or ')}`,
  })
}

/** The run laid as was found. @throws UsageError as `defineRun` does */
export function laidAs(run: Run, found: FoundLayout): Run {
  const again = runAs(run, found)
  return withFields(again, { ...fieldsOf(again), mesh: found.mesh, layout: found.layout, params: found.params, state: found.state, gradients: found.gradients, layouts: found.layouts, wire: found.wire }, 'what the search found')
}
