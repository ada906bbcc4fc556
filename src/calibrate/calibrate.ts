/** `meshwork calibrate`: a machine file of what this machine, or under mpirun this cluster, is measured to do. */
import { availableParallelism, cpus, totalmem } from 'node:os'
import type { DType } from '../core/dtype.ts'
import { mesh as meshOf, type Mesh } from '../core/mesh.ts'
import { productFlops, type Product } from '../cost/price.ts'
import type { Backend } from '../engine/index.ts'
import type { CollectiveTimes, ConvolutionRates, Figures, LinkedCollective, Links, MachineInput, Points, ProductRates } from '../machine/machine.ts'
import { bandwidthOf, bandwidthSteps } from './bandwidth.ts'
import { stepOfUs } from './host.ts'
import { measuredBy } from './kept.ts'
import { lagOf, lagSteps } from './lag.ts'
import { Budget, leastShare, turnUs, type Measuring } from './measure.ts'
import { applied, attention, chains, collective, convolutionGradients, convolutions, fromParts, inTurn, products, scattered, streams, sums, type Pictures, type Windows } from './programs.ts'

export interface CalibrateOptions {
  /** Opens the runtime with so many devices, as a run on them has it: on one of four that share its cores one device computes with fewer threads. Each is closed before the next is opened. */
  readonly open: (devices: number | undefined) => Promise<Backend>
  /** The most devices of this process that are looked at. Where it is not given, all ranks of the job are, and `open` is asked once. */
  readonly devices?: number | undefined
  /** The machine's name. */
  readonly name: string
  readonly signal?: AbortSignal
  /** Hears what is measured next, and how much is done: 0 to 1. */
  readonly onProgress?: (what: string, done: number) => void
  /** What runs may take beside compiling, in milliseconds, 90 000 unless given: where the machine has much else to do, everything is measured fewer times. */
  readonly budgetMs?: number
  /** Fewer points, each once: to see that it works. */
  readonly quick?: boolean
  /** Milliseconds, from anywhere on: the wall's clock unless given. */
  readonly clock?: () => number
}

/** Products by their smallest side: a matrix by a few rows, heads of attention, layers. */
const shapes = (dtype: DType): readonly { readonly side: number; readonly of: readonly Product[] }[] => [
  { side: 8, of: [{ m: 8, n: 256, k: 256, batch: 1, dtype }, { m: 8, n: 1024, k: 1024, batch: 1, dtype }] },
  { side: 32, of: [{ m: 64, n: 64, k: 32, batch: 4, dtype }, { m: 128, n: 128, k: 32, batch: 16, dtype }, { m: 256, n: 256, k: 32, batch: 64, dtype }] },
  { side: 128, of: [{ m: 128, n: 128, k: 128, batch: 1, dtype }, { m: 512, n: 256, k: 128, batch: 1, dtype }, { m: 512, n: 2048, k: 128, batch: 1, dtype }] },
  { side: 256, of: [{ m: 256, n: 256, k: 256, batch: 1, dtype }, { m: 1024, n: 1024, k: 256, batch: 1, dtype }, { m: 1024, n: 1024, k: 1024, batch: 1, dtype }] },
]
/** Convolutions by their channels: of pictures, and of what layers make of them. */
const images: readonly Pictures[] = [{ batch: 16, side: 16, channels: 3, features: 32 }, { batch: 16, side: 16, channels: 32, features: 32 }, { batch: 32, side: 8, channels: 128, features: 128 }, { batch: 64, side: 16, channels: 32, features: 32 }, { batch: 32, side: 32, channels: 3, features: 32 }]
/** Windows of small models and of larger ones. */
const windows: readonly Windows[] = [{ batch: 4, seq: 128, heads: 4, size: 32 }, { batch: 1, seq: 512, heads: 8, size: 64 }]
const functions = ['exp', 'log', 'tanh', 'sqrt', 'div', 'pow', 'sin', 'erf', 'threefry'] as const
const kinds: readonly LinkedCollective[] = ['all-reduce', 'all-gather', 'reduce-scatter', 'all-to-all', 'permute']
/** Weights that are gathered and gradients that are scattered come several at a time, and then wait for each other's threads; what is to be reduced at once a compiler makes one. */
const atOnce: { readonly [K in LinkedCollective]: number } = { 'all-reduce': 1, 'all-gather': 4, 'reduce-scatter': 4, 'all-to-all': 1, permute: 1 }
const sizes = [2 ** 10, 2 ** 14, 2 ** 18, 2 ** 20, 2 ** 22]

