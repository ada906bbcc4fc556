/** What a step takes on a machine: every kernel of a device's program priced, and added up. docs/foresight.md has the formulas. */
import { formatSite } from '../core/errors.ts'
import { mesh as meshOf, type Mesh } from '../core/mesh.ts'
import { formatBytes } from '../core/quantities.ts'
import type { LocalBody } from '../partition/local.ts'
import type { Machine } from '../machine/machine.ts'
import { collectiveMs, groupOf, type Group } from './collective.ts'
import { lagMs, type Often } from './lag.ts'
import { contractionMs, figuresAt, memoryMs, operationCost } from './price.ts'
import { workOf, type Task, type Work } from './work.ts'

/** A share of a step: kernels of one kind that are alike and from one line, all together. */
export interface Part {
  readonly kind: Work['kind']
  /** In words: `768 × 3072 × 768 of bf16`, `all-reduce along model, 3.1 MB`. */
  readonly what: string
  /** The user's line, where it is known. */
  readonly at: string | null
  /** Times a step. */
  readonly times: number
  /** Of all of them, as if nothing went on beside. */
  readonly ms: number
  /** How much of it goes on beside computation. */
  readonly besideMs: number
}

export interface StepTime {
  readonly stepMs: number
  readonly productMs: number
  readonly memoryMs: number
  /** Of collectives in all, and what of them computation waits for. */
  readonly collectiveMs: number
  readonly waitedMs: number
  /** Turns of loops, what the host does, and what devices that share its cores wait for the last of them. */
  readonly overheadMs: number
  /** As the program first comes to them. */
  readonly parts: readonly Part[]
}

/** The costliest of a step, the most time first: of a line and kind all that is from there counts together, but not what goes on beside computation. */
export function costliest({ parts }: StepTime, count: number): readonly Part[] {
  const lines = new Map<string, Part & { readonly most: number }>()
  for (const p of parts) {
    const key = `${p.kind} ${p.at ?? p.what}`
    const [old, own] = [lines.get(key), p.ms - p.besideMs]
    lines.set(key, {
      ...p, what: old === undefined || own > old.most ? p.what : old.what, most: Math.max(own, old?.most ?? 0), times: p.times + (old?.times ?? 0), ms: p.ms + (old?.ms ?? 0), besideMs: p.besideMs + (old?.besideMs ?? 0),
    })
  }
  return [...lines.values()].sort((a, b) => b.ms - b.besideMs - a.ms + a.besideMs).slice(0, count).map(({ most: _, ...p }) => p)
}

/** One kernel, once. */
export function workMs(machine: Machine, work: Task, onHost: number, group: (axes: readonly string[]) => Group): number {
  const prices: { readonly [K in Task['kind']]: (w: Extract<Task, { readonly kind: K }>) => number } = {
    product: w => contractionMs(machine, w.product, onHost),
    memory: w => memoryMs(machine, w.bytes, (w.scalar === true ? machine.vector.costs['scalar'] ?? 1 : 1) * w.operations.reduce((sum, [op, dtype, count]) => sum + count * operationCost(machine, op, dtype), 0), onHost, w.turned),
    collective: w => collectiveMs(machine, group(w.axes), w.collective, w.bytes),
    turn: () => figuresAt(machine, onHost).overhead.turnUs / 1000,
  }
  return (prices[work.kind] as (w: Task) => number)(work)
}

/** What there is to price of a step: kernels as often as they run, and how many arguments and results it has. */
export interface Tasks<T extends Task = Task> { readonly tasks: readonly (T & { readonly times: number })[]; readonly values: number }

/**
 * The time of a step that does this on a mesh of such devices; `each` is told of every task, its time and what of that can go on beside. A collective that nothing waits for goes on beside computation, as far
 * as the machine's `overlap` says and there is as much of it, which slows computation meanwhile. Where the host launches kernels one by one, a step takes as long as that at the least. `price`: of one task, once, for
 * those who keep what tasks that others have, too, take.
 * @throws UsageError where the machine does not say what a collective needs
 */
