/** Steps that others published, predicted by machines that know none of them; beside it what one constant utilisation for all predicts, the best for the table that there is. */
import { tasksTime } from '../../../src/cost/time.ts'
import { row, type Row, type Section } from '../../measure.ts'
import { drawnByKind, inDigits, type Constants } from '../fit.ts'
import { constantUtilisation, errorRows, meanError, type Held } from '../held.ts'
import { microbatchesOf, plannedRow, type GptRow, type Planned } from '../planned-gpt.ts'
import { keptFits, keptPlans, progress } from '../plans.ts'
import { isQuick } from '../runs.ts'
import { asSaid, fittedFactors, scaled } from './factors.ts'
import { machineOfRow, waitsFor } from './machines.ts'
import { smoothest } from './smooth.ts'
import { publishedTables, type Published, type Table } from './tables.ts'

export interface Predicted extends Held { readonly row: Published }

/** A row's step as its table's machine is said to take it, or by factors of it. */
export function predicted({ machine }: Pick<Table, 'machine'>, r: Published, factors: Constants = asSaid, plan: Planned = plannedRow(r)): Predicted {
  return { row: r, ms: r.ms, predictedMs: waitsFor(r) * tasksTime(plan, scaled(machineOfRow(machine, r), factors), plan.mesh).stepMs }
}

interface Ready { readonly row: Published; readonly plan: Planned }
/** Rows that are alike in what their machine is good at come one after another. */
const kindOf = ({ row: { recompute = 'layers', seq, embed, layers } }: Ready): string => `${recompute} ${inDigits(seq, embed * layers)}`

/** `MESHWORK_BENCH_SEED`: which rows are calibrated on, by one draw or several; those of 1, 2 and 3 unless said. */
const seeds = (process.env['MESHWORK_BENCH_SEED'] ?? '1,2,3').split(',').map(Number)

interface Calibrated { readonly what: string; readonly values: Constants; readonly held: readonly Predicted[]; readonly on: number }
/** Factors fitted to a tenth of the table's rows and the errors of all others, seed by seed; or to all rows of another table. */
function calibratedOf(table: Table, rows: readonly Ready[], others: readonly Ready[], kept: ReturnType<typeof keptFits>, fitted: (what: string) => void): readonly Calibrated[] {
  const of = (list: readonly Ready[], values: Constants): readonly Predicted[] => list.map(r => predicted(table, r.row, values, r.plan))
  const by = (what: string, sample: readonly Ready[], rest: readonly Ready[]): Calibrated => {
    const errorOf = (v: Constants): number => meanError(of(sample, v))
    const values = kept(`${table.name}, ${what}`, errorOf(asSaid), () => fittedFactors(errorOf, sample.length))
    fitted(`${table.name}, ${what}`)
    return { what, values, held: of(rest, values), on: sample.length }
  }
  if (others.length > 0) return [by('calibrated on another table', others, rows)]
  const count = Math.floor(rows.length / 10)
  return count === 0 ? [] : seeds.map(seed => { const { sample, rest } = drawnByKind(rows, count, seed, kindOf); return by(`calibrated, seed ${seed}`, sample, rest) })
}

/** Operations of a device in a step, attention with all scores: six of a weight and token, and twice a layer's forward ones more where all is computed again and that is `counted`. */
export function flopsOf(r: GptRow, counted: 'model' | 'hardware'): number {
  const { embed, hidden = 4 * embed, heads, headDim = embed / heads, layers, seq, vocab, batch, recompute = 'layers' } = r
  const layer = 4 * embed * heads * headDim + 2 * embed * hidden + 2 * seq * heads * headDim
  const again = counted === 'model' || recompute === 'nothing' ? 0 : recompute !== 'scores' ? 2 * layer : 4 * seq * heads * headDim
  return batch * seq * (layers * (6 * layer + again) + 6 * vocab * embed) / (r.tensor * r.data * r.stages)
}