const usualBudgetMs = 90_000
/** Kernels one after another in a turn, so many of each kind. */
const links = 12
/** Values of a step that has many. */
const manyValues = 64
/** Numbers of a kernel that takes no time; of fewer XLA makes one kernel of a whole loop. */
const small = 512

/** Points [at, value], the least first, each once. */
const sorted = (points: Points): Points => [...new Map([...points].sort((a, b) => a[0] - b[0]))]
/** Times that no larger size takes less than a smaller one. */
const rising = (points: Points): Points => sorted(points).map(([at], i, all): [number, number] => [at, Math.max(...all.slice(0, i + 1).map(([, us]) => us))])

/** Points of one class together. */
function together(rates: readonly ConvolutionRates[]): ConvolutionRates[] {
  const found = new Map<string, ConvolutionRates>()
  for (const r of rates) {
    const key = `${r.depth} ${r.side}`
    found.set(key, { ...r, points: sorted([...found.get(key)?.points ?? [], ...r.points]) })
  }
  return [...found.values()]
}

/** A device among so many of the mesh, all of which do the same at once. */
async function figuresOf(m: Measuring, mesh: Mesh, quick: boolean, costs: { readonly [op: string]: number } | undefined, step: (what: string) => void): Promise<Figures> {
  const on = `${mesh.size} device${mesh.size === 1 ? '' : 's'}`
  step(`loops and kernels on ${on}`)
  const [two, seven] = [await turnUs(m, streams(mesh, 2, small)), await turnUs(m, streams(mesh, 7, small))]
  // In a body with few kernels they run one after another as they come; in one with many, as in a step, each asks what is ready.
  const fewUs = Math.max(0.01, (seven - two) / 5)
  const loopUs = Math.max(0.01, two - 2 * fewUs)
  const kernelUs = Math.max(fewUs, (await turnUs(m, inTurn(mesh, { elements: small, count: links, mapped: true })) - loopUs) / 2 / links)
  // Of a turn with two kernels, one of them without what it is before it does anything.
  const oneOfTwo = (us: number): number => Math.max(leastShare * us / 2, (us - loopUs) / 2 - fewUs)
  const values = quick ? 4 : manyValues
  const [one, many] = [await stepOfUs(m, mesh, 1), await stepOfUs(m, mesh, 1 + values)]
  // Each is an argument and a result, and a kernel.
  const argumentUs = Math.max(0, ((many - one) / values - fewUs) / 2 / mesh.size)
  const stepUs = Math.max(1, one - 4 * argumentUs * mesh.size)
  const bandwidth = await bandwidthOf(m, mesh, quick, { kernelUs, fewUs, loopUs }, step)
  const rates: { [K in DType]?: ProductRates[] } = {}
  for (const dtype of ['f32', 'bf16'] as const) {
    const classes: ProductRates[] = []
    for (const { side, of } of quick ? shapes(dtype).slice(1, 3) : shapes(dtype)) {
      const points: Points = []
      for (const p of quick ? of.slice(0, 1) : of) {
        step(`products of ${dtype} on ${on}, ${p.batch === 1 ? '' : `${p.batch} × `}${p.m} × ${p.k} × ${p.n}`)
        const us = await turnUs(m, products(mesh, p))
        points.push([productFlops(p), productFlops(p) / oneOfTwo(us) * 1e6])
      }
      classes.push({ side, points: sorted(points) })
    }
    rates[dtype] = classes
  }
  const convolved: ConvolutionRates[] = []
  for (const p of quick ? [{ batch: 2, side: 4, channels: 3, features: 4 }] : images) {
    step(`convolutions on ${on}, ${p.batch} × ${p.side} × ${p.side} × ${p.channels}`)
    const flops = 2 * p.batch * p.side ** 2 * 9 * p.channels * p.features
    const each = oneOfTwo(await turnUs(m, convolutions(mesh, p)))
    const gradient = Math.max(leastShare * each, await turnUs(m, convolutionGradients(mesh, p)) - loopUs - each - 2 * fewUs)
    const side = Math.min(p.channels, p.features, p.batch)
    for (const [depth, us] of [[9 * p.channels, each], [9 * p.features, each], [p.batch * p.side ** 2, gradient]] as const) convolved.push({ depth, side, points: [[flops, flops / us * 1e6]] })
  }
  const attending: ProductRates[] = []
  if (await m.backend.kernels()) {
    for (const of of quick ? windows.slice(0, 1) : windows) {
      step(`attention on ${on}, ${of.batch} × ${of.seq} × ${of.heads} × ${of.size}`)
      // Scores and results, of the keys that are seen.
      const flops = 2 * of.batch * of.heads * of.seq * (of.seq + 1) * of.size
      attending.push({ side: of.size, points: [[flops, flops / oneOfTwo(await turnUs(m, attention(mesh, of))) * 1e6]] })
    }
  }
  // As many numbers as XLA computes on all cores.
  const numbers = quick ? 2 ** 14 : 2 ** 18
  // Both so long that what is computed takes longer than reading and writing.
  const [few, most] = quick ? [2, 6] : [64, 192]
  step(`elementwise operations on ${on}`)
  const simple = Math.max(1e-6, (await turnUs(m, chains(mesh, numbers, most)) - await turnUs(m, chains(mesh, numbers, few))) / (most - few) / numbers)
  const found: { [op: string]: number } = { ...costs }
  if (costs === undefined) {
    for (const fn of functions) {
      step(`elementwise operations: ${fn}`)
      // Each with a multiplication before and an addition after it.
      found[fn] = Math.max(0.5, (await turnUs(m, applied(mesh, fn, numbers, 5)) - await turnUs(m, applied(mesh, fn, numbers, 1))) / 4 / numbers / simple - 2)
    }
    step('sums, and rows at random places')
    const n = 2 ** 16
    const mapUs = (await turnUs(m, streams(mesh, 2, n)) - loopUs) / 2
    const summed = (await turnUs(m, sums(mesh, 256, 256, 'c')) + await turnUs(m, sums(mesh, 256, 256, 'r'))) / 2
    found['reduce'] = Math.max(0.5, (summed - loopUs - mapUs - fewUs) / n / simple)
    // Rows so long that a compiler does not write them out whole; beside the same kernel with a row as it lies.
    const [rows, columns] = quick ? [16, 64] : [2048, 128]
    const [apart, lying] = [await turnUs(m, fromParts(mesh, rows, columns, true)), await turnUs(m, fromParts(mesh, rows, columns, false))]
    found['scalar'] = Math.max(1, (apart - loopUs - fewUs) / Math.max(leastShare * lying, lying - loopUs - fewUs))
    const added = await turnUs(m, scattered(mesh, 1024, 256, 64))
    // A kernel takes as long as its bytes or its operations, whichever is longer, and so those are all of it.
    found['scatter'] = Math.max(0.5, (added - loopUs - 2 * fewUs) / (256 * 64) / simple)
  }
  return { products: rates, convolutions: { f32: together(convolved) }, attention: attending.length > 0 ? { f32: attending } : {}, bandwidth, vector: { rate: 1e6 / simple, costs: found }, overhead: { kernelUs, launchUs: 0, turnUs: loopUs, stepUs, argumentUs } }
}

