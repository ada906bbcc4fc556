/** `--layout auto`, `--mesh auto` and `plan --auto`: a run laid as the search finds best, and what it found as text. */
import { access } from 'node:fs/promises'
import type { Command } from 'commander'
import { machinePath } from '../calibrate/kept.ts'
import { UsageError } from '../core/errors.ts'
import { findLayout, type FindLayoutOptions, type FoundLayout, type LayoutSearch } from '../train/find-layout.ts'
import type { Machine } from '../machine/machine.ts'
import type { Run } from '../train/run.ts'
import { rematText } from '../train/ways.ts'
import { flagsText, foundFlags, meshText, rulesText } from './found-flags.ts'
import { formatBytes, formatDuration, formatInteger, formatMs, formatTable, shellWord } from './format.ts'
import { machineNamed } from './machines.ts'
import type { Output } from './output.ts'
import { applyFlags, layoutOf, wholeNumber, type RunFlags } from './overrides.ts'

export interface AutoFlags { readonly auto?: boolean; readonly devices?: string; readonly wire?: string; readonly machine?: string; readonly hosts?: string }
type Flags = RunFlags & AutoFlags
type Progress = Parameters<NonNullable<FindLayoutOptions['onProgress']>>[0]

export const withDevicesFlag = (command: Command): Command => command
  .option('--devices <n>', 'of a search (--layout auto, --mesh auto): how many devices; those of the run\'s mesh unless given')
  .option('--wire <bf16|int8>', 'of a search: let numbers cross axes in so few bits where that is quicker; it changes them, and nothing is rounded unless this says so')

const flagError = (what: string, fix: string): UsageError => new UsageError({ code: 'flag', what, fix })
const partsOf = (text: string | undefined): string[] => text?.split(',').map(part => part.trim()) ?? []
const asked = (text: string | undefined): boolean => partsOf(text).includes('auto')

/** Whether the flags ask for a search. @throws UsageError where they contradict each other */
export function asksForSearch({ auto, mesh, layout, params, state, batch, model, devices, wire, set = [] }: Flags): boolean {
  const searches = auto === true || asked(mesh) || asked(layout)
  if (asked(mesh) && mesh !== 'auto') throw flagError(`--mesh ${shellWord(mesh ?? '')}: "auto" finds all axes and their sizes`, 'give --mesh auto, or the whole mesh without "auto"')
  if (partsOf(layout).filter(part => part === 'auto').length > 1) throw flagError('--layout: "auto" is said twice', 'leave one of them out')
  for (const [flag, given] of [['--params', params], ['--state', state]] as const) {
    if (asked(given)) throw flagError(`${flag}: "auto" is said of the whole layout`, 'leave it out: a search finds what rests in parts, too')
  }
  if (!searches && devices !== undefined) throw flagError('--devices says of how many devices a mesh is searched, and nothing is searched', 'add --mesh auto --layout auto, or leave it out')
  if (!searches && wire !== undefined) throw flagError('--wire says in what a search may let numbers cross axes, and nothing is searched', 'add --mesh auto --layout auto, or leave it out: what crosses an axis in fewer bits is a field of the run, wire')
  if (wire !== undefined && wire !== 'bf16' && wire !== 'int8') throw flagError(`--wire: there is no "${wire}"`, 'one of bf16, int8')
  const laid = searches ? set.find(assignment => /^(mesh|layout|params|state|gradients|layouts)\b/.test(assignment)) : undefined
  if (laid !== undefined) throw flagError(`--set ${laid}: a search is to find how the run is laid`, 'leave it out: rules that stay are said behind "auto", or of parameters and slots, by the flags of their own')
  for (const [flag, given] of [['--batch', batch], ['--model', model]] as const) {
    if (searches && given !== undefined) throw flagError(`${flag} says how large an axis is, and a search is to find it`, 'leave this flag out: axes and their sizes are found')
  }
  return searches
}

/** The rules that stay: what --layout has beside `auto`. */
const pinnedIn = ({ layout, params, state }: Flags): { layout?: Run['layout']; params?: Run['layout']; state?: Run['layout'] } => {
  const rules = partsOf(layout).filter(part => part !== 'auto')
  const of = (text: string, flag: string, example?: string): Run['layout'] => layoutOf(text, flag, {}, example) as Run['layout']
  return { ...(rules.length === 0 ? {} : { layout: of(rules.join(','), '--layout', 'auto,batch=data') }), ...(params === undefined ? {} : { params: of(params, '--params') }), ...(state === undefined ? {} : { state: of(state, '--state') }) }
}

