/** The thread in which the first rank of a job searches for a layout, so that the others hear from it meanwhile. */
import { parentPort, workerData } from 'node:worker_threads'
import { MeshworkError, type Problem } from '../core/errors.ts'
import type { LayoutSearch } from '../train/find-layout.ts'
import { searched, type AutoFlags } from './auto.ts'
import type { RunFlags } from './overrides.ts'
import { loadRecipe } from './recipes.ts'

export interface SearchWork { readonly recipe: string; readonly flags: RunFlags & AutoFlags; readonly ranks: number }
/** What it found, or what is wrong. */
export type Answer = { readonly found: LayoutSearch } | { readonly wrong: { readonly name: string; readonly problem: Problem } }
/** What it says: words on its way, and in the end its answer. */
export type SearchSays = { readonly note: string } | { readonly status: string } | Answer

const say = (says: SearchSays): void => { parentPort?.postMessage(says) }
const { recipe, flags, ranks } = workerData as SearchWork
try {
  const { run } = await loadRecipe(recipe)
  const { found } = await searched(run, flags, { note: note => { say({ note }) }, status: status => { say({ status }) }, clear: () => {} }, ranks)
  say({ found })
} catch (e) {
  if (!(e instanceof MeshworkError)) throw e
  const { cause: _, ...problem } = e.problem
  say({ wrong: { name: e.name, problem } })
}