/** Collectives among devices along an axis of a mesh that is as large as the machine, or as a part of it. */
async function timesOf(m: Measuring, places: readonly { readonly mesh: Mesh; readonly axis: string; readonly onHost: number }[], quick: boolean, step: (what: string) => void): Promise<Links['times']> {
  const times: { [K in LinkedCollective]?: CollectiveTimes[] } = {}
  for (const { mesh, axis, onHost } of places) {
    const among = mesh.axes.find(a => a.name === axis)?.size ?? 1
    for (const kind of quick ? kinds.slice(0, 2) : kinds) {
      const points: Points = []
      for (const bytes of quick ? sizes.slice(1, 3) : sizes) {
        // What an all-gather gives is as many times larger.
        const entering = kind === 'all-gather' ? bytes / among : bytes
        step(`${kind} among ${among} of ${mesh.size}, ${entering} bytes`)
        points.push([entering, await turnUs(m, collective(mesh, kind, [axis], entering, atOnce[kind])) / atOnce[kind]])
      }
      times[kind] = [...times[kind] ?? [], { among, onHost, points: rising(points) }]
    }
  }
  return times
}

const speedOf = (times: Links['times']): number => Math.max(1, ...Object.values(times).flatMap(list => (list ?? []).flatMap(({ among, points }) => points.map(([bytes, us]) => 2 * among * bytes / us * 1e6))))
const latencyOf = (times: Links['times']): number => Math.min(1e6, ...(times.permute ?? times['all-reduce'] ?? []).map(t => t.points[0]?.[1] ?? 1e6))
const linksOf = (times: Links['times']): MachineInput['links']['within'] => ({ topology: 'switch', perFlow: speedOf(times), perHost: 64 * speedOf(times), latencyUs: latencyOf(times), times })

