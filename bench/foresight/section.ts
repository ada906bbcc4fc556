/** Foresight: steps that were predicted after a calibration, and then measured, in one process and on ranks; how layouts of one model are ranked, and what the chosen one costs. */
import { fileURLToPath } from 'node:url'
import { machineOf } from '../../src/machine/read.ts'
import { found, leave } from '../../test/mpi/support.ts'
import { interleave, median, row, type Row, type Section } from '../measure.ts'
import { asCommand, Worker } from '../process.ts'
import { openKept, type Kept, type MeasuredRun, type Where } from './kept.ts'
import { isHeldOut, isQuick, models, onRanks } from './runs.ts'
import { predictedOf, type Predicted } from './stepped.ts'
import type { Answers, Named, Request } from './worker.ts'

type Say = (line: string) => void
const ask = async <K extends keyof Answers>(w: Worker, request: Extract<Request, { readonly do: K }>): Promise<Answers[K]> => await w.say(JSON.stringify(request)) as Answers[K]
const args = ['--import', 'tsx', fileURLToPath(new URL('worker.ts', import.meta.url))]
/** Steps of a visit, of which the first is not counted. */
const visit = isQuick ? 2 : 4
/** The most devices of a run; ranks are as many. */
const most = 4

interface Seen extends MeasuredRun { readonly predicted: Predicted; readonly ms: number; readonly held: boolean; readonly sameCollectives: boolean }

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

/** Devices of a run. */
const devicesOf = ({ model, layout }: Named): number => Object.values(models[model]?.[layout]?.mesh ?? {}).reduce((a, b) => a * b, 1)

/** Measures what is wanted and not yet kept: the machine, and then a few steps of every run in turn, on as many devices as it has. */
async function measure(start: (devices: number) => Worker, where: Where, wanted: readonly Named[], rounds: number, kept: Awaited<ReturnType<typeof openKept>>, say: Say): Promise<void> {
  const open = wanted.filter(w => !kept.now().runs.some(r => r.where === where && r.model === w.model && r.layout === w.layout))
  const machine = kept.now().machines[where]
  if (open.length === 0 && machine !== undefined) return
  const workers = new Map<number, Worker>()
  const on = (devices: number): Worker => workers.get(devices) ?? workers.set(devices, start(devices)).get(devices) as Worker
  try {
    if (machine === undefined) {
      const found = await ask<'calibrate'>(on(most), { do: 'calibrate' })
      say(`${where}: calibrated in ${found.seconds.toFixed(0)} s`)
      await kept.add({ machines: { [where]: found.machine } })
    }
    const steps = async (named: Named, count: number): Promise<readonly number[]> => (await ask<'steps'>(on(devicesOf(named)), { do: 'steps', ...named, count })).ms
    const compiled: (readonly [Named, Answers['open']])[] = []
    for (const named of open) {
      say(`${where}, ${named.model}, ${named.layout}: compiling`)
      compiled.push([named, await ask<'open'>(on(devicesOf(named)), { do: 'open', ...named })])
      await steps(named, 2)
    }
    // All of them in turn: what a machine is slowed by for a while falls on none alone.
    const times = await interleave(new Map(compiled.map(([named], i) => [`${i}`, async () => median((await steps(named, visit)).slice(1))])), rounds, done => { say(`${where}: round ${done} of ${rounds}`) })
    await kept.add({ runs: compiled.map(([named, found], i) => ({ where, ...named, compiled: found, rounds: times.get(`${i}`) ?? [] })) })
    for (const worker of workers.values()) await ask<'close'>(worker, { do: 'close' })
  } finally {
    await Promise.all([...workers.values()].map(worker => worker.stop()))
  }
}

/** What was measured beside what is predicted now. */
function seenIn({ machines, runs }: Kept, wanted: (where: Where, named: Named) => boolean): Seen[] {
  return runs.filter(r => wanted(r.where, r)).flatMap(r => {
    const [run, machine] = [models[r.model]?.[r.layout], machines[r.where]]
    if (run === undefined || machine === undefined) return []
    const predicted = predictedOf(run, machineOf(machine, r.where))
    const { collectives, collectiveBytes } = r.compiled
    return [{ ...r, predicted, ms: median(r.rounds), held: isHeldOut(r), sameCollectives: collectives === predicted.collectives && collectiveBytes === predicted.collectiveBytes }]
  })
}

