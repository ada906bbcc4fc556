/** A run that was made before, by its folder: its recipe's values, with the fields that it was made with. */
import { FileError, UsageError } from '../core/errors.ts'
import { readRunFile, type RunFile } from '../train/folder.ts'
import { runOfKinds } from '../train/parts.ts'
import { withFields, type Run } from '../train/run.ts'
import { loadRecipe } from './recipes.ts'

export interface Saved { readonly run: Run; readonly file: RunFile }

/** @throws FileError where the folder holds no run; UsageError where its recipe is gone, or gives a run that its fields do not fit */
export async function savedRun(folder: string, recipe: string | undefined): Promise<Saved> {
  const file = await readRunFile(folder)
  if (file === undefined) throw new FileError({ code: 'no-run', what: `${folder} holds no run: it has no run.json`, fix: 'give a folder that `npx meshwork train` named at its end' })
  const from = recipe ?? file.recipe
  if (from === undefined && file.parts !== undefined) return { run: runOfKinds(file.parts, file.run, `${folder}/run.json`), file }
  if (from === undefined) throw new UsageError({ code: 'no-recipe', what: `${folder}/run.json names no recipe: a program made the run`, fix: 'give the file that exports it, or a recipe\'s name: --recipe RECIPE' })
  const { run } = await loadRecipe(from).catch((e: unknown) => {
    if (recipe !== undefined || !(e instanceof UsageError) || (e.code !== 'no-recipe-file' && e.code !== 'unknown-recipe')) throw e
    throw new UsageError({ code: 'no-recipe', what: `the recipe of ${folder} is not where it was: ${from}`, fix: 'give the file that exports the run: --recipe RECIPE', cause: e })
  })
  try {
    return { run: withFields(run, file.run, `${folder}/run.json`), file }
  } catch (e) {
    if (!(e instanceof UsageError)) throw e
    throw new UsageError({ code: 'recipe-differs', what: `${from} is not the recipe that ${folder} was made with: ${e.problem.what.replace(/^[^:]*: /, '')}`, fix: 'give the one that it was made with: --recipe RECIPE', cause: e })
  }
}
