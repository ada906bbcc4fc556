/**
 * What was planned of rows, so that nothing is planned twice. `MESHWORK_BENCH_PLANS` is a file that keeps it, so that a bench which is ended goes on where it was, and one with another seed plans nothing; plans are
 * those of the code that made them, and the file is to be thrown away with it.
 */
import { appendFileSync, existsSync, readFileSync } from 'node:fs'
import { mesh } from '../../src/core/mesh.ts'
import type { Planned } from './planned-gpt.ts'

const file = process.env['MESHWORK_BENCH_PLANS']
interface Kept { readonly row: string; readonly axes: { readonly [axis: string]: number }; readonly tasks: Planned['tasks']; readonly values: number }

/** Plans by the names of their rows. */
export function keptPlans(): (row: string, plan: () => Planned) => Planned {
  const lines = file === undefined || !existsSync(file) ? [] : readFileSync(file, 'utf8').split('\n').filter(l => l !== '').map(l => JSON.parse(l) as Kept)
  const known = new Map(lines.map(({ row, axes, ...rest }): [string, Planned] => [row, { ...rest, mesh: mesh(axes) }]))
  return (row, plan) => {
    const found = known.get(row) ?? plan()
    if (file !== undefined && !known.has(row)) appendFileSync(file, `${JSON.stringify({ row, axes: Object.fromEntries(found.mesh.axes.map(a => [a.name, a.size])), tasks: found.tasks, values: found.values } satisfies Kept)}\n`)
    return found
  }
}