const tableRow = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`
const columns = ['run (* held out)', 'predicted ms', 'measured ms', 'ratio', 'products + memory + collectives + overhead', 'memory', 'collectives']
const line = ({ where, model, layout, held, predicted: p, ms, compiled: { peakBytes }, sameCollectives }: Seen): string => tableRow([
  `${model}, ${layout}, ${where}${held ? ' *' : ''}`, p.stepMs.toFixed(1), ms.toFixed(1), (p.stepMs / ms).toFixed(2), [p.productMs, p.memoryMs, p.waitedMs, p.overheadMs].map(x => x.toFixed(1)).join(' + '), (p.peakBytes / peakBytes).toFixed(3), sameCollectives ? 'the same' : 'others',
])

const errorOf = ({ predicted, ms }: Pick<Seen, 'predicted' | 'ms'>): number => 100 * Math.abs(predicted.stepMs / ms - 1)
/** By the round that took least: what else the machine does makes steps longer, never shorter, and what is calibrated is the least of some rounds as well. */
const leastOf = ({ predicted, rounds }: Seen): Pick<Seen, 'predicted' | 'ms'> => ({ predicted, ms: Math.min(...rounds) })
function rowsOf(seen: readonly Seen[]): Row[] {
  const [errors, held] = [seen.map(errorOf), seen.filter(s => s.held).map(errorOf)]
  const groups = [...new Set(seen.map(s => `${s.model}, ${s.where}`))].map(g => seen.filter(s => `${s.model}, ${s.where}` === g)).filter(g => g.length > 1)
  const pairsOf = (g: readonly Seen[]): (readonly [number, number])[] => g.map(s => [s.predicted.stepMs, s.ms])
  const chosen = groups.map(g => {
    const best = g.reduce((a, b) => (b.predicted.stepMs < a.predicted.stepMs ? b : a))
    return 100 * (best.ms / Math.min(...g.map(s => s.ms)) - 1)
  })
  // Goals are upper bounds: what has to be large is told by what it lacks.
  return [
    row('step time, median error', median(errors), '%', 10), row('step time, largest error', Math.max(...errors), '%', 20), row('runs within 20 % of their time', errors.filter(e => e <= 20).length),
    row('held-out runs, median error', median(held), '%', 10), row('held-out runs, largest error', Math.max(...held), '%', 20),
    row('by the least of rounds, median error', median(seen.map(x => errorOf(leastOf(x)))), '%'), row('largest', Math.max(...seen.map(x => errorOf(leastOf(x)))), '%'), row('within 20 %', seen.filter(x => errorOf(leastOf(x)) <= 20).length),
    row('what rounds of a run differ by, 90th percentile', percentile(seen.map(({ rounds }) => 100 * (Math.max(...rounds) / Math.min(...rounds) - 1)), 0.9), '%'),
    row('peak memory, largest error', Math.max(...seen.map(s => 100 * Math.abs(s.predicted.peakBytes / s.compiled.peakBytes - 1))), '%', 10), row('runs with other collectives than planned', seen.filter(s => !s.sameCollectives).length, '', 0),
    row('1 − Kendall\'s τ of all runs', 1 - kendall(pairsOf(seen)), '', 0.2),
    row('1 − Kendall\'s τ of layouts, mean over models', 1 - groups.reduce((n, g) => n + kendall(pairsOf(g)), 0) / Math.max(1, groups.length), '', 0.2),
    row('the chosen layout : the best, 90th percentile', percentile(chosen, 0.9), '%', 10),
  ]
}

export async function foresightSection(rounds: number, say: Say): Promise<Section> {
  const side = process.env['MESHWORK_BENCH_PARTS'] ?? ''
  const only = (process.env['MESHWORK_BENCH_MODELS'] ?? '').split(',').filter(m => m !== '')
  const [mpi] = found
  const sides: { readonly [W in Where]: { readonly part: string; readonly start: ((devices: number) => Worker) | undefined; readonly can: (named: Named) => boolean } } = {
    'one process': { part: 'devices', start: devices => new Worker(`ours, ${devices} devices`, process.execPath, [...args, `${devices}`], asCommand), can: () => true },
    '4 ranks': {
      part: 'ranks', start: mpi === undefined ? undefined : () => new Worker('ours, 4 ranks', mpi.mpirun, ['-n', `${most}`, process.execPath, ...args], { ...leave, ...asCommand }),
      can: ({ model, layout }) => { const run = models[model]?.[layout]; return run !== undefined && onRanks(run) && model !== 'Llama' && model !== 'T5' },
    },
  }
  const chosen = (where: Where, named: Named): boolean => (side === '' || side.includes(sides[where].part)) && (only.length === 0 || only.includes(named.model)) && sides[where].can(named)
  const all = Object.entries(models).flatMap(([model, layouts]) => Object.keys(layouts).map((layout): Named => ({ model, layout })))
  const kept = await openKept()
  for (const [where, { start }] of Object.entries(sides) as [Where, typeof sides[Where]][]) {
    const wanted = all.filter(named => chosen(where, named))
    if (start !== undefined && wanted.length > 0) await measure(start, where, wanted, rounds, kept, say)
  }
  const seen = seenIn(kept.now(), chosen)
  const notes = [isQuick ? 'small numbers: these figures say nothing' : '', mpi === undefined ? 'ranks: not measured: no mpirun with its mpicc (apt-get install openmpi-bin libopenmpi-dev)' : ''].filter(n => n !== '')
  const table = [tableRow(columns), tableRow(columns.map(() => '---')), ...seen.map(line)]
  return { name: 'foresight', notes: [...notes, `${seen.length} runs`, ...table], rows: rowsOf(seen) }
}