/** The machine that is named; else this one as it was measured, by ranks for a job's, where it has so many devices; else a CPU by its data sheet. */
async function machineFor(given: string | undefined, output: Pick<Output, 'note'>, ranks: number | undefined, devices: number): Promise<Machine> {
  if (given !== undefined) return machineNamed(given)
  for (const name of ranks === undefined ? ['here'] : ['ranks', 'here']) {
    if (!await access(machinePath(name)).then(() => true, () => false)) continue
    const machine = await machineNamed(name)
    if (devices <= machine.domain || machine.links.between !== null) return machine
    output.note(`this machine was measured with ${machine.domain} devices, and ${devices} are asked for: prices are those of cpu-25gbe by its data sheet; name the machine by --machine`)
    return machineNamed('cpu-25gbe')
  }
  output.note('prices are those of cpu-25gbe by its data sheet: name the machine by --machine, or measure this one by `npx meshwork calibrate`')
  return machineNamed('cpu-25gbe')
}

/** The run that a search is for, with the fields that flags set; where it keeps its mesh, that is not searched. */
export function searchedFor(run: Run, flags: Flags): { readonly run: Run; readonly free: boolean } {
  const { mesh, layout: _, params: __, state: ___, ...others } = flags
  const says = mesh !== undefined && mesh !== 'auto'
  return { run: applyFlags(run, { ...others, ...(says ? { mesh } : {}) }), free: flags.auto === true ? !says : mesh === 'auto' }
}

/** What is being done, how far it is, how fast, and what is left of it: each part of a search has a number of its own. */
function searchProgress(output: Pick<Output, 'status'>, now: () => number = () => performance.now()): (at: Progress) => void {
  let part: { readonly what: string; readonly since: number; readonly from: number } | undefined
  return ({ what, done, total }) => {
    if (part?.what !== what) part = { what, since: now(), from: done }
    const [seconds, more] = [(now() - part.since) / 1000, done - part.from]
    const rate = seconds < 1 || more < 1 ? '' : `, ${(more / seconds).toPrecision(2)}/s, ${formatDuration((total - done) * seconds / more)} left of this part`
    output.status(`searching layouts: ${what}, ${done} of ${total}${rate}`)
  }
}

/** What was found, and the name of the machine for which. */
export interface Found { readonly found: LayoutSearch; readonly machine: string }

/** Searches; for a job of so many `ranks`, of as many devices. @throws LayoutError, UsageError as `findLayout` does, and for flags that cannot be */
export async function searched(run: Run, flags: Flags, output: Pick<Output, 'note' | 'status'>, ranks?: number): Promise<Found> {
  const { run: changed, free } = searchedFor(run, flags)
  const size = Object.values(changed.mesh).reduce((a, b) => a * b, 1)
  const said = flags.devices === undefined ? undefined : wholeNumber(flags.devices, '--devices', 1, 2 ** 20)
  const hosts = flags.hosts === undefined ? undefined : wholeNumber(flags.hosts, '--hosts', 1, 2 ** 20)
  const machine = await machineFor(flags.machine, output, ranks, said ?? (free && hosts === undefined ? ranks : undefined) ?? size)
  const ofHosts = hosts === undefined ? undefined : hosts * machine.devicesPerHost
  if (said !== undefined && ofHosts !== undefined && said !== ofHosts) throw flagError(`--devices ${said}: --hosts ${hosts} is ${ofHosts} devices of ${machine.name}`, 'leave one of them out')
  const devices = said ?? ofHosts ?? (free ? ranks ?? size : size)
  if (!free && devices !== size) throw flagError(`--devices ${devices}: the mesh has ${size}`, 'leave one of them out, or give --mesh auto')
  const found = findLayout(changed, { devices, machine, pins: pinnedIn(flags), ...(flags.wire === undefined ? {} : { wire: flags.wire as 'bf16' | 'int8' }), ...(free ? {} : { mesh: changed.mesh }), onProgress: searchProgress(output) })
  return { found, machine: machine.name }
}

const key = (name: string): string => (/^[A-Za-z_$][\w$]*$/.test(name) ? name : `'${name}'`)
const literal = (x: unknown): string => (Array.isArray(x) ? `[${x.map(literal).join(', ')}]` : typeof x === 'object' && x !== null ? Object.keys(x).length === 0 ? '{}' : `{ ${Object.entries(x).map(([k, v]) => `${key(k)}: ${literal(v)}`).join(', ')} }` : typeof x === 'string' ? `'${x}'` : String(x))
const some = (rules: object): boolean => Object.keys(rules).length > 0

