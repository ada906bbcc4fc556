/**
 * What was planned of rows and fitted to them, so that neither is done twice. `MESHWORK_BENCH_PLANS` is a file that keeps it, so that a bench which is ended goes on where it was, and one with another seed plans nothing; plans are
 * those of the code that made them, and the file is to be thrown away with it.
 */
import { appendFileSync, existsSync, readFileSync } from 'node:fs'
import { mesh } from '../../src/core/mesh.ts'
import type { Constants } from './fit.ts'
import type { Planned } from './planned-gpt.ts'

const file = process.env['MESHWORK_BENCH_PLANS']
interface KeptPlan { readonly row: string; readonly axes: { readonly [axis: string]: number }; readonly tasks: Planned['tasks']; readonly values: number }
interface KeptFit { readonly fit: string; readonly constants: Constants }
type Kept = KeptPlan | KeptFit

const linesOf = (): readonly Kept[] => (file === undefined || !existsSync(file) ? [] : readFileSync(file, 'utf8').split('\n').filter(l => l !== '').map(l => JSON.parse(l) as Kept))
const keep = (line: Kept): void => { if (file !== undefined) appendFileSync(file, `${JSON.stringify(line)}\n`) }

/** Plans by the names of their rows. */
export function keptPlans(): (row: string, plan: () => Planned) => Planned {
  const known = new Map(linesOf().flatMap((l): [string, Planned][] => { if (!('row' in l)) return []; const { row, axes, ...rest } = l; return [[row, { ...rest, mesh: mesh(axes) }]] }))
  return (row, plan) => {
    const found = known.get(row) ?? plan()
    if (!known.has(row)) keep({ row, axes: Object.fromEntries(found.mesh.axes.map(a => [a.name, a.size])), tasks: found.tasks, values: found.values })
    return found
  }
}

/** Constants by what they were fitted to: its name, and the error that fitting began with, which every change of the machine or of prices would change. */
export function keptFits(): (what: string, begins: number, fit: () => Constants) => Constants {
  const known = new Map(linesOf().flatMap((l): [string, Constants][] => ('fit' in l ? [[l.fit, l.constants]] : [])))
  return (what, begins, fit) => {
    const key = `${what}, from ${begins}`
    const found = known.get(key) ?? fit()
    if (!known.has(key)) keep({ fit: key, constants: found })
    return found
  }
}

/** Says what was done of so much, and about how long the rest takes by what it took so far. */
export function progress(total: number, say: (line: string) => void): (what: string, done: number) => void {
  const start = performance.now()
  return (what, done) => {
    const seconds = done === 0 ? NaN : (performance.now() - start) / 1000 / done * (total - done)
    say(`${what}: ${done} of ${total}${Number.isNaN(seconds) || done === total ? '' : `, about ${seconds < 90 ? `${Math.ceil(seconds)} s` : `${Math.ceil(seconds / 60)} min`} left`}`)
  }
}
