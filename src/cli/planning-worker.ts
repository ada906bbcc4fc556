/** The thread that searches layouts and plans sweeps. */
import { parentPort, workerData } from 'node:worker_threads'
import { MeshworkError, type Problem } from '../core/errors.ts'
import { searched, type Found } from './auto.ts'
import type { AutoFlags } from './auto.ts'
import type { Output } from './output.ts'
import type { RunFlags } from './overrides.ts'
import { plannable } from './plannable.ts'
import { sweptBy, type SweepFlags } from './plan-machine.ts'
import { loadRecipe } from './recipes.ts'
import type { Swept } from './sweep.ts'

/** What can be asked, and what comes of it. */
export interface Asked {
  /** For `plan` what it takes, for `train` a recipe; for a job of so many ranks as many devices. */
  readonly search: { readonly work: { readonly from: { readonly plannable: string } | { readonly recipe: string }; readonly flags: RunFlags & AutoFlags; readonly ranks?: number }; readonly found: Found }
  readonly sweep: { readonly work: { readonly name: string; readonly flags: SweepFlags }; readonly found: readonly Swept[] }
}
export type Work = { readonly [K in keyof Asked]: { readonly kind: K } & Asked[K]['work'] }[keyof Asked]
/** What was asked for, or what is wrong. */
export type Answer<K extends keyof Asked = keyof Asked> = { readonly found: Asked[K]['found'] } | { readonly wrong: { readonly name: string; readonly problem: Problem } }
/** What it says: words on its way, and in the end its answer. */
export type Says = { readonly note: string } | { readonly status: string } | Answer

const say = (says: Says): void => { parentPort?.postMessage(says) }
const output: Pick<Output, 'note' | 'status'> = { note: note => { say({ note }) }, status: status => { say({ status }) } }

const does: { readonly [K in keyof Asked]: (work: Asked[K]['work']) => Promise<Asked[K]['found']> } = {
  search: async ({ from, flags, ranks }) => searched((await ('recipe' in from ? loadRecipe(from.recipe) : plannable(from.plannable))).run, flags, output, ranks),
  sweep: async ({ name, flags }) => sweptBy(await plannable(name), flags, output),
}

const work = workerData as Work
try {
  say({ found: await (does[work.kind] as (work: Work) => Promise<Found | readonly Swept[]>)(work) })
} catch (e) {
  if (!(e instanceof MeshworkError)) throw e
  const { cause: _, ...problem } = e.problem
  say({ wrong: { name: e.name, problem } })
}
