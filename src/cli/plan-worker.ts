/** The thread in which runs are planned for the page: neither those who look nor the run itself wait for it. */
import { parentPort } from 'node:worker_threads'
import { formatSite, MeshworkError } from '../core/errors.ts'
import type { PlanFound, PlanWork } from '../dashboard/index.ts'
import { pictured } from '../pictured/pictured.ts'
import { planner } from '../train/planned.ts'
import { checkRun } from './check.ts'
import { applyFlags } from './overrides.ts'
import { loadRecipe } from './recipes.ts'
import { savedRun } from './saved-run.ts'
import { sourceText } from './source-text.ts'

/** A run that is asked for again, on another mesh or by other rules, is not traced again. */
const plan = planner()

async function found({ from, flags }: PlanWork): Promise<PlanFound> {
  try {
    const given = 'folder' in from ? await savedRun(from.folder, undefined) : await loadRecipe(from.recipe)
    const run = applyFlags(given.run, flags)
    checkRun(run, { onHost: false, setsFields: true, onPaper: true })
    return { plan: pictured(run, plan(run), sourceText()) }
  } catch (e) {
    if (!(e instanceof MeshworkError)) return { failed: e instanceof Error ? e.stack ?? e.message : String(e) }
    const { code, what, details, fix, at } = e.problem
    return { fault: { code, what, ...(details === undefined ? {} : { details }), ...(fix === undefined ? {} : { fix }), ...(at === undefined ? {} : { at: formatSite(at) }) } }
  }
}

// One after another: what waits may be called back before it is begun.
parentPort?.on('message', (work: PlanWork) => { void found(work).then(answer => { parentPort?.postMessage(answer) }) })
