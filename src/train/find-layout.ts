/** The layout of a run, found: its mesh, rules, what is computed again, its microbatches, and what a step will take, before anything runs. */
import { named, planWhole, searchLayouts, type Candidate, type Pins, type Progress, type Variant, type Whole } from '../autolayout/index.ts'
import { isPart } from '../core/configurable.ts'
import { UsageError } from '../core/errors.ts'
import type { LayoutFrom } from '../core/layout.ts'
import { mesh as meshOf, partsOf } from '../core/mesh.ts'
import { donationPairs, graphOf, leavesOf, type Tree } from '../engine/index.ts'
import type { Machine } from '../machine/machine.ts'
import { stateOf, trainStep, type TrainState } from './program.ts'
import { fieldsOf, modelOf, withFields, type Run } from './run.ts'
import { trainerConfig } from './session.ts'

export interface FindLayoutOptions {
  /** How many there are. */
  readonly devices: number
  readonly machine: Machine
  /** Where it is given, its axes and sizes stay. */
  readonly mesh?: { readonly [axis: string]: number } | undefined
  /** Rules that stay: an axis that they name is there. */
  readonly pins?: Pins | undefined
  readonly onProgress?: ((at: Progress) => void) | undefined
}

type Rules = { readonly [dim: string]: string | readonly string[] }
/** A layout that was planned whole. All of it is plain data. */
export interface FoundLayout {
  readonly mesh: { readonly [axis: string]: number }
  readonly layout: Rules
  readonly params: Rules
  readonly state: Rules
  readonly layouts: { readonly [name: string]: Rules }
  readonly remat: Run['remat']
  readonly microbatches: number
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
export interface ObviousLayout { readonly name: string; readonly reason: 'chosen' | 'memory' | 'time' | 'impossible'; readonly text: string; readonly stepMs?: number; readonly peakBytes?: number }
export interface LayoutSearch extends FoundLayout {
  /** The best, at most ten, the quickest first; the first of them is what was chosen. */
  readonly candidates: readonly FoundLayout[]
  readonly obvious: readonly ObviousLayout[]
  /** Layouts that were priced by tables. */
  readonly priced: number
}

/** How a step may be run beside how it is laid: what is computed again, in how many parts. */
interface Way { readonly run: Run; readonly graph: () => ReturnType<typeof graphOf> }
const remats: readonly Run['remat'][] = ['nothing', 'all-but-contractions', 'everything']
/** Microbatches that are tried: powers of two that divide a batch. */
const partsOfBatch = (batch: number): number[] => [1, 2, 4, 16, 64].filter(m => batch % m === 0 && m <= batch)

interface Pipelined { readonly schedule?: string; readonly remat?: Run['remat'] }
const pipelineOf = ({ model }: Run): Pipelined | undefined => (isPart<unknown, never>(model) ? (model.config as { readonly pipeline?: Pipelined }).pipeline : undefined)

/** The run with another policy and other microbatches; stages that go back as soon as they can have a policy of their own. */
function changed(run: Run, remat: Run['remat'], microbatches: number): Run {
  const own = pipelineOf(run)
  const fields = fieldsOf(run)
  const model = own?.schedule === '1f1b' ? { model: { ...fields['model'] as object, pipeline: { ...own, remat } } } : {}
  return withFields(run, { ...fields, remat, microbatches, ...model }, 'the search')
}
const policyOf = (run: Run): Run['remat'] => { const own = pipelineOf(run); return own?.schedule === '1f1b' ? own.remat ?? 'all-but-contractions' : run.remat }

function variantOf(run: Run, base: Run): Variant<Way> {
  const [model, config] = [modelOf(run), trainerConfig(run)]
  const args: [TrainState<Tree>, Tree] = [stateOf(model, config), model.batch]
  const taken = leavesOf(args[0]).length
  let graph: ReturnType<typeof graphOf> | undefined
  const traced = (): ReturnType<typeof graphOf> => graph ??= graphOf(trainStep(model, config), args)
  return {
    of: { run, graph: traced }, graph: traced, donations: local => donationPairs(local, Array.from({ length: taken }, (_, i) => i)),
    // Parts one after another take less memory and no less time: they are for what does not fit with everything kept.
    worth: found => run.microbatches <= base.microbatches || !found.some(w => policyOf(w.run) === 'nothing' && w.run.microbatches < run.microbatches),
    refuses: (layouts, mesh) => {
      const axes = [layouts.layout['batch'] ?? []].flat()
      const rows = run.batch / run.microbatches / (model.pipeline?.microbatches ?? 1)
      return rows % partsOf(mesh, axes) === 0 ? undefined : `the ${rows} rows of a microbatch cannot be cut into ${partsOf(mesh, axes)} equal parts`
    },
  }
}

const plain = (rules: LayoutFrom | undefined): Rules => Object.fromEntries(Object.entries(rules ?? {}).flatMap(([d, rule]) => (rule === undefined ? [] : [[d, rule as string | readonly string[]]])))
const bytesText = (bytes: number): string => `${(bytes / 1e9).toPrecision(3)} GB`
const msText = (ms: number): string => `${ms.toPrecision(3)} ms`

/** How many are planned whole: until ten fit, and at most so many; more where none has fitted. */
const [wanted, most, mostInVain] = [10, 12, 24]

/**
 * Finds how to lay a run on so many devices of a machine: over every factoring of them into axes, rules for every dim, what rests in parts, what is computed again, and microbatches, under the
 * memory of a device. A layout is priced by tables of what each op's partition rule gives; the ten best are planned whole, and sorted by what their plans take. Deterministic.
 * @throws LayoutError for rules that cannot be kept together; UsageError where the model fits on the devices in no layout, which says by how much and what would make it fit
 */
export function findLayout(run: Run, options: FindLayoutOptions): LayoutSearch {
  const { devices, machine, pins, mesh, onProgress = () => {} } = options
  const model = modelOf(run)
  const memory = machine.memory.bytes - machine.memory.reserved
  const fixed = mesh === undefined ? undefined : meshOf(mesh)
  if (fixed !== undefined && fixed.size !== devices) throw new UsageError({ code: 'devices', what: `the mesh has ${fixed.size} devices, and the search is for ${devices}`, fix: 'give --devices the same number, or leave one of them out' })
  const ways = [[policyOf(run), run.microbatches] as const, ...(pipelineOf(run) === undefined ? partsOfBatch(run.batch) : [run.microbatches]).flatMap(m => remats.map(remat => [remat, m] as const))]
  const variants = [...new Map(ways.map(([remat, m]) => [`${remat} ${m}`, [remat, m] as const])).values()].map(([remat, m], i) => variantOf(i === 0 ? run : changed(run, remat, m), run))
  const given = { devices, machine, dims: Object.values(model.dims), uses: model.layouts, pins, memory, onProgress, mesh: fixed, variants }
  const { candidates, obvious, priced } = searchLayouts(given)
  const planned: { readonly candidate: Candidate<Way>; readonly whole: Whole }[] = []
  for (const candidate of candidates) {
    const fit = planned.filter(p => p.whole.memory.peak <= memory).length
    if (fit === wanted || planned.length >= (fit === 0 ? mostInVain : most)) break
    onProgress({ what: 'whole plans', done: planned.length, total: wanted })
    planned.push({ candidate, whole: planWhole(candidate, candidate.variant.of.graph(), given.dims, machine) })
  }
  const fitting = planned.filter(p => p.whole.memory.peak <= memory).sort((a, b) => a.whole.time.stepMs - b.whole.time.stepMs)
  if (fitting.length === 0) throw nothingFits(run, planned, candidates.length, options, memory)
  const keeps = [...Object.keys(mesh ?? {}), ...axesOf(pins)]
  const found = fitting.map(({ candidate, whole }) => foundOf(candidate, whole, keeps))
  const [best] = found
  if (best === undefined) throw new Error('one fits')
  return { ...best, candidates: found, priced, obvious: obvious.map(({ name, candidate, wrong }) => judged(name, candidate, wrong, best, memory)) }
}
const axesOf = (pins: Pins | undefined): string[] => [pins?.layout, pins?.params, pins?.state].flatMap(rules => Object.values(rules ?? {}).flat().filter(a => a !== undefined))

function foundOf({ variant, mesh, layouts }: Candidate<Way>, { time, memory }: Whole, keeps: readonly string[]): FoundLayout {
  const its = named(mesh, layouts, keeps)
  return {
    mesh: Object.fromEntries(its.mesh.axes.map(a => [a.name, a.size])), layout: plain(its.layouts.layout), params: plain(its.layouts.params), state: plain(its.layouts.state),
    layouts: Object.fromEntries(Object.entries(its.layouts.layouts ?? {}).map(([name, rules]) => [name, plain(rules)])), remat: policyOf(variant.of.run), microbatches: variant.of.run.microbatches,
    predicted: { stepMs: time.stepMs, peakBytes: memory.peak, productMs: time.productMs, memoryMs: time.memoryMs, collectiveMs: time.waitedMs },
  }
}

/** Why what anybody would try first is not what was found. */
function judged(name: string, candidate: Candidate<Way> | undefined, wrong: string | undefined, best: FoundLayout, memory: number): ObviousLayout {
  if (candidate === undefined) return { name, reason: 'impossible', text: wrong ?? 'it cannot be laid so' }
  const { cost, bytes, mesh, layouts } = candidate
  const own = { stepMs: cost.ms, peakBytes: bytes }
  if (bytes > memory) return { name, reason: 'memory', text: `about ${bytesText(bytes)} a device, ${bytesText(bytes - memory)} more than it has`, ...own }
  const its = named(mesh, layouts, [])
  const same = JSON.stringify([plain(its.layouts.layout), plain(its.layouts.params), plain(its.layouts.state)]) === JSON.stringify([best.layout, best.params, best.state])
  if (same) return { name, reason: 'chosen', text: 'it is what was found', ...own }
  const sent = cost.most === undefined ? '' : `, ${msText(cost.most.ms)} of it ${cost.most.kind}s along ${cost.most.axes.map(a => its.mesh.axes[mesh.axes.findIndex(x => x.name === a)]?.name ?? a).join(', ')}`
  return { name, reason: 'time', text: `about ${msText(cost.ms)}${sent}`, ...own }
}

function nothingFits(run: Run, planned: readonly { readonly candidate: Candidate<Way>; readonly whole: Whole }[], tried: number, { devices, machine, pins }: FindLayoutOptions, memory: number): UsageError {
  const [least] = [...planned].sort((a, b) => a.whole.memory.peak - b.whole.memory.peak)
  if (least === undefined) {
    return new UsageError({ code: 'no-layout', what: `${run.name} can be laid on ${devices} devices in no way`, details: { tried: String(tried) }, fix: 'give a number of devices whose factors divide the batch, or dims of the model' })
  }
  const { candidate, whole: { memory: { peak, temporaries } } } = least
  const its = foundOf(candidate, least.whole, [])
  const resting = peak - temporaries
  // What rests shrinks with the devices that it is spread over, and so does the batch's part.
  const enough = Math.ceil(devices * peak / memory)
  const power = 2 ** Math.ceil(Math.log2(enough))
  const fixes = [
    `about ${power} devices`, ...(its.remat === 'everything' ? [] : ['remat everything']), ...(temporaries > resting && its.microbatches < run.batch ? ['more microbatches'] : []),
    ...(Object.keys(its.params).length === 0 ? [`${pins?.params === undefined ? '' : 'no fixed '}rules for parameters at rest (FSDP)`] : []), 'a smaller model or batch',
  ]
  return new UsageError({
    code: 'does-not-fit', what: `${run.name} fits on ${devices} device${devices === 1 ? '' : 's'} of ${machine.name} in no layout: the least takes ${bytesText(peak)} of each, ${bytesText(peak - memory)} more than the ${bytesText(memory)} there are`,
    details: { least: `${Object.entries(its.mesh).map(([a, n]) => `${a}=${n}`).join(' × ') || 'one device'}, remat ${its.remat}, ${its.microbatches} microbatch${its.microbatches === 1 ? '' : 'es'}: ${bytesText(resting)} at rest, ${bytesText(temporaries)} beside` },
    fix: `use ${fixes.join(', or ')}`,
  })
}

/** The run laid as was found. @throws UsageError as `defineRun` does */
export function laidAs(run: Run, found: FoundLayout): Run {
  const again = changed(run, found.remat, found.microbatches)
  return withFields(again, { ...fieldsOf(again), mesh: found.mesh, layout: found.layout, params: found.params, state: found.state, gradients: {}, layouts: found.layouts, wire: Object.fromEntries(Object.entries(run.wire).filter(([axis]) => Object.hasOwn(found.mesh, axis))) }, 'what the search found')
}
