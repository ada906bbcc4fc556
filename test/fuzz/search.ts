/** Random programs by a seed: one after another until one differs, which is shown as the smallest that does; or several compiled as one. */
import { setImmediate } from 'node:timers/promises'
import fc from 'fast-check'
import type { Backend } from '../../src/engine/index.ts'
import { isLegal, shown, verdict, type Verdict } from './check.ts'
import { drawn, type Drawn } from './program.ts'
import { registry } from './registry.ts'

export interface Found { readonly seed: number; readonly program: Drawn; readonly wrong: string }
interface Watch {
  /** Called after each program that is no attempt to make a failing one smaller. */
  readonly onVerdict?: (v: Verdict) => void
  readonly stopped?: () => boolean
}

/** @returns the smallest program that was found to differ, if one does. */
export async function search(backend: Backend, seed: number, programs: number, { onVerdict = () => undefined, stopped = () => false }: Watch = {}): Promise<Found | undefined> {
  let failing = false
  const result = await fc.check(fc.asyncProperty(drawn, async p => {
    // Simulated devices never wait, and Ctrl-C is heard in between only.
    await setImmediate()
    if (stopped()) return
    const found = await verdict([p], backend)
    if (!failing) onVerdict(found)
    if (found.wrong === undefined) return
    failing = true
    throw new Error(found.wrong)
  }), { seed, numRuns: programs, interruptAfterTimeLimit: 600_000 })
  const [program] = result.counterexample ?? []
  return result.failed && program !== undefined ? { seed, program, wrong: result.errorInstance instanceof Error ? result.errorInstance.message : '' } : undefined
}

/** With the command that finds it again. */
export const saidOf = ({ seed, program, wrong }: Found, programs: number, plugin: string): string =>
  `${wrong}\n  again: npm run fuzz -- --seed ${seed} --programs ${programs} --plugin ${plugin}\n${shown(program)}`

// Gradients that ask which element the extremum is: what XLA computes twice may differ in its last bit.
const asking = new Set(['max', 'min', 'maxPool', 'minPool', 'cummax', 'cummin', 'scatter', 'sort', 'sortWith', 'argsort', 'argmax', 'argmin', 'categorical', 'topK', 'nth', 'median'])
const names = Object.keys(registry)
/** The meshes that compiled programs are drawn for, by their numbers in `meshes`. */
export const compiledMeshes = [0, 2, 4, 6] as const
export const together = 6

/** Legal programs for one mesh: the compiler takes seconds for a program, however small, and so gets several of them as one. */
export const compiled = (seed: number, mesh: number): Drawn[] => fc.sample(drawn, { numRuns: 4 * together, seed }).map((p): Drawn => ({
  ...p, mesh, steps: p.steps.filter(s => !asking.has(names[s.op % names.length] ?? '')).slice(0, 8), params: null, state: null, named: null, gradients: null, stages: 1, seed: p.seed | 1,
})).filter(isLegal).slice(0, together)

/** What is wrong with them, as one program; undefined where nothing is. */
export async function wrongTogether(programs: readonly Drawn[], backend: Backend): Promise<string | undefined> {
  const { wrong, refused } = await verdict(programs, backend)
  return wrong === undefined && refused === undefined ? undefined : `${wrong ?? 'refused, though each alone is legal'}\n${programs.map(shown).join('\n\n')}`
}
