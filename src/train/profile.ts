/** Where the time of a run's training step goes: the step that `train` would compile, run with a clock around each of its parts. */
import { compileTraced, type Arrays, type Backend, type Span, type TracedPart, type Tree } from '../engine/index.ts'
import { axisOf, strideOf, type Mesh } from '../core/mesh.ts'
import { prefetch } from '../data/index.ts'
import { disposeAll } from './evaluate.ts'
import type { TrainEvent } from './events.ts'
import { sourcesOf } from './feed.ts'
import { firstState } from './fit.ts'
import { peakOf } from './peak.ts'
import { stateOf, trainStep, type StateArrays, type StepMetrics } from './program.ts'
import { layoutsOf, type Run } from './run.ts'
import { openSession, trainerConfig } from './session.ts'

export interface ProfileOptions {
  readonly backend: Backend
  /** Steps that are looked at, each way; before them come as many as it takes until nothing is made for the first time. */
  readonly steps: number
  readonly tell?: (event: TrainEvent) => void
  readonly signal?: AbortSignal | undefined
}

/** What a part is, for those who ask where the time goes. */
export type PartKind = 'contraction' | 'collective' | 'reduction' | 'elementwise' | 'data movement' | 'other'

/** A part of the step, over all steps and devices. */
export interface ProfiledPart extends TracedPart {
  /** The number by which spans name it. */
  readonly id: number
  readonly kind: PartKind
  /** Mesh axes along which a collective goes. */
  readonly axes: readonly string[]
  /** A step, on one device: how often it runs, and for how long in all, in milliseconds. */
  readonly times: number
  readonly ms: number
}

export interface Profile {
  readonly mesh: { readonly [axis: string]: number }
  readonly devices: number
  readonly steps: number
  /** Of the step as `train` runs it, from the batch on the host to the loss there: the median, in milliseconds. */
  readonly stepMs: number
  /** The same with clocks in it. */
  readonly tracedMs: number
  /** Multiplications and additions of the model's contractions in a step, on all devices, as a model's speed is told by. */
  readonly flops: number
  /** A second, of the best matrix multiplication on these devices. */
  readonly peak: number | undefined
  /** Of a traced step on one device, in milliseconds: something runs; the host has called and nothing runs yet, or all is done and the loss is on its way. */
  readonly busyMs: number
  readonly hostMs: number
  /** The dearest first. */
  readonly parts: readonly ProfiledPart[]
  /** When each traced step began and ended on the host, and what ran, on one clock, in nanoseconds. */
  readonly recorded: readonly { readonly from: number; readonly to: number; readonly spans: readonly Span[] }[]
}

const warmup = 3
const now = (): number => Number(process.hrtime.bigint())
const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1] ?? NaN

/** Compiles a run's step twice, as it is and with clocks, and trains some steps with each; nothing is written. @throws what `fit` throws, and PluginError where the backend cannot tell */
export async function profileRun(given: Run, { backend, steps, tell = () => undefined, signal }: ProfileOptions): Promise<Profile> {
  const session = await openSession(given, { backend, tell, signal })
  const { run, model, mesh, trainer, data, rows } = session
  try {
    tell({ type: 'compiling', what: 'the training step with clocks in it' })
    const config = trainerConfig(run)
    const where = { mesh, backend, dims: model.dims, ...layoutsOf(run, model) }
    const traced = await compileTraced(trainStep(model, config), [stateOf(model, config), model.batch] as const, { ...where, donate: [0] })
    const batches = prefetch(data, { from: 0, rows })
    let state: StateArrays<Tree> = await firstState(session)
    const timed = async (program: typeof trainer.step): Promise<{ readonly from: number; readonly to: number }> => {
      signal?.throwIfAborted()
      const { batch } = await batches.next()
      const from = now()
      const result = await program(state as never, sourcesOf(model.batch, batch, rows) as never)
      state = result.state as StateArrays<Tree>
      const metrics = result.metrics as Arrays<StepMetrics>
      await metrics.loss.item()
      const to = now()
      disposeAll(metrics)
      return { from, to }
    }
    try {
      for (let i = 0; i < warmup; i++) for (const program of [trainer.step, traced]) await timed(program)
      const plain: number[] = []
      const recorded: { from: number; to: number; spans: readonly Span[] }[] = []
      // In turn, so that both have the same neighbours on the machine.
      for (let i = 0; i < steps; i++) {
        const step = await timed(trainer.step)
        plain.push(step.to - step.from)
        let around = { from: 0, to: 0 }
        const { spans, lost } = await traced.record(async () => { around = await timed(traced) })
        if (lost > 0) tell({ type: 'warning', text: `${lost} times of parts were lost: there were too many for one step` })
        recorded.push({ ...around, spans })
      }
      const stepMs = median(plain) / 1e6
      const seen = session.flops / stepMs * 1000
      const isQuicker = session.peak !== undefined && seen > session.peak
      const peak = isQuicker ? await peakOf(backend, mesh, run.precision.compute, () => tell({ type: 'compiling', what: 'the best matrix multiplication again: a step was quicker' }), seen) : session.peak
      return {
        mesh: Object.fromEntries(mesh.axes.map(({ name, size }) => [name, size])), devices: mesh.size, steps,
        stepMs, tracedMs: median(recorded.map(r => r.to - r.from)) / 1e6, flops: session.flops, peak,
        ...usage(recorded, mesh.size), parts: profiled(traced.parts, recorded, mesh), recorded,
      }
    } finally {
      disposeAll(state)
      traced.dispose()
      await batches.close()
    }
  } finally {
    await session.close()
  }
}

