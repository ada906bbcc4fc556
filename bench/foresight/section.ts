/** Foresight: steps that were predicted after a calibration, and then measured, in one process and on ranks; how layouts of one model are ranked, and what the chosen one costs. */
import { writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { found, leave } from '../../test/mpi/support.ts'
import { interleave, median, row, type Row, type Section } from '../measure.ts'
import { environments, Worker } from '../process.ts'
import { isQuick, models, onRanks } from './runs.ts'
import type { Answers, Request } from './worker.ts'

type Say = (line: string) => void
const ask = async <K extends keyof Answers>(w: Worker, request: Extract<Request, { readonly do: K }>): Promise<Answers[K]> => await w.say(JSON.stringify(request)) as Answers[K]
const args = ['--import', 'tsx', fileURLToPath(new URL('worker.ts', import.meta.url))]
/** Steps of a visit, of which the first is not counted. */
const visit = isQuick ? 2 : 4

interface Seen { readonly where: string; readonly model: string; readonly layout: string; readonly predicted: Answers['open']['predicted']; readonly ms: number; readonly peakBytes: number; readonly sameCollectives: boolean }

/** Pairs that are in the same order by both, less those that are not, of all (Kendall 1938); those within a hundredth of each other in either are no pairs. */
export function kendall(pairs: readonly (readonly [a: number, b: number])[]): number {
  let [same, all] = [0, 0]
  pairs.forEach(([a, b], i) => {
    for (const [c, d] of pairs.slice(i + 1)) {
      if (Math.abs(Math.log(a / c)) < 0.01 || Math.abs(Math.log(b / d)) < 0.01) continue
      all++
      same += Math.sign(a - c) === Math.sign(b - d) ? 1 : -1
    }
  })
  return all === 0 ? 1 : same / all
}
export const percentile = (values: readonly number[], share: number): number => [...values].sort((a, b) => a - b)[Math.min(values.length - 1, Math.ceil(share * values.length) - 1)] ?? NaN

async function measured(worker: Worker, where: string, rounds: number, wanted: (layout: string, model: string) => boolean, say: Say): Promise<Seen[]> {
  try {
    const { seconds, machine } = await ask<'calibrate'>(worker, { do: 'calibrate' })
    say(`${where}: calibrated in ${seconds.toFixed(0)} s`)
    const keep = process.env['MESHWORK_BENCH_MACHINE'] ?? ''
    if (keep !== '') await writeFile(`${keep}.${where.replaceAll(' ', '-')}.json`, JSON.stringify(machine, null, 1))
    const seen: Seen[] = []
    for (const model of Object.keys(models)) {
      const layouts = Object.keys(models[model] ?? {}).filter(layout => wanted(layout, model))
      if (layouts.length === 0) continue
      const answers = new Map<string, Answers['open']>()
      for (const layout of layouts) {
        say(`${where}, ${model}, ${layout}: compiling`)
        answers.set(layout, await ask<'open'>(worker, { do: 'open', model, layout }))
        await ask<'steps'>(worker, { do: 'steps', model, layout, count: 2 })
      }
      const times = await interleave(new Map(layouts.map(layout => [layout, async () => median((await ask<'steps'>(worker, { do: 'steps', model, layout, count: visit })).ms.slice(1))])), rounds, done => { say(`${where}, ${model}: round ${done} of ${rounds}`) })
      for (const layout of layouts) {
        const a = answers.get(layout)
        if (a === undefined) continue
        const { predicted } = a
        seen.push({ where, model, layout, predicted, ms: median(times.get(layout) ?? []), peakBytes: a.peakBytes, sameCollectives: a.collectives === predicted.collectives && a.collectiveBytes === predicted.collectiveBytes })
      }
      await ask<'close'>(worker, { do: 'close' })
    }
    return seen
  } finally {
    await worker.stop()
  }
}

const tableRow = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`
const line = ({ where, model, layout, predicted: p, ms, peakBytes, sameCollectives }: Seen): string => tableRow([
  `${model}, ${layout}, ${where}`, p.stepMs.toFixed(1), ms.toFixed(1), (p.stepMs / ms).toFixed(2), [p.productMs, p.memoryMs, p.waitedMs, p.overheadMs].map(x => x.toFixed(1)).join(' + '), (p.peakBytes / peakBytes).toFixed(3), sameCollectives ? 'the same' : 'others',
])

function rowsOf(seen: readonly Seen[]): Row[] {
  const errors = seen.map(s => 100 * Math.abs(s.predicted.stepMs / s.ms - 1))
  const groups = [...new Set(seen.map(s => `${s.model}, ${s.where}`))].map(g => seen.filter(s => `${s.model}, ${s.where}` === g)).filter(g => g.length > 1)
  const chosen = groups.map(g => {
    const best = g.reduce((a, b) => (b.predicted.stepMs < a.predicted.stepMs ? b : a))
    return 100 * (best.ms / Math.min(...g.map(s => s.ms)) - 1)
  })
  // Goals are upper bounds: what has to be large is told by what it lacks.
  return [
    row('step time, median error', median(errors), '%', 10), row('step time, largest error', Math.max(...errors), '%', 20), row('runs within 20 % of their time', errors.filter(e => e <= 20).length),
    row('peak memory, largest error', Math.max(...seen.map(s => 100 * Math.abs(s.predicted.peakBytes / s.peakBytes - 1))), '%', 10), row('runs with other collectives than planned', seen.filter(s => !s.sameCollectives).length, '', 0),
    row('1 − Kendall\'s τ of layouts, mean over models', 1 - groups.reduce((n, g) => n + kendall(g.map(s => [s.predicted.stepMs, s.ms])), 0) / Math.max(1, groups.length), '', 0.2),
    row('the chosen layout : the best, 90th percentile', percentile(chosen, 0.9), '%', 10),
  ]
}

export async function foresightSection(rounds: number, say: Say): Promise<Section> {
  const environment = environments['huge pages']
  const seen: Seen[] = []
  const side = process.env['MESHWORK_BENCH_PARTS'] ?? ''
  const only = (process.env['MESHWORK_BENCH_MODELS'] ?? '').split(',').filter(m => m !== '')
  const chosen = (model: string): boolean => only.length === 0 || only.includes(model)
  if (side === '' || side.includes('devices')) seen.push(...await measured(new Worker('ours, 4 devices', process.execPath, args, environment), 'one process', rounds, (_, model) => chosen(model), say))
  const [mpi] = found
  const notes = [isQuick ? 'small numbers: these figures say nothing' : '', mpi === undefined ? 'ranks: not measured: no mpirun with its mpicc (apt-get install openmpi-bin libopenmpi-dev)' : ''].filter(n => n !== '')
  if (mpi !== undefined && (side === '' || side.includes('ranks'))) {
    const worker = new Worker('ours, 4 ranks', mpi.mpirun, ['-n', '4', process.execPath, ...args], { ...leave, ...environment })
    seen.push(...await measured(worker, '4 ranks', rounds, (layout, model) => { const run = models[model]?.[layout]; return chosen(model) && run !== undefined && onRanks(run) && model !== 'Llama' && model !== 'T5' }, say))
  }
  const table = [tableRow(['run', 'predicted ms', 'measured ms', 'ratio', 'products + memory + collectives + overhead', 'memory', 'collectives']), tableRow(Array.from({ length: 7 }, () => '---')), ...seen.map(line)]
  return { name: 'foresight', notes: [...notes, `${seen.length} runs`, ...table], rows: rowsOf(seen) }
}
