/** Steps that others measured, in one node and on many, predicted by what a tenth of them tells of their machine; beside it what one constant utilisation for all predicts. */
import { appendFileSync, existsSync, readFileSync } from 'node:fs'
import { mesh } from '../../../src/core/mesh.ts'
import { tasksTime } from '../../../src/cost/time.ts'
import { row, type Row, type Section } from '../../measure.ts'
import { a100, ofDevice, ofHosts } from '../a100.ts'
import { fitted, sampled, type Constants } from '../fit.ts'
import { constantUtilisation, errorRows, meanError, percentile90, regrets, stepFlops, type Held } from '../held.ts'
import { plannedRow, type Planned } from '../planned-gpt.ts'
import { isQuick } from '../runs.ts'
import { measuredRows, type Measured } from './rows.ts'

type Say = (line: string) => void
interface Ready { readonly row: Measured; readonly planned: Planned; readonly ms: number }

/** `MESHWORK_BENCH_SEED`: which rows are calibrated on; 1 unless said. */
const seed = Number(process.env['MESHWORK_BENCH_SEED'] ?? '1')

/** Rows that are traced alike come one after another. */
const inOrder = (rows: readonly Measured[]): Measured[] => {
  const key = (r: Measured): string => [r.embed, r.stages, r.layers, r.data * r.microbatch, r.data].map(n => String(n).padStart(6, '0')).join()
  return [...rows].sort((a, b) => (key(a) < key(b) ? -1 : 1))
}
/** `MESHWORK_BENCH_PLANS`: a file that keeps what is planned, so that a bench which is ended goes on where it was, and one with another seed plans nothing. */
const file = process.env['MESHWORK_BENCH_PLANS']
interface Kept { readonly row: string; readonly axes: { readonly [axis: string]: number }; readonly tasks: Planned['tasks']; readonly values: number }
const keptPlans = (): Map<string, Planned> => {
  if (file === undefined || !existsSync(file)) return new Map()
  const lines = readFileSync(file, 'utf8').split('\n').filter(l => l !== '').map(l => JSON.parse(l) as Kept)
  return new Map(lines.map(({ row: r, axes, ...rest }) => [r, { ...rest, mesh: mesh(axes) }]))
}
function ready(rows: readonly Measured[], say: Say): Ready[] {
  const kept = keptPlans()
  return inOrder(rows).map((r, i): Ready => {
    if (i % 100 === 0) say(`planned ${i} of ${rows.length}`)
    const name = [r.batch, r.microbatch, r.embed, r.heads, r.layers, r.seq, r.tensor, r.data, r.stages].join()
    const planned = kept.get(name) ?? plannedRow(r)
    if (file !== undefined && !kept.has(name)) appendFileSync(file, `${JSON.stringify({ row: name, axes: Object.fromEntries(planned.mesh.axes.map(a => [a.name, a.size])), tasks: planned.tasks, values: planned.values } satisfies Kept)}\n`)
    return { row: r, planned, ms: r.ms }
  })
}
const predict = (rows: readonly Ready[], values: Constants): (Ready & Held)[] => {
  const machine = a100(values)
  return rows.map(r => ({ ...r, predictedMs: tasksTime(r.planned, machine, r.planned.mesh).stepMs }))
}
const groupOf = ({ row: r }: Ready): string => [r.embed, r.layers, r.batch, r.tensor * r.data * r.stages].join()
const workOf = ({ row: r }: Ready): number => stepFlops(r) / (r.tensor * r.data * r.stages)

/** What the bench found: constants, and errors on rows that none was fitted to. */
export async function vtrainSection(_rounds: number, say: Say): Promise<Section> {
  const of = async (which: 'single' | 'multi', tenth: number): Promise<{ readonly sample: readonly Ready[]; readonly rest: readonly Ready[] }> => {
    const all = await measuredRows(which)
    const drawn = isQuick ? sampled(all, 24, 7).sample : all
    return sampled(ready(drawn, text => { say(`${which}: ${text}`) }), Math.floor(drawn.length * tenth), seed)
  }
  const [single, multi] = [await of('single', 0.1), await of('multi', 0.1)]
  say(`fitting to ${single.sample.length} and ${multi.sample.length} rows`)
  const constants = [...ofDevice, ...ofHosts]
  const { values } = fitted(constants, v => meanError(predict(single.sample, v)) + 0.3 * meanError(predict(multi.sample, v)), isQuick ? 1 : 4, isQuick ? 20 : 400)
  const rows: Row[] = []
  for (const [name, { sample, rest }, goal] of [['one node', single, 8.4], ['many nodes', multi, 12]] as const) {
    const held = predict(rest, values)
    const flat = constantUtilisation(sample, workOf)
    rows.push(
      ...errorRows(name, held, goal), row(`${name}: mean error of one utilisation`, meanError(rest.map(r => ({ ...r, predictedMs: flat(r) }))), '%'),
      row(`${name}: chosen : best, 90th percentile`, percentile90(regrets(predict([...sample, ...rest], values), groupOf)), '%'),
    )
  }
  const digits = (x: number): string => Number(x.toPrecision(3)).toString()
  return {
    name: 'foresight-vtrain', rows,
    notes: [
      ...(isQuick ? ['few rows: these figures say nothing'] : []), `${constants.length} constants fitted to ${single.sample.length} rows of one node and ${multi.sample.length} of many, drawn by seed ${seed}; errors are of the other ${single.rest.length} and ${multi.rest.length}`,
      Object.entries(values).map(([name, value]) => `${name} ${digits(value)}`).join(', '),
    ],
  }
}