export function tasksTime<T extends Task>({ tasks, values }: Tasks<T>, machine: Machine, mesh: Mesh, each?: (task: T & { readonly times: number }, ms: number, besideMs: number) => void, price: (task: T, onHost: number, group: (axes: readonly string[]) => Group) => number = (task, onHost, group) => workMs(machine, task, onHost, group)): Omit<StepTime, 'parts'> & { /** What of its collectives' time can go on beside, before it is held to what is computed. */ readonly hideableMs: number } {
  const onHost = Math.min(mesh.size, machine.devicesPerHost)
  const groups = new Map<string, Group>()
  const group = (axes: readonly string[]): Group => {
    const key = axes.join()
    const found = groups.get(key) ?? groupOf(machine, mesh, axes)
    groups.set(key, found)
    return found
  }
  const sums = { product: 0, memory: 0, collective: 0, turn: 0 }
  let [hideableMs, launches] = [0, 0]
  const often = new Map<number, Often>()
  for (const task of tasks) {
    const ms = task.times * price(task, onHost, group)
    const besideMs = task.kind === 'collective' && !task.waited ? ms * machine.overlap.share : 0
    sums[task.kind] += ms
    const alike = often.get(task.times) ?? { times: task.times, ms: 0, waits: 0 }
    if (task.kind === 'product' || task.kind === 'memory') alike.ms += ms
    // One that goes on beside computation is met when that is done.
    else if (task.kind === 'collective' && (task.waited || machine.overlap.share === 0)) alike.waits++
    often.set(task.times, alike)
    hideableMs += besideMs
    if (task.kind !== 'turn') launches += task.times
    each?.(task, ms, besideMs)
  }
  const computed = sums.product + sums.memory
  const beside = Math.min(hideableMs, computed)
  const { overhead: { stepUs, argumentUs, launchUs }, lag = [] } = figuresAt(machine, onHost)
  const busy = computed + sums.collective - beside * (2 - machine.overlap.slowdown)
  const overheadMs = sums.turn + (stepUs + argumentUs * onHost * values) / 1000 + Math.max(0, launchUs * launches / 1000 - busy) + (mesh.size > 1 ? lagMs(lag, often.values()) : 0)
  return { stepMs: busy + overheadMs, productMs: sums.product, memoryMs: sums.memory, collectiveMs: sums.collective, waitedMs: sums.collective - beside, overheadMs, hideableMs }
}

const said: { readonly [K in Work['kind']]: (w: Extract<Work, { readonly kind: K }>) => string } = {
  product: ({ product: { m, n, k, batch, dtype, attended }, node }) => `${attended !== undefined ? 'attention, ' : node.op === 'conv' ? 'convolution as ' : ''}${batch > 1 ? `${batch} × ` : ''}[${m} × ${k}] · [${k} × ${n}] of ${dtype}`,
  memory: ({ node, bytes }) => `${node.op}, ${formatBytes(bytes)}`,
  collective: ({ collective, axes, bytes }) => `${collective} along ${axes.join(', ')}, ${formatBytes(bytes)}`,
  turn: ({ node }) => (node.op === 'cond' ? 'choices' : 'turns of a loop'),
}
const describe = (work: Work): string => (said[work.kind] as (w: Work) => string)(work)

/** The time of a step of a device's program on a mesh of such devices, as `tasksTime` has it. @throws UsageError where the machine does not say what a collective needs */
export function stepTime(program: LocalBody & { readonly mesh?: Mesh }, machine: Machine, mesh: Mesh = program.mesh ?? meshOf({})): StepTime {
  const parts = new Map<string, Part>()
  const { hideableMs, ...time } = tasksTime({ tasks: workOf(program, machine.fusion, Object.keys(machine.attention).length > 0), values: program.inputs.length + program.outputs.length }, machine, mesh, (work, ms, besideMs) => {
    const [what, at] = [describe(work), work.at === undefined ? null : formatSite(work.at)]
    const key = `${work.kind} ${what} ${at ?? ''}`
    const old = parts.get(key)
    parts.set(key, { kind: work.kind, what, at, times: (old?.times ?? 0) + work.times, ms: (old?.ms ?? 0) + ms, besideMs: (old?.besideMs ?? 0) + besideMs })
  })
  const beside = time.collectiveMs - time.waitedMs
  return { ...time, parts: [...parts.values()].map(p => ({ ...p, besideMs: hideableMs === 0 ? 0 : p.besideMs * beside / hideableMs })) }
}