/** What devices of a backend, all of it, do: each of them, how long they wait for each other, and their collectives. */
interface Measured { readonly devices: number; readonly figures: Figures; readonly near: Links['times']; readonly far: Links['times'] | undefined; readonly by: string; readonly ranks: boolean }

/**
 * Measures. Every rank of a job calls it, and all return the same.
 * @throws what `signal` was aborted with
 */
export async function calibrate({ open, devices, name, signal, onProgress = () => undefined, quick = false, clock, budgetMs = usualBudgetMs }: CalibrateOptions): Promise<MachineInput> {
  const counts = devices === undefined ? [undefined] : [1, 2, 4, 8].filter(n => n <= devices)
  const groups = (n: number): number[] => [...new Set([...[2, 4, 8].filter(d => d <= n && n % d === 0), n])].filter(among => among > 1)
  let [steps, done]: [number | undefined, number] = [undefined, 0]
  const step = (what: string): void => { onProgress(what, Math.min(1, done++ / (steps ?? 1))) }
  const budget = new Budget(budgetMs, () => (steps ?? 1) - done)
  const on = async (asked: number | undefined, costs: { readonly [op: string]: number } | undefined): Promise<Measured> => {
    await using backend = await open(asked)
    const { deviceCount: n, processes, devicesAs } = backend
    const ranks = devicesAs === 'ranks', hosts = new Set(processes.hosts).size, onHost = Math.ceil(n / hosts)
    const [perCount, perPlace] = quick ? [12, 4] : [4 + bandwidthSteps(backend) + 2 * 11 + images.length + windows.length + lagSteps, kinds.length * sizes.length]
    steps ??= functions.length + counts.reduce((sum: number, c = onHost) => sum + perCount + groups(c).length * perPlace, hosts > 1 ? perPlace : 0)
    const m: Measuring = { backend, signal, clock, rounds: quick ? 2 : 8, usual: ranks && onHost > availableParallelism(), budget }
    const mesh = meshOf({ devices: n })
    const figures = await figuresOf(m, mesh, quick, costs, step)
    const lag = n > 1 ? { lag: await lagOf(m, mesh, quick, step) } : {}
    const near = await timesOf(m, groups(onHost).map(among => ({ mesh: meshOf({ rest: n / among, group: among }), axis: 'group', onHost })), quick, step)
    const far = hosts > 1 ? await timesOf(m, [{ mesh: meshOf({ group: hosts, rest: n / hosts }), axis: 'group', onHost }], quick, step) : undefined
    const by = `${hosts === 1 ? 'this machine' : `${hosts} hosts`} (${cpus()[0]?.model.trim() ?? 'a processor'}), ${ranks ? processes.description : `virtual devices of ${backend.description}`}`
    return { devices: onHost, figures: { ...figures, ...lag }, near, far, by, ranks }
  }
  const [first, ...others] = counts
  const alone = await on(first, undefined)
  const all = [alone]
  for (const n of others) all.push(await on(n, alone.figures.vector.costs))
  const { devices: onHost, far, by } = all.at(-1) ?? alone
  // One device of a process waits for none; ranks share their host from the first.
  const { lag: _, ...figures } = alone.figures
  const crowded = all.filter(a => a.ranks || a.devices > 1).map(a => ({ devices: a.devices, ...a.figures }))
  const near = Object.fromEntries(kinds.flatMap(kind => { const times = all.flatMap(a => a.near[kind] ?? []); return times.length === 0 ? [] : [[kind, times]] }))
  const peak = (dtype: 'f32' | 'bf16'): number => Math.max(...all.flatMap(a => (a.figures.products[dtype] ?? []).flatMap(r => r.points.map(([, rate]) => rate))))
  const memory = Math.min(totalmem(), process.constrainedMemory() || Infinity)
  const source = `${measuredBy(quick)} on ${by}`
  return {
    name, devicesPerHost: devices ?? onHost, memory: { bytes: memory, reserved: 0, perHost: memory }, peak: { f32: peak('f32'), bf16: peak('bf16') }, ...figures, crowded,
    operands: 'before', links: { within: linksOf(near), between: far === undefined ? null : linksOf(far) },
    sources: Object.fromEntries(['peak', 'products', ...figures.attention.f32 === undefined ? [] : ['attention'], 'bandwidth', 'vector', 'overhead', 'crowded', 'links.within', ...far === undefined ? [] : ['links.between']].map(figure => [figure, source])),
  }
}
