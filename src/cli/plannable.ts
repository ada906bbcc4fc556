/** What `meshwork plan` takes: a recipe, a run folder, or a model's folder in Hugging Face's layout. */
import { stat } from 'node:fs/promises'
import type { Machine } from '../machine/machine.ts'
import type { AnyModel } from '../models/index.ts'
import { usualLayout } from '../pretrained/layout.ts'
import { readPretrained } from '../pretrained/pretrained.ts'
import { readRunFile } from '../train/folder.ts'
import { planRun, type PlannedRun } from '../train/planned.ts'
import { modelOf, type Run } from '../train/run.ts'
import { checkRun } from './check.ts'
import { applyFlags, type RunFlags } from './overrides.ts'
import { runOfModel } from './pretrained-run.ts'
import { loadRecipe } from './recipes.ts'
import { savedRun } from './saved-run.ts'

/** Tokens of a window of a model that no run has made, where it does not say how long its own are, and windows of its step: so many, or as many more as the mesh has ways for. */
const [usualSeq, usualRows] = [1024, 8]
const sets = ({ set = [], swept }: RunFlags, field: string): boolean => [...set, swept ?? ''].some(assignment => assignment.startsWith(`${field}=`) || assignment.startsWith(`${field}.`))

/** A plan of a run whose layout is sound. @throws LayoutError, UsageError where it is not */
export function plannedOf(run: Run, machine?: Machine): PlannedRun {
  checkRun(run, { onHost: false, setsFields: true, onPaper: true })
  return planRun(run, machine)
}

export interface Plannable { readonly run: Run; readonly laid: (flags: RunFlags) => Run }

/** A run, and the same with flags; a model that no run has made is laid out as other commands do. @throws UsageError, FileError where there is neither a recipe, a run nor a model */
export async function plannable(name: string): Promise<Plannable> {
  const isFolder = await stat(name).then(s => s.isDirectory(), () => false)
  const made = !isFolder ? (await loadRecipe(name)).run : await readRunFile(name) !== undefined ? (await savedRun(name, undefined)).run : undefined
  if (made !== undefined) return { run: made, laid: flags => applyFlags(made, flags) }
  const given = await readPretrained(name)
  const run = await runOfModel(name, given, Math.min(given.positions, usualSeq))
  return {
    run, laid: flags => {
      const meshed = applyFlags(run, flags)
      const ways = meshed.mesh['batch'] ?? 1
      const rows = sets(flags, 'batch') ? meshed : { ...meshed, batch: ways * Math.ceil(usualRows / ways) }
      return flags.layout !== undefined || sets(flags, 'layout') ? rows : { ...rows, layout: usualLayout((modelOf(rows) as unknown as AnyModel).dims, meshed.mesh) }
    },
  }
}