/** Mean error of the constant that is best for the rows that it is tried on, of model or hardware operations, whichever is better for it. */
export const errorOfConstant = (rows: readonly Published[]): number => Math.min(...(['model', 'hardware'] as const).map(counted => {
  const flat = constantUtilisation(rows, r => flopsOf(r, counted))
  return meanError(rows.map(r => ({ ms: r.ms, predictedMs: flat(r) })))
}))
/** The same predictions by a clock of another speed: one constant for the table, as one utilisation has. */
export function rescaled(held: readonly Predicted[]): readonly Predicted[] {
  const scaled = constantUtilisation(held, h => h.predictedMs)
  return held.map(h => ({ ...h, predictedMs: scaled(h) }))
}

const digits = (x: number): string => Number(x.toPrecision(3)).toString()

export async function publishedSection(_rounds: number, say: (line: string) => void): Promise<Section> {
  const [rows, notes]: [Row[], string[]] = [[], []]
  const [kept, fits, tables] = [keptPlans(), keptFits(), await publishedTables()]
  const rowsOf = (list: readonly Published[]): readonly Published[] => (isQuick ? list.slice(0, 2) : list)
  let planned = 0
  const planning = progress(tables.reduce((sum, t) => sum + rowsOf(t.rows).length + rowsOf(t.calibration ?? []).length, 0), say)
  const ready = (table: Table, list: readonly Published[]): readonly Ready[] => rowsOf(list).map((r): Ready => {
    if (planned++ % 20 === 0) planning('planned', planned - 1)
    return { row: r, plan: kept(`${table.machine} ${JSON.stringify(r)}`, () => plannedRow(r)) }
  })
  const all = tables.map(table => ({ table, own: ready(table, table.rows), others: ready(table, table.calibration ?? []) }))
  let done = 0
  const fitting = progress(all.reduce((sum, { own, others }) => sum + (others.length > 0 ? 1 : own.length < 10 ? 0 : seeds.length), 0), say)
  for (const { table, own, others } of all) {
    const held = own.map(r => predicted(table, r.row, asSaid, r.plan))
    const flat = errorOfConstant(held.map(h => h.row))
    const scaledHeld = rescaled(held)
    const smooth = smoothest(held.map(h => h.row), r => flopsOf(r, 'hardware'))
    const calibrated = calibratedOf(table, own, others, fits, what => { fitting(`fitted: ${what}`, ++done) })
    rows.push(row(`${table.name}: mean error of one utilisation`, flat, '%'), ...errorRows(table.name, held, flat / 2), ...calibrated.flatMap(c => errorRows(`${table.name}, ${c.what}`, c.held, flat / 2)), row(`${table.name}: mean error, rescaled`, meanError(scaledHeld), '%'), row(`${table.name}: mean error of the best of ${smooth.of} smooth functions, each row by all others`, smooth.error, '%'))
    const each = (h: Predicted, i: number): string => {
      const others = calibrated.map(c => c.held.find(x => x.row === h.row)).map(x => (x === undefined ? 'drawn' : percent(x)).padStart(6))
      return `  ${h.row.what.padEnd(52)} ${(h.ms / 1000).toFixed(3).padStart(9)} s, predicted ${(h.predictedMs / 1000).toFixed(3).padStart(9)}, ${percent(h).padStart(6)} %${others.length === 0 ? '' : `; calibrated ${others.join(', ')} %`}; ${microbatchesOf(own[i]?.row ?? h.row)} microbatches`
    }
    notes.push(`${table.name}: ${held.length} rows, ${table.machine}; ${table.source}`, ...calibrated.map(c => `  ${c.what}, ${c.on} rows: ${Object.entries(c.values).map(([name, value]) => `${name} ${digits(value)}`).join(', ')}`), ...held.map(each))
  }
  return {
    name: 'foresight-published', rows,
    notes: [...(isQuick ? ['few rows: these figures say nothing'] : []), 'calibrated: factors of the machine fitted to a tenth of the rows, drawn by a seed, or to another table; errors are those of all other rows. rescaled: by one constant that knows the table, as one utilisation for all does', ...notes],
  }
}
const percent = ({ predictedMs, ms }: Held): string => (100 * (predictedMs / ms - 1)).toFixed(1)
