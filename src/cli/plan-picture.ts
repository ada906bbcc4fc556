/** A plan as text: what each device holds and computes, and every collective with the line that causes it. */
import type { On } from '../pictured/predicted.ts'
import type { Forecast } from '../train/forecast.ts'
import type { PlannedCollective, PlannedRun, RunPlan } from '../train/planned.ts'
import type { Run } from '../train/run.ts'
import { dollars } from './forecast-text.ts'
import { formatBytes, formatFlops, formatInteger, formatMs, formatTable } from './format.ts'

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`
const meshText = ({ mesh }: RunPlan): string => Object.entries(mesh).map(([name, size]) => `${name} ${formatInteger(size)}`).join(' × ') || 'no axes'
const devices = ({ devices: n }: RunPlan): string => `${formatInteger(n)} device${n === 1 ? '' : 's'}`
const indented = (lines: readonly string[]): string[] => lines.map(l => `  ${l}`)

const remats: { readonly [P in Run['remat']]: string } = { 'all-but-contractions': 'everything between products', everything: 'everything', nothing: 'nothing' }

const inAll = (c: PlannedCollective): number => c.bytes * c.count
const total = (all: readonly PlannedCollective[]): number => all.reduce((n, c) => n + inAll(c), 0)

export function drawPlanned(run: Run, planned: PlannedRun): string[] {
  const { plan, flops, recomputed, policy, skipsBlocks } = planned
  const { parameterBytes, stateBytes, activationBytes, peakBytes, hostBytes, flops: own } = plan.perDevice
  const share = (bytes: number): string => percent(peakBytes === 0 ? 0 : bytes / peakBytes)
  const rest = peakBytes - parameterBytes - stateBytes - activationBytes
  const memory = formatTable([
    ['parameters', formatBytes(parameterBytes), share(parameterBytes)], ['optimizer and step', formatBytes(stateBytes), share(stateBytes)], ['activations, gradients', formatBytes(activationBytes), share(activationBytes)],
    ['batch and results', formatBytes(rest), share(rest)], ['all, at the peak', formatBytes(peakBytes), ''], ...hostBytes === undefined ? [] : [['with the host, beside', formatBytes(hostBytes), '']],
  ])
  const done = own * plan.devices
  return [
    `${run.name}: ${formatInteger(planned.parameters)} parameters on ${meshText(plan)}, ${devices(plan)}`, '',
    'memory of one device', ...indented(memory), '',
    'operations of one step', ...indented(formatTable([['on each device', formatFlops(own)], ['on all', formatFlops(done)], ['each done once', formatFlops(flops)]])),
    `  products and convolutions, forward and backward; of attention ${skipsBlocks ? 'without blocks that are masked whole' : 'all scores, masked ones too'}`,
    `  computed again in the backward pass: ${remats[policy]}${policy === 'nothing' ? '' : `, ${percent(flops === 0 ? 0 : recomputed / flops)} more`}`,
    ...(run.microbatches === 1 ? [] : [`  in ${formatInteger(run.microbatches)} microbatches, one after another`]),
    ...(plan.pipeline === null ? [] : [`  in ${plan.pipeline.stages} stages (${plan.pipeline.schedule}, ${plan.pipeline.microbatches} microbatches), each idle ${percent(plan.pipeline.idle)} of the time`]), '',
    ...drawCollectives(plan.collectives),
  ]
}

const row = (c: PlannedCollective): string[] => [c.kind, c.axes.join(', '), c.dtype, formatBytes(c.bytes), `${formatInteger(c.count)} ×`, formatBytes(inAll(c)), c.at ?? '']

/** The table's columns: words to the left, numbers to the right, the line to the left again. */
function lined(rows: readonly (readonly string[])[], right: readonly number[]): string[] {
  const widths = (rows[0] ?? []).map((_, i) => Math.max(...rows.map(r => (r[i] ?? '').length)))
  return rows.map(r => r.map((cell, i) => (right.includes(i) ? cell.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0))).join('  ').trimEnd())
}

/** Those that send most first. */
function drawCollectives(all: readonly PlannedCollective[]): string[] {
  if (all.length === 0) return ['collectives of one step: none']
  const rows = [...all].sort((a, b) => inAll(b) - inAll(a)).map(row)
  const count = all.reduce((n, c) => n + c.count, 0)
  return [
    `collectives of one step: ${formatInteger(count)}, in which ${formatBytes(total(all))} enter on each device`,
    ...indented(lined([['kind', 'along', 'of', 'bytes', 'times', 'in all', 'caused by'], ...rows], [3, 4, 5])),
  ]
}

const dimsText = (dims: { readonly [dim: string]: number }): string => Object.entries(dims).map(([d, n]) => `${d}=${n}`).join(' ') || 'scalar'

/** Every tensor that a step is given, and the largest of what it makes. */
export function drawTensors({ tensors, largest }: PlannedRun): string[] {
  const given = tensors.map(t => [t.path, t.dtype, dimsText(t.dims), Object.entries(t.layout).map(([d, axes]) => `${d} → ${axes.join(', ')}`).join('; ') || '–', formatBytes(t.bytes)])
  const made = largest.slice(0, 20).map(v => [v.op, v.dtype, dimsText(v.dims), formatBytes(v.bytes), v.at ?? ''])
  return [
    '', 'tensors, and how they lie', ...indented(lined([['tensor', 'of', 'dims', 'layout', 'on a device'], ...given], [4])),
    '', 'the largest values in memory at the peak, as one device holds them', ...indented(lined([['made by', 'of', 'dims', 'bytes', 'line'], ...made], [3])),
  ]
}

interface Compared { readonly planned: PlannedRun; readonly on: On | undefined }
/** Two plans, a figure a line: the first, the second, and how many times as much. On a machine what their steps take, too. */
export function drawDifference({ planned: a, on: onA }: Compared, { planned: b, on: onB }: Compared): string[] {
  const times = (x: number, y: number): string => (x === y ? '=' : x === 0 || y === 0 ? '' : `${(y / x).toPrecision(3)} ×`)
  const timed = (what: string, of: (f: Forecast) => number | null, format: (n: number) => string): string[][] => {
    const [x, y] = [onA, onB].map(on => (on === undefined ? null : of(on.predicted)))
    return typeof x === 'number' && typeof y === 'number' ? [[what, format(x), format(y), times(x, y)]] : []
  }
  const figure = (what: string, of: (p: RunPlan) => number, format: (n: number) => string): string[] => [what, format(of(a.plan)), format(of(b.plan)), times(of(a.plan), of(b.plan))]
  const key = (c: PlannedCollective): string => JSON.stringify([c.kind, c.axes, c.dtype, c.at])
  const kinds = new Map([...a.plan.collectives, ...b.plan.collectives].map(c => [key(c), c]))
  const of = (p: PlannedRun, k: string): readonly PlannedCollective[] => p.plan.collectives.filter(c => key(c) === k)
  const shown = (list: readonly PlannedCollective[]): string => (list.length === 0 ? '–' : `${formatInteger(list.reduce((n, c) => n + c.count, 0))} ×, ${formatBytes(total(list))}`)
  const rows = [...kinds].sort((x, y) => Math.max(total(of(a, y[0])), total(of(b, y[0]))) - Math.max(total(of(a, x[0])), total(of(b, x[0]))))
    .map(([k, c]) => [`${c.kind} along ${c.axes.join(', ')}, ${c.dtype}`, shown(of(a, k)), shown(of(b, k)), times(total(of(a, k)), total(of(b, k))), c.at ?? ''])
  return lined([
    ['', meshText(a.plan), meshText(b.plan), ''],
    figure('devices', p => p.devices, formatInteger),
    figure('parameters', p => p.perDevice.parameterBytes, formatBytes), figure('optimizer and step', p => p.perDevice.stateBytes, formatBytes),
    figure('activations, gradients', p => p.perDevice.activationBytes, formatBytes), figure('memory at the peak', p => p.perDevice.peakBytes, formatBytes),
    figure('operations', p => p.perDevice.flops, formatFlops), figure('pipeline idle', p => p.pipeline?.idle ?? 0, percent),
    figure('collectives', p => p.collectives.reduce((n, c) => n + c.count, 0), formatInteger), figure('bytes in them', p => total(p.collectives), formatBytes),
    ...timed('a step, predicted', f => f.stepMs, formatMs), ...timed('of it products', f => f.productMs, formatMs), ...timed('memory', f => f.memoryMs, formatMs), ...timed('collectives, waited for', f => f.waitedMs, formatMs),
    ...timed('loops and the host', f => f.overheadMs, formatMs), ...timed('utilisation', f => f.utilisation, percent), ...timed('cost of 10¹²', f => f.dollarsPerTrillion, dollars), ...rows,
  ], [1, 2, 3])
}
