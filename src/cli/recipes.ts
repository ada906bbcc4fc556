/** Finding a run: by a recipe's name, or in a TypeScript file of the user's. */
import { readdir, stat } from 'node:fs/promises'
import { resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { UsageError } from '../core/errors.ts'
import { didYouMean } from '../core/nearest.ts'
import { parseRun, type Run } from '../train/run.ts'

const folder = fileURLToPath(new URL('../../recipes', import.meta.url))
const isSource = (name: string): boolean => /\.[jt]s$/.test(name) && !name.endsWith('.d.ts')

/** The recipes that come along. */
export const recipeNames = async (): Promise<string[]> => (await readdir(folder)).filter(isSource).map(f => f.replace(/\.[jt]s$/, '')).sort()

/** @throws UsageError for an unknown recipe, a file that is missing or fails, or one that exports no run. */
export async function loadRecipe(nameOrFile: string): Promise<Run> {
  if (!/\.[mc]?[jt]s$/.test(nameOrFile)) {
    const names = await recipeNames()
    if (!names.includes(nameOrFile)) throw new UsageError({ code: 'unknown-recipe', what: `there is no recipe "${nameOrFile}"`, fix: `${didYouMean(nameOrFile, names)}; or give a .ts file` })
    const file = (await readdir(folder)).find(f => isSource(f) && f.startsWith(`${nameOrFile}.`)) ?? ''
    return runIn(await import(pathToFileURL(`${folder}/${file}`).href), nameOrFile)
  }
  const file = resolve(nameOrFile)
  await stat(file).catch((e: unknown) => { throw new UsageError({ code: 'no-recipe-file', what: `there is no file ${nameOrFile}`, fix: 'give the path of a .ts file that exports a run', cause: e }) })
  const { tsImport } = await import('tsx/esm/api')
  const loaded: unknown = await tsImport(pathToFileURL(file).href, import.meta.url).catch((e: unknown) => {
    if (e instanceof Error && 'problem' in e) throw e
    throw new UsageError({ code: 'recipe-fails', what: `${nameOrFile} cannot be loaded: ${e instanceof Error ? (e.message.split('\n')[0] ?? '') : String(e)}`, fix: 'mend the file', cause: e })
  })
  return runIn(loaded, nameOrFile)
}

function runIn(module: unknown, where: string): Run {
  let found: unknown = (module as { readonly default?: unknown }).default
  // A CommonJS project's file comes with its exports under one more `default`.
  if (typeof found === 'object' && found !== null && 'default' in found) found = found.default
  if (found === undefined) throw new UsageError({ code: 'no-run', what: `${where} exports no run`, fix: 'export default defineRun({ … })' })
  return parseRun(found, where)
}
