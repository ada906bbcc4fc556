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

/** A plan and what its step takes on a machine; in words why that cannot be said, which is no reason not to show the plan, and of a machine that nobody chose nothing at all. */
async function plannedOn(run: Run, chosen: string | null | undefined): Promise<{ readonly planned: PlannedRun; readonly on?: On | string | undefined }> {
  const named = chosen === undefined ? (await offeredMachines()).find(name => name === usualMachine) : chosen
  if (named === undefined || named === null) return { planned: plan(run) }
  const inWords = (e: unknown): string | undefined => {
    if (!(e instanceof MeshworkError)) throw e
    return chosen === undefined ? undefined : `${e.problem.what}: ${e.problem.fix ?? ''}`.replace(/: $/, '')
  }
  const machine = await machineNamed(named).catch(inWords)
  if (typeof machine === 'string' || machine === undefined) return { planned: plan(run), on: machine }
  const planned = plan(run, machine)
  try { return { planned, on: { ...forecast(run, planned, machine), machine, named } } } catch (e) { return { planned, on: inWords(e) } }
}

async function found({ from, flags, machine }: PlanWork): Promise<PlanFound> {
  try {
    const given = 'folder' in from ? await savedRun(from.folder, undefined) : await loadRecipe(from.recipe)
    const run = applyFlags(given.run, flags)
    checkRun(run, { onHost: false, setsFields: true, onPaper: true, forward })
    const { planned, on } = await plannedOn(run, machine)
    return { plan: typeof on === 'string' ? { ...pictured(run, planned, sourceText()), unpredicted: on } : pictured(run, planned, sourceText(), on) }
  } catch (e) {
    if (!(e instanceof MeshworkError)) return { failed: e instanceof Error ? e.stack ?? e.message : String(e) }
    const { code, what, details, fix, at } = e.problem
    return { fault: { code, what, ...(details === undefined ? {} : { details }), ...(fix === undefined ? {} : { fix }), ...(at === undefined ? {} : { at: formatSite(at) }) } }
  }
}

// One after another: what waits may be called back before it is begun.
parentPort?.on('message', (work: PlanWork) => { void found(work).then(answer => { parentPort?.postMessage(answer) }) })
