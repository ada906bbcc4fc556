/**
 * As fast as the machine: training steps of six kinds of models beside PyTorch (eager and compiled) and JAX, in f32 and bf16, on one device and on meshes, each as a share of the
 * best matrix multiplication of the same run; how time and memory grow; how long a start takes; what the host costs.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { threefry2x32 } from '../../src/core/threefry.ts'
import { jaxPython, torchPython } from '../../test/oracle/python.ts'
import { checkLosses } from '../gpt.ts'
import { interleave, median, ratio, row, type Row, type Section } from '../measure.ts'
import { environments, withWorkers, Worker } from '../process.ts'
import { optimizer } from '../task.ts'
import { batches, configurations, isQuick, partWanted, wanted, type Configuration } from './configurations.ts'
import { growth } from './growth.ts'
import { hostCost, starts } from './starts.ts'
import type { Answers, Opening } from './worker.ts'

export type Say = (line: string) => void
export interface Part { readonly notes: readonly string[]; readonly rows: readonly Row[] }

/** Steps before the first that is timed, and of a visit, whose first is not counted: it finds the caches full of another's data. */
const [warmup, visit] = [3, isQuick ? 2 : 4] as const
const here = (file: string): string => fileURLToPath(new URL(file, import.meta.url))
/** `MESHWORK_BENCH_ISA=avx2`: every side is held to AVX2, each by its own switch, as on a CPU that has no more. */
const isAvx2 = process.env['MESHWORK_BENCH_ISA'] === 'avx2'
const avx2 = { XLA_FLAGS: '--xla_cpu_max_isa=AVX2', ONEDNN_MAX_CPU_ISA: 'AVX2', MKL_ENABLE_INSTRUCTIONS: 'AVX2', ATEN_CPU_CAPABILITY: 'avx2' }
const environment = { ...environments['huge pages'], ...isAvx2 ? avx2 : {} }
const python = { ...environment, PYTHONDONTWRITEBYTECODE: '1', PYTHONPATH: ['.', '../tiny', '../parallel', '../../test/oracle'].map(here).join(':') }
export const startOurs = (name: string): Worker => new Worker(name, process.execPath, ['--import', 'tsx', here('worker.ts')], environment)

type Side = { readonly name: string; readonly worker: Worker; readonly open: object }
const ask = async <K extends keyof Answers>(w: Worker, request: { readonly do: K; readonly [field: string]: unknown }): Promise<Answers[K]> => await w.say(JSON.stringify(request)) as Answers[K]
const cells = (values: readonly string[]): string => `| ${values.join(' | ')} |`
const least = (values: readonly number[] | undefined): number => Math.min(...values ?? [NaN])

/** Random tokens and images: what they are does not change the work. */
async function writeBatches(folder: string, { kind, config, batch }: Configuration): Promise<void> {
  const drawn = (count: number, i: number, below: number): number[] => Array.from({ length: count }, (_, k) => (threefry2x32(5, i, k, 0) >>> 0) % below)
  for (let i = 0; i < batches; i++) {
    if (kind === 'images' && 'height' in config) {
      await writeFile(join(folder, `images.${i}`), Uint8Array.from(drawn(batch * config.height * config.width * config.channels, i, 256)))
      await writeFile(join(folder, `labels.${i}`), Int32Array.from(drawn(batch, i, config.classes)))
    } else if ('vocab' in config) await writeFile(join(folder, `batch.${i}`), Int32Array.from(drawn(2 * batch * config.seq, i, config.vocab)))
  }
}

/** The best product of square matrices, ours or PyTorch's: operations a second that these cores can be brought to. */
async function roofOf(torch: string, say: Say): Promise<{ readonly flops: number; readonly note: string }> {
  const sides = [startOurs('ours'), new Worker('PyTorch', torch, [here('torch_models.py')], python)]
  return withWorkers(sides, async () => {
    let [flops, note] = [0, '']
    for (const size of isQuick ? [256] : [512, 1024, 2048]) {
      for (const w of sides) {
        const found = 2 * size ** 3 / (await ask(w, { do: 'roof', size })).ms * 1000
        say(`${size} × ${size} by ${w.name}: ${(found / 1e9).toFixed(0)} GFlop/s`)
        if (found > flops) [flops, note] = [found, `the roof: ${(found / 1e9).toFixed(0)} GFlop/s in f32, ${size} × ${size} by ${w.name}`]
      }
    }
    return { flops, note }
  })
}

