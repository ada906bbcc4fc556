/** Steps that others measured, in one node and on many, predicted by what a tenth of them tells of their machine; beside it what one constant utilisation for all predicts. */
import { setImmediate } from 'node:timers/promises'
import { row, type Row, type Section } from '../../measure.ts'
import { a100, ofDevice, ofHosts } from '../a100.ts'
import { drawnByKind, fitted, inDigits, sampled, surprise, type Constants } from '../fit.ts'
import { constantUtilisation, errorRows, meanError, percentile90, regrets, stepFlops, type Held } from '../held.ts'
import { plannedRow, type Planned } from '../planned-gpt.ts'
import { keptFits, keptPlans, progress } from '../plans.ts'
import { numbering, predictor, type Numbered } from '../together.ts'
import { isQuick } from '../runs.ts'
import { measuredRows, type Measured } from './rows.ts'

type Say = (line: string) => void
interface Ready { readonly row: Measured; readonly planned: Numbered; readonly ms: number }

/** `MESHWORK_BENCH_SEED`: which rows are calibrated on, by one draw or several; those of 1, 2 and 3 unless said. */
const seeds = (process.env['MESHWORK_BENCH_SEED'] ?? '1,2,3').split(',').map(Number)

/** Rows that are traced alike come one after another. */
const inOrder = (rows: readonly Measured[]): Measured[] => {
  const key = (r: Measured): string => [r.embed, r.stages, r.layers, r.data * r.microbatch, r.data].map(n => String(n).padStart(6, '0')).join()
  return [...rows].sort((a, b) => (key(a) < key(b) ? -1 : 1))
}
async function ready(rows: readonly Measured[], numbered: (planned: Planned) => Numbered, say: Say): Promise<Ready[]> {
  const kept = keptPlans()
  const said = progress(rows.length, say)
  const found: Ready[] = []
  for (const [i, r] of inOrder(rows).entries()) {
    if (i % 100 === 0) said('planned', i)
    const name = [r.batch, r.microbatch, r.embed, r.heads, r.layers, r.seq, r.tensor, r.data, r.stages].join()
    found.push({ row: r, planned: numbered(kept(name, () => plannedRow(r))), ms: r.ms })
    // Nodes are found again by weak references, and what one of these is of is kept until the event loop goes on: 4 MB a row.
    await setImmediate()
  }
  return found
}
const predict = (rows: readonly Ready[], values: Constants): (Ready & Held)[] => {
  const msOf = predictor(a100(values))
  return rows.map(r => ({ ...r, predictedMs: msOf(r.planned) }))
}
/** Rows that are alike come one after another, so that of each part of them one is drawn. */
const kindOf = ({ row: r }: Ready): string => inDigits(r.embed, r.tensor, r.stages, r.data, r.microbatch, r.layers)
const groupOf = ({ row: r }: Ready): string => [r.embed, r.layers, r.batch, r.tensor * r.data * r.stages].join()
const workOf = ({ row: r }: Ready): number => stepFlops(r) / (r.tensor * r.data * r.stages)

interface Rows { readonly name: string; readonly all: readonly Ready[]; readonly goal: number }
interface Found { readonly seed: number; readonly values: Constants; readonly rows: readonly Row[]; readonly counts: string }

/** Constants fitted to a tenth of each set, and the errors on all other rows. */
function foundBy(seed: number, sets: readonly [single: Rows, multi: Rows], kept: ReturnType<typeof keptFits>, say: Say): Found {
  const [single, multi] = sets.map(({ all }) => drawnByKind(all, Math.floor(all.length / 10), seed, kindOf)) as unknown as [Drawn, Drawn]
  say(`seed ${seed}: fitting to ${single.sample.length} and ${multi.sample.length} rows`)
  // Errors of 8 % are what is to be reached.
  const errorOf = (v: Constants): number => meanError(predict(single.sample, v)) + surprise(ofDevice, v, single.sample.length, 8) + 0.3 * (meanError(predict(multi.sample, v)) + surprise(ofHosts, v, multi.sample.length, 8))
  const constants = [...ofDevice, ...ofHosts]
  const values = kept(`vTrain, seed ${seed}`, errorOf(Object.fromEntries(constants.map(c => [c.name, c.start]))), () => fitted(constants, errorOf, isQuick ? 1 : 3, isQuick ? 20 : 200, (round, error) => { say(`seed ${seed}: fitted ${round} times, ${error.toFixed(2)}`) }).values)
  const rows = sets.flatMap(({ name, goal, all }, i): Row[] => {
    const { sample, rest } = i === 0 ? single : multi
    const flat = constantUtilisation(sample, workOf)
    const what = `seed ${seed}, ${name}`
    return [
      ...errorRows(what, predict(rest, values), goal), row(`${what}: mean error of one utilisation`, meanError(rest.map(r => ({ ...r, predictedMs: flat(r) }))), '%'),
      row(`${what}: chosen : best, 90th percentile`, percentile90(regrets(predict(all, values), groupOf)), '%'),
    ]
  })
  return { seed, values, rows, counts: `seed ${seed}: fitted to ${single.sample.length} and ${multi.sample.length} rows, errors of the other ${single.rest.length} and ${multi.rest.length}` }
}
interface Drawn { readonly sample: readonly Ready[]; readonly rest: readonly Ready[] }

/** What the bench found: constants, and errors on rows that none was fitted to. */
export async function vtrainSection(_rounds: number, say: Say): Promise<Section> {
  const numbered = numbering(8)
  const of = async (which: 'single' | 'multi'): Promise<readonly Ready[]> => {
    const all = await measuredRows(which)
    return ready(isQuick ? sampled(all, 24, 7).sample : all, numbered, text => { say(`${which}: ${text}`) })
  }
  const sets = [{ name: 'one node', all: await of('single'), goal: 8.4 }, { name: 'many nodes', all: await of('multi'), goal: 12 }] as const
  const kept = keptFits()
  const found = seeds.map(seed => foundBy(seed, sets, kept, say))
  const digits = (x: number): string => Number(x.toPrecision(3)).toString()
  return {
    name: 'foresight-vtrain', rows: found.flatMap(f => f.rows),
    notes: [
      ...(isQuick ? ['few rows: these figures say nothing'] : []), `${ofDevice.length + ofHosts.length} constants, each held near what is published or usual; rows are drawn by a seed, one of each part of them in their order`,
      ...found.map(f => `${f.counts}; ${Object.entries(f.values).map(([name, value]) => `${name} ${digits(value)}`).join(', ')}`),
    ],
  }
}