/** What goes into a recipe: rules of its own that were not found are taken back. What nothing computes again by is left out. */
export function recipeLine(run: Pick<Run, 'params' | 'state' | 'gradients' | 'layouts' | 'microbatches' | 'wire'>, found: FoundLayout): string {
  const rules = (['params', 'state', 'gradients', 'layouts', 'wire'] as const).flatMap(name => (some(found[name]) || some(run[name]) ? [`${name}: ${literal(found[name])}`] : []))
  const { mesh, layout, remat, microbatches, model } = found
  return [
    `mesh: ${literal(mesh)}`, `layout: ${literal(layout)}`, ...rules, ...(model.pipeline?.schedule === '1f1b' ? [] : [`remat: ${literal(remat)}`]), ...(microbatches === run.microbatches ? [] : [`microbatches: ${microbatches}`]),
  ].join(', ')
}
/** And into the configuration of its model; empty where that stays. */
export const modelLine = ({ model: { pipeline, blockwise }, remat }: FoundLayout): string => [
  ...(pipeline === undefined ? [] : [`pipeline: ${pipeline === null ? 'undefined' : literal({ ...pipeline, ...(pipeline.schedule === '1f1b' ? { remat } : {}) })}`]), ...(blockwise === undefined ? [] : [`blockwise: ${blockwise}`]),
].join(', ')

const stagesText = ({ model: { pipeline } }: FoundLayout): string[] => {
  if (pipeline === undefined || pipeline === null) return pipeline === null ? ['no pipeline'] : []
  const { stages, microbatches, schedule = 'gpipe' } = pipeline
  return [`${typeof stages === 'number' ? stages : stages.length} stages, ${schedule}, ${microbatches} microbatches`]
}
/** Axes along which nothing is cut, so that all devices of one do the same. */
const idleAxes = ({ mesh, layout, params, state, gradients, layouts, model }: FoundLayout): (readonly [axis: string, size: number])[] => {
  const used = new Set([layout, params, state, gradients, ...Object.values(layouts)].flatMap(rules => Object.values(rules).flat()))
  return Object.entries(mesh).flatMap(([axis, n]) => (n === 1 || used.has(axis) || (axis === 'stage' && model.pipeline !== undefined) ? [] : [[axis, n] as const]))
}
const devicesOf = ({ mesh }: FoundLayout): number => Object.values(mesh).reduce((a, b) => a * b, 1)
/** What is said of devices that only do what others do. */
export function idleText(found: FoundLayout): string | undefined {
  const idle = idleAxes(found)
  const enough = idle.reduce((left, [, n]) => left / n, devicesOf(found))
  return idle.length === 0 ? undefined : `nothing is cut along ${idle.map(([axis, n]) => `${axis}=${n}`).join(', ')}, where devices all do the same: ${enough === 1 ? 'one would be' : `${formatInteger(enough)} would be`} as quick, and no cut among more of them that is possible is quicker`
}
/** A digit more than elsewhere: the best lie close to each other. */
const stepText = (ms: number): string => (ms < 9999.5 ? `${ms.toPrecision(4)} ms` : ms < 9999.5e3 ? `${(ms / 1e3).toPrecision(4)} s` : formatMs(ms))
const rowOf = (c: FoundLayout, i: number): string[] => [
  String(i + 1), stepText(c.predicted.stepMs), formatBytes(c.predicted.peakBytes), formatMs(c.predicted.collectiveMs), meshText(c) || 'one device', rulesText(c.layout) || '–',
  [...(some(c.params) ? [`params ${rulesText(c.params)}`] : []), ...(some(c.state) ? [`state ${rulesText(c.state)}`] : []), ...(some(c.gradients) ? [`gradients ${rulesText(c.gradients)}`] : []), ...stagesText(c), ...(some(c.wire) ? [`wire ${rulesText(c.wire)}`] : []), ...Object.entries(c.layouts).map(([name, rules]) => `${name} ${rulesText(rules)}`), `remat ${rematText(c.remat)}`, ...(c.microbatches === 1 ? [] : [`${c.microbatches} microbatches`])].join('; '),
]

/** The ten best, why the obvious ones are not, and what to paste: into the recipe, or behind its `name` and the fields that were `set`. */
export function drawSearch(run: Run, { found, machine }: Found, { name, set = [] }: { readonly name: string; readonly set?: readonly string[] | undefined }): string[] {
  const flags = foundFlags(run, found, set)
  const devices = devicesOf(found)
  const idle = idleText(found)
  return [
    `${run.name} on ${formatInteger(devices)} device${devices === 1 ? '' : 's'} of ${machine}: ${formatInteger(found.priced)} layouts priced, the best ${found.candidates.length} planned whole`, '',
    ...formatTable([['', 'a step', 'memory', 'collectives', 'mesh', 'layout', 'beside'], ...found.candidates.map(rowOf)], 7).map(l => `  ${l}`), '',
    ...(found.obvious.length === 0 ? [] : ['what one would try first, with one axis', ...formatTable(found.obvious.map(o => [o.name, o.reason, o.text]), 3).map(l => `  ${l}`), '']),
    ...(idle === undefined ? [] : [idle, '']),
    'for the recipe', `  ${recipeLine(run, found)}`, ...(modelLine(found) === '' ? [] : ['in its model', `  ${modelLine(found)}`]),
    ...(flags === undefined ? [] : ['or at the command line', `  npx meshwork train ${shellWord(name)} ${flagsText(flags)}`]),
  ]
}
