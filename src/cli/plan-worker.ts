/** The thread in which runs are planned for the page: neither those who look nor the run itself wait for it. */
import { parentPort } from 'node:worker_threads'
import { formatSite, MeshworkError } from '../core/errors.ts'
import type { PlanFound, PlanWork } from '../dashboard/index.ts'
import { pictured } from '../pictured/pictured.ts'
import type { On } from '../pictured/predicted.ts'
import { forecast } from '../train/forecast.ts'
import { ofStep, planner, type PlannedRun } from '../train/planned.ts'
import type { Run } from '../train/run.ts'
import { checkRun, forwardOf } from './check.ts'
import { machineNamed, offeredMachines } from './machines.ts'
import { applyFlags } from './overrides.ts'
import { loadRecipe } from './recipes.ts'
import { savedRun } from './saved-run.ts'
import { sourceText } from './source-text.ts'

/** A run that is asked for again, on another mesh or by other rules, is not traced again. */
const plan = planner()
const forward = ofStep(forwardOf)

/** The machine that is meant by none is the one that was measured here. */
const usualMachine = 'here'

/** What a step takes on a machine; in words why that cannot be said, which is no reason not to show the plan, and of a machine that nobody chose none at all. */
async function predicted(run: Run, planned: PlannedRun, chosen: string | null | undefined): Promise<On | string | undefined> {
  const named = chosen === undefined ? (await offeredMachines()).find(name => name === usualMachine) : chosen
  if (named === undefined || named === null) return undefined
  try {
    const machine = await machineNamed(named)
    return { ...forecast(run, planned, machine), machine, named }
  } catch (e) {
    if (!(e instanceof MeshworkError)) throw e
    return chosen === undefined ? undefined : `${e.problem.what}: ${e.problem.fix ?? ''}`.replace(/: $/, '')
  }
}

async function found({ from, flags, machine }: PlanWork): Promise<PlanFound> {
  try {
    const given = 'folder' in from ? await savedRun(from.folder, undefined) : await loadRecipe(from.recipe)
    const run = applyFlags(given.run, flags)
    checkRun(run, { onHost: false, setsFields: true, onPaper: true, forward })
    const planned = plan(run)
    const on = await predicted(run, planned, machine)
    return { plan: typeof on === 'string' ? { ...pictured(run, planned, sourceText()), unpredicted: on } : pictured(run, planned, sourceText(), on) }
  } catch (e) {
    if (!(e instanceof MeshworkError)) return { failed: e instanceof Error ? e.stack ?? e.message : String(e) }
    const { code, what, details, fix, at } = e.problem
    return { fault: { code, what, ...(details === undefined ? {} : { details }), ...(fix === undefined ? {} : { fix }), ...(at === undefined ? {} : { at: formatSite(at) }) } }
  }
}

// One after another: what waits may be called back before it is begun.
parentPort?.on('message', (work: PlanWork) => { void found(work).then(answer => { parentPort?.postMessage(answer) }) })