/** The bars of a step: of `torch.compile`'s time, and of JAX's. */
const bars = { f32: { compiled: 0.75, jax: 0.6 }, bf16: { compiled: 1, jax: 1 } } as const

/** One configuration in one dtype on one device, with all peers; the sides are opened one after another and idle while others are timed. */
async function steps(name: string, of: Configuration, compute: Opening['compute'], { torch, jax, rounds, roof, say }: { readonly torch: string; readonly jax: string; readonly rounds: number; readonly roof: number; readonly say: Say }): Promise<Part & { readonly line: string }> {
  const folder = await mkdtemp(join(tmpdir(), 'meshwork-bench-'))
  const mesh = { batch: 1, model: 1 }
  const told = { do: 'open', of, compute, optimizer, folder, batches }
  const sides: readonly Side[] = [
    { name: 'ours', worker: startOurs('ours'), open: { ...told, mesh } },
    { name: 'eager', worker: new Worker('eager', torch, [here('torch_models.py')], python), open: { ...told, compiled: false } },
    { name: 'compiled', worker: new Worker('compiled', torch, [here('torch_models.py')], python), open: { ...told, compiled: true } },
    { name: 'JAX', worker: new Worker('JAX', jax, [here('jax_models.py')], { ...python, JAX_PLATFORMS: 'cpu' }), open: { ...told, mesh } },
  ]
  try {
    await writeBatches(folder, of)
    return await withWorkers(sides.map(s => s.worker), async () => {
      const notes = new Set<string>()
      const losses = new Map<string, readonly number[]>()
      let flops = 0
      for (const { name: side, worker, open } of sides) {
        say(`${name} ${compute}: compiling, ${side}`)
        const opened = await worker.say(JSON.stringify(open)) as Answers['open']
        notes.add(opened.runtime)
        if (side === 'ours') {
          flops = opened.flops
          await ask(worker, { do: 'save' })
        }
        losses.set(side, (await ask(worker, { do: 'steps', count: warmup })).losses)
        await ask(worker, { do: 'forget' })
      }
      // In bf16 each rounds in other places.
      const apart = compute === 'f32' ? checkLosses(losses) : NaN
      const timed = (w: Worker) => async (): Promise<number> => median((await ask(w, { do: 'steps', count: visit })).ms.slice(1))
      const found = await interleave(new Map(sides.map(s => [s.name, timed(s.worker)])), rounds, done => { say(`${name} ${compute}: round ${done} of ${rounds}`) })
      const memory = await Promise.all(sides.map(s => ask(s.worker, { do: 'memory' })))
      const [peaks, stepping] = [memory.map(m => m.peakMiB), memory.map(m => m.stepsMiB)]
      const ms = (side: string): number => median(found.get(side) ?? [])
      const label = `(${name}) ${compute}`
      const share = flops / ms('ours') * 1000 / roof
      const bar = bars[compute]
      const rows = [
        ...sides.map((s): Row => row(`${label} ${s.name}`, ms(s.name), 'ms')),
        row(`${label} ours / torch.compile`, ratio(found, 'ours', 'compiled'), '', bar.compiled), row(`${label} ours / eager`, ratio(found, 'ours', 'eager')),
        row(`${label} ours / JAX`, ratio(found, 'ours', 'JAX'), '', bar.jax), row(`${label} share of the roof`, 100 * share, '%'),
        row(`${label} peak memory of steps, ours / eager`, (stepping[0] ?? NaN) / (stepping[1] ?? NaN), '', 0.8), row(`${label} peak memory with compiling, ours / eager`, (peaks[0] ?? NaN) / (peaks[1] ?? NaN)),
      ]
      const line = cells([
        `(${name}) ${of.about}`, compute, ...sides.map(s => `${ms(s.name).toFixed(0)} (${least(found.get(s.name)).toFixed(0)})`),
        ratio(found, 'ours', 'compiled').toFixed(2), ratio(found, 'ours', 'eager').toFixed(2), ratio(found, 'ours', 'JAX').toFixed(2), `${(100 * share).toFixed(0)} %`,
        `${stepping.slice(0, 2).map(m => m.toFixed(0)).join(' : ')} (${peaks.slice(0, 2).map(m => m.toFixed(0)).join(' : ')})`, Number.isNaN(apart) ? '' : apart.toExponential(0),
      ])
      say(line)
      return { notes: [...notes], rows, line }
    })
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

const meshes = [{ batch: 2, model: 1 }, { batch: 1, model: 2 }, { batch: 2, model: 2 }, { batch: 2, model: 4 }] as const

/** The same global batch on virtual devices, beside our own one device and JAX with the same sharding. */
async function onMeshes(name: string, of: Configuration, jax: string, rounds: number, say: Say): Promise<Part> {
  const folder = await mkdtemp(join(tmpdir(), 'meshwork-bench-'))
  const rows: Row[] = []
  try {
    await writeBatches(folder, of)
    for (const mesh of meshes) {
      const label = `(${name}) ${mesh.batch}×${mesh.model}`
      const devices = String(mesh.batch * mesh.model)
      const told = { do: 'open', of, compute: 'f32', optimizer, folder, batches }
      const sides: readonly Side[] = [
        { name: 'one', worker: startOurs('one'), open: { ...told, mesh: { batch: 1, model: 1 } } }, { name: 'ours', worker: startOurs('ours'), open: { ...told, mesh } },
        { name: 'JAX', worker: new Worker('JAX', jax, [here('jax_models.py')], { ...python, JAX_PLATFORMS: 'cpu', MESHWORK_BENCH_DEVICES: devices }), open: { ...told, mesh } },
      ]
      await withWorkers(sides.map(s => s.worker), async () => {
        const losses = new Map<string, readonly number[]>()
        for (const [i, { name: side, worker, open }] of sides.entries()) {
          say(`${label}: compiling, ${side}`)
          await worker.say(JSON.stringify(open))
          if (i === 0) await ask(worker, { do: 'save' })
          losses.set(side, (await ask(worker, { do: 'steps', count: warmup })).losses)
        }
        checkLosses(losses)
        const timed = (w: Worker) => async (): Promise<number> => median((await ask(w, { do: 'steps', count: visit })).ms.slice(1))
        const found = await interleave(new Map(sides.map(s => [s.name, timed(s.worker)])), rounds, done => { say(`${label}: round ${done} of ${rounds}`) })
        const two = mesh.batch === 2 && mesh.model === 2
        rows.push(
          row(`${label} ours`, median(found.get('ours') ?? []), 'ms'), row(`${label} / our 1×1`, ratio(found, 'ours', 'one'), '', two ? 1.05 : undefined),
          row(`${label} / JAX`, ratio(found, 'ours', 'JAX'), '', two ? 0.85 : undefined),
        )
      })
    }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
  return { notes: [], rows }
}

export async function speedSection(rounds: number, say: Say): Promise<Section> {
  const parts: Part[] = []
  if (partWanted('steps')) {
    const [torch, jax] = [await torchPython(say), await jaxPython(say)]
    const roof = await roofOf(torch, say)
    const lines: string[] = []
    const names = Object.keys(configurations)
    for (const compute of ['f32', 'bf16'] as const) {
      for (const [name, of] of Object.entries(configurations)) {
        if (!wanted(names, name) || !wanted(['f32', 'bf16'], compute)) continue
        const part = await steps(name, of, compute, { torch, jax, rounds, roof: roof.flops, say })
        lines.push(part.line)
        parts.push(part)
      }
    }
    const head = ['step', 'dtype', 'ours: median (least), ms', 'eager', 'torch.compile', 'JAX', ': torch.compile', ': eager', ': JAX', 'share of the roof', 'peak MiB of steps (with compiling), ours : eager', 'losses apart']
    parts.push({ notes: [roof.note, cells(head), cells(head.map(() => '---')), ...lines], rows: [] })
  }
  if (partWanted('meshes')) {
    const jax = await jaxPython(say)
    for (const [name, of] of Object.entries(configurations)) if (of.kind === 'gpt' && name !== 'b' && wanted(Object.keys(configurations), name)) parts.push(await onMeshes(name, of, jax, rounds, say))
  }
  if (partWanted('growth')) parts.push(await growth(say))
  if (partWanted('start')) parts.push(await starts(rounds, say))
  if (partWanted('host')) parts.push(await hostCost(rounds, say))
  return { name: 'speed', notes: [...isQuick ? ['small numbers: these figures say nothing'] : [], ...isAvx2 ? ['all sides held to AVX2'] : [], ...new Set(parts.flatMap(p => p.notes))], rows: parts.flatMap(p => p.rows) }
}
