/** Steps that others published, predicted by machines that know none of them; beside it what one constant utilisation for all predicts, the best for the table that there is. */
import { tasksTime } from '../../../src/cost/time.ts'
import { row, type Row, type Section } from '../../measure.ts'
import { constantUtilisation, errorOf, meanError, percentile90, type Held } from '../held.ts'
import { microbatchesOf, plannedRow, plannedWhole, type GptRow } from '../planned-gpt.ts'
import { isQuick } from '../runs.ts'
import { machineOfRow } from './machines.ts'
import { publishedTables, type Published, type Table } from './tables.ts'

export interface Predicted extends Held { readonly row: Published }

/** Of an interleaved schedule, and of stages that differ, ticks do not go by the number of microbatches alone. */
const planned = (r: GptRow): ReturnType<typeof plannedRow> => ((r.rounds ?? 1) > 1 || r.perStage !== undefined ? plannedWhole(r) : plannedRow(r))

/** A row's step as its table's machine is said to take it. */
export function predicted({ machine }: Pick<Table, 'machine'>, r: Published): Predicted {
  const of = planned(r)
  return { row: r, ms: r.ms, predictedMs: tasksTime(of, machineOfRow(machine, r), of.mesh).stepMs }
}

/** Operations of a device in a step, attention with all scores: six of a weight and token, and twice a layer's forward ones more where all is computed again and that is `counted`. */
export function flopsOf(r: GptRow, counted: 'model' | 'hardware'): number {
  const { embed, hidden = 4 * embed, heads, headDim = embed / heads, layers, seq, vocab, batch, gated = false, recompute = 'full' } = r
  const layer = 4 * embed * heads * headDim + (gated ? 3 : 2) * embed * hidden + 2 * seq * heads * headDim
  const again = counted === 'model' || recompute === 'nothing' ? 0 : recompute === 'full' ? 2 * layer : 4 * seq * heads * headDim
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

export async function publishedSection(_rounds: number, say: (line: string) => void): Promise<Section> {
  const [rows, notes]: [Row[], string[]] = [[], []]
  for (const table of await publishedTables()) {
    const held: Predicted[] = []
    for (const [i, r] of (isQuick ? table.rows.slice(0, 2) : table.rows).entries()) {
      if (i % 20 === 0) say(`${table.name}: ${i} of ${table.rows.length}`)
      held.push(predicted(table, r))
    }
    const flat = errorOfConstant(held.map(h => h.row))
    const scaled = rescaled(held)
    rows.push(
      row(`${table.name}: mean error of one utilisation`, flat, '%'), row(`${table.name}: mean error`, meanError(held), '%', flat / 2), row(`${table.name}: 90th percentile`, percentile90(held.map(errorOf)), '%'),
      row(`${table.name}: the worst`, Math.max(...held.map(errorOf)), '%'), row(`${table.name}: mean error, rescaled`, meanError(scaled), '%', flat / 2),
    )
    notes.push(`${table.name}: ${held.length} rows, ${table.machine}; ${table.source}`, ...held.map(({ row: r, ms, predictedMs }) => `  ${r.what.padEnd(44)} ${(ms / 1000).toFixed(3).padStart(9)} s, predicted ${(predictedMs / 1000).toFixed(3).padStart(9)}, ${(100 * (predictedMs / ms - 1)).toFixed(1).padStart(6)} %, ${microbatchesOf(r)} microbatches`))
  }
  return { name: 'foresight-published', rows, notes: [...(isQuick ? ['few rows: these figures say nothing'] : []), 'rescaled: by one constant of the table, as one utilisation for all has; all others know no row of it', ...notes] }
}
