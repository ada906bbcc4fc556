/** Finding a run: by a recipe's name, or in a TypeScript file of the user's. */
import { readdir, stat } from 'node:fs/promises'
import { register as registerHook } from 'node:module'
import { basename, extname, resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { UsageError, type Problem, type Site } from '../core/errors.ts'
import { didYouMean } from '../core/nearest.ts'
import { isRun, type Run } from '../train/run.ts'

const folder = fileURLToPath(new URL('../../recipes', import.meta.url))
const isSource = (name: string): boolean => /\.[jt]s$/.test(name) && !name.endsWith('.d.ts')

/** The recipes that come along. */
export const recipeNames = async (): Promise<string[]> => (await readdir(folder)).filter(isSource).map(f => f.replace(/\.[jt]s$/, '')).sort()

/** A run, and where it can be found again: a recipe's name, or the whole path of a file. */
export interface Loaded { readonly run: Run; readonly recipe: string }

/** Hooks of the loader cannot be taken back, and one is enough. */
let hooked = false

/** @throws UsageError for an unknown recipe, a file that is missing or fails, or one that exports no run. */
export async function loadRecipe(nameOrFile: string): Promise<Loaded> {
  if (!/\.[mc]?[jt]s$/.test(nameOrFile)) {
    const names = await recipeNames()
    if (!names.includes(nameOrFile)) throw new UsageError({ code: 'unknown-recipe', what: `there is no recipe "${nameOrFile}"`, fix: `${didYouMean(nameOrFile, names)}; or give a .ts file` })
    const file = (await readdir(folder)).find(f => isSource(f) && f.startsWith(`${nameOrFile}.`)) ?? ''
    return { run: runIn(await import(pathToFileURL(`${folder}/${file}`).href), nameOrFile), recipe: nameOrFile }
  }
  const file = resolve(nameOrFile)
  if (await stat(file).then(s => !s.isFile(), () => true)) throw new UsageError({ code: 'no-recipe-file', what: `there is no file ${nameOrFile}`, fix: 'give the path of a .ts file that exports a run' })
  // Whatever the file imports of Meshwork is what runs here, so that its models and ours are of one kind.
  const { register } = await import('tsx/esm/api')
  const unregister = register()
  if (!hooked) registerHook(`./as-module${extname(fileURLToPath(import.meta.url))}`, import.meta.url)
  hooked = true
  try {
    const loaded: unknown = await import(pathToFileURL(file).href).catch((e: unknown) => { throw failure(e, nameOrFile, file) })
    return { run: runIn(loaded, nameOrFile), recipe: file }
  } finally {
    await unregister()
  }
}

function runIn(module: unknown, where: string): Run {
  let found: unknown = (module as { readonly default?: unknown }).default
  // A CommonJS project's file comes with its exports under one more `default`.
  if (typeof found === 'object' && found !== null && ('default' in found || '__esModule' in found)) found = (found as { readonly default?: unknown }).default
  if (found === undefined) throw new UsageError({ code: 'no-run', what: `${where} exports no run`, fix: 'export default defineRun({ … })' })
  if (isRun(found)) return found
  throw new UsageError({ code: 'no-run', what: `what ${where} exports is no run`, fix: 'export default defineRun({ … }), of meshwork/train' })
}

/** What a recipe's loading threw, as one message that names the line. */
function failure(thrown: unknown, name: string, file: string): UsageError {
  const at = siteIn(thrown, file, name)
  // The recipe's own copy of Meshwork has error classes of its own.
  const problem = thrown instanceof Error && 'problem' in thrown ? thrown.problem as Problem : undefined
  if (problem !== undefined) return new UsageError({ ...problem, what: `${name}: ${problem.what.replace(/^the recipe: /, '')}`, at: problem.at ?? at, cause: thrown })
  const text = thrown instanceof Error ? thrown.message : String(thrown)
  const missing = thrown instanceof Error && 'code' in thrown && /ERR_MODULE_NOT_FOUND|MODULE_NOT_FOUND/.test(String(thrown.code)) && text.includes('meshwork')
  // A syntax error comes as esbuild's report: a heading, then `FILE:3:5: ERROR: what`.
  const [, line, column, syntax] = /:(\d+):(\d+): ERROR: (.*)/.exec(text) ?? []
  return new UsageError({
    code: 'recipe-fails', what: `${name} cannot be loaded: ${syntax ?? text.split('\n')[0] ?? ''}`,
    fix: missing ? `npm install meshwork in the folder of ${basename(file)}` : 'mend the file',
    at: syntax === undefined ? at : { file: name, line: Number(line), column: Number(column) }, cause: thrown,
  })
}

/** The file's own line in an error's stack; files of a CommonJS project are loaded under names that are none. */
function siteIn(thrown: unknown, file: string, name: string): Site | undefined {
  const frames = thrown instanceof Error ? (thrown.stack ?? '').split('\n') : []
  const places = [file, pathToFileURL(file).href]
  for (const frame of frames) {
    const [, where, line, column] = /\(?([^()\s]+?)(?:\?[^():]*)?:(\d+):(\d+)\)?$/.exec(frame) ?? []
    if (where !== undefined && places.includes(where)) return { file: name, line: Number(line), column: Number(column) }
  }
  return undefined
}