/** How long something runs on a device, and how long nothing has begun or all is over. */
function usage(recorded: Profile['recorded'], devices: number): Pick<Profile, 'busyMs' | 'hostMs'> {
  let [busy, host] = [0, 0]
  for (const { from, to, spans } of recorded) {
    for (let device = 0; device < devices; device++) {
      const own = spans.filter(s => s.device === device).sort((a, b) => a.from - b.from)
      let until = own[0]?.from ?? to
      host += until - from
      for (const span of own) {
        busy += Math.max(0, span.to - Math.max(span.from, until))
        until = Math.max(until, span.to)
      }
      host += Math.max(0, to - until)
    }
  }
  const of = recorded.length * devices * 1e6
  return { busyMs: busy / of, hostMs: host / of }
}

function profiled(parts: readonly TracedPart[], recorded: Profile['recorded'], mesh: Mesh): ProfiledPart[] {
  const sums = parts.map(() => ({ count: 0, ns: 0 }))
  for (const { part, from, to } of recorded.flatMap(r => r.spans)) {
    const sum = sums[part]
    if (sum === undefined) continue
    sum.count++
    sum.ns += to - from
  }
  const of = recorded.length * mesh.size
  return parts.map((part, i): ProfiledPart => ({
    ...part, id: i, kind: kindOf(part), axes: part.groups === undefined ? [] : axesAlong(part.groups, mesh), times: (sums[i]?.count ?? 0) / of, ms: (sums[i]?.ns ?? 0) / of / 1e6,
  })).filter(p => p.times > 0).sort((a, b) => b.ms - a.ms)
}

/** By what XLA calls an op. */
const kinds: { readonly [op: string]: PartKind } = {
  'all-reduce': 'collective', 'all-gather': 'collective', 'reduce-scatter': 'collective', 'all-to-all': 'collective', 'collective-permute': 'collective',
  'dot': 'contraction', 'convolution': 'contraction', 'reduce': 'reduction', 'reduce-window': 'reduction',
  'copy': 'data movement', 'transpose': 'data movement', 'concatenate': 'data movement', 'slice': 'data movement', 'dynamic-slice': 'data movement', 'dynamic-update-slice': 'data movement',
  'pad': 'data movement', 'broadcast': 'data movement', 'reverse': 'data movement', 'gather': 'data movement', 'scatter': 'data movement', 'iota': 'data movement', 'bitcast': 'data movement', 'reshape': 'data movement',
  'custom-call': 'other', 'sort': 'other', 'rng-bit-generator': 'other',
}
/** What only brings numbers elsewhere. */
const moves = (op: string): boolean => kinds[op] === 'data movement' || op === 'convert'

function kindOf({ op, inside, flops }: TracedPart): PartKind {
  if (flops > 0) return 'contraction'
  if (op !== 'fusion') return kinds[op] ?? 'elementwise'
  return inside.some(o => kinds[o] === 'reduction') ? 'reduction' : inside.every(moves) ? 'data movement' : 'elementwise'
}

/** The axes on which the devices of a group differ. */
function axesAlong(groups: readonly (readonly number[])[], mesh: Mesh): string[] {
  const group = groups[0] ?? []
  return mesh.axes.map(a => a.name).filter(name => new Set(group.map(device => Math.floor(device / strideOf(mesh, name)) % axisOf(mesh, name).size)).size > 1)
}
