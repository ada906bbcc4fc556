/** One model's step in one dtype on one device, beside all peers that there are. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { checkLosses } from '../gpt.ts'
import { interleave, median, ratio, row, type Row } from '../measure.ts'
import { withWorkers, type Worker } from '../process.ts'
import { optimizer } from '../task.ts'
import { batches, type Configuration } from './configurations.ts'
import { ask, cells, startJax, startOurs, startTorch, visit, warmup, writeBatches, type Part, type Say, type Side } from './sides.ts'
import type { Answers, Opening } from './worker.ts'

/** Where and against whom: Pythons of the peers, the plugin of a card (the CPU's unless there is one), the roof in operations a second, and what ours may take of a peer's time. */
export interface Stand {
  readonly torch?: string
  readonly jax?: string
  readonly card?: string
  readonly rounds: number
  readonly roof: number
  readonly bars: { readonly compiled?: number; readonly jax?: number; readonly roof?: number }
  readonly say: Say
}

const least = (values: readonly number[] | undefined): number => Math.min(...values ?? [NaN])
const shown = (x: number, digits: number): string => (Number.isNaN(x) ? '–' : x.toFixed(digits))
export const stepsHead: readonly string[] = [
  'step', 'dtype', 'ours: median (least), ms', 'eager', 'torch.compile', 'JAX', ': torch.compile', ': eager', ': JAX', 'share of the roof', 'peak MiB of steps (with compiling), ours : eager', 'losses apart',
]

/** The sides are opened one after another and idle while others are timed. */
export async function steps(name: string, of: Configuration, compute: Opening['compute'], { torch, jax, card, rounds, roof, bars, say }: Stand): Promise<Part & { readonly line: string }> {
  const folder = await mkdtemp(join(tmpdir(), 'meshwork-bench-'))
  const mesh = { batch: 1, model: 1 }
  const told = { do: 'open', of, compute, optimizer, folder, batches }
  const device = card === undefined || card === 'cpu' ? 'cpu' : 'cuda'
  const sides: readonly Side[] = [
    { name: 'ours', worker: await startOurs('ours'), open: { ...told, mesh, ...card === undefined ? {} : { plugin: card } } },
    ...torch === undefined ? [] : [
      { name: 'eager', worker: startTorch('eager', torch), open: { ...told, device, compiled: false } },
      { name: 'compiled', worker: startTorch('compiled', torch), open: { ...told, device, compiled: true } },
    ],
    ...jax === undefined ? [] : [{ name: 'JAX', worker: startJax(jax, card), open: { ...told, mesh } }],
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
      const ms = (side: string): number => median(found.get(side) ?? [])
      const label = `(${name}) ${compute}`
      const share = flops / ms('ours') * 1000 / roof
      const against = (side: string, peer: string, bar?: number): Row[] => (found.has(side) ? [row(`${label} ours / ${peer}`, ratio(found, 'ours', side), '', bar)] : [])
      // What is resident on the host says nothing of a card's memory.
      const memory = card === undefined ? await Promise.all(sides.slice(0, 2).map(s => ask(s.worker, { do: 'memory' }))) : []
      const [peaks, stepping, own] = [memory.map(m => m.peakMiB), memory.map(m => m.stepsMiB), memory.map(m => m.stepsMiB - m.bareMiB)]
      const rows = [
        ...sides.map((s): Row => row(`${label} ${s.name}`, ms(s.name), 'ms')),
        ...against('compiled', 'torch.compile', bars.compiled), ...against('eager', 'eager'), ...against('JAX', 'JAX', bars.jax), row(`${label} share of the roof`, 100 * share, '%'),
        ...bars.roof === undefined ? [] : [row(`${label} time : time at the roof`, 1 / share, '', 1 / bars.roof)],
        ...memory.length === 0 ? [] : [
          row(`${label} peak memory of steps, ours / eager`, (stepping[0] ?? NaN) / (stepping[1] ?? NaN), '', 0.8), row(`${label} the same beyond the bare process, ours / eager`, (own[0] ?? NaN) / (own[1] ?? NaN)),
          row(`${label} peak memory with compiling, ours / eager`, (peaks[0] ?? NaN) / (peaks[1] ?? NaN)),
        ],
      ]
      const line = cells([
        `(${name}) ${of.about}`, compute, ...['ours', 'eager', 'compiled', 'JAX'].map(side => (found.has(side) ? `${ms(side).toFixed(0)} (${least(found.get(side)).toFixed(0)})` : '–')),
        ...['compiled', 'eager', 'JAX'].map(side => shown(ratio(found, 'ours', side), 2)), `${(100 * share).toFixed(0)} %`,
        memory.length === 0 ? '–' : `${stepping.map(m => m.toFixed(0)).join(' : ')} (${peaks.map(m => m.toFixed(0)).join(' : ')})`, Number.isNaN(apart) ? '' : apart.toExponential(0),
      ])
      say(line)
      return { notes: [...notes], rows, line }
    })
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
