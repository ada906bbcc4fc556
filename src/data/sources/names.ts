/** Names to files: folders, patterns and lists in braces, in an order that does not depend on the file system. And formats by name. */
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { UsageError } from '../../core/errors.ts'
import { fault } from './faults.ts'
import { isAddress } from './http.ts'
import type { DocumentFormat } from './types.ts'

const formats: { readonly [ending: string]: DocumentFormat } = {
  txt: { format: 'text', separator: '<|endoftext|>' }, text: { format: 'text', separator: '<|endoftext|>' },
  jsonl: { format: 'jsonl' }, ndjson: { format: 'jsonl' }, jsonlines: { format: 'jsonl' },
  parquet: { format: 'parquet' }, pq: { format: 'parquet' },
  csv: { format: 'csv' }, tsv: { format: 'csv', delimiter: '\t' },
  tar: { format: 'tar' }, tgz: { format: 'tar' }, tzst: { format: 'tar' },
}

/** The path of an address, without what follows it. */
const pathOf = (name: string): string => isAddress(name) && URL.canParse(name) ? new URL(name).pathname : name

/** By the ending, that of a compression left aside. */
export function formatOf(name: string): DocumentFormat | undefined {
  const ending = /\.([a-z0-9]+)(\.(gz|zst|zstd))?$/i.exec(pathOf(name))?.[1]?.toLowerCase() ?? ''
  return Object.hasOwn(formats, ending) ? formats[ending] : undefined
}

/** Code units: no language's order, so the same everywhere. */
const byCode = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)

/**
 * The files behind names, each named once. In folders, files whose names begin with a dot or tell no format are passed over, unless the format is given.
 * @throws DataError for what is not there, a pattern or folder without a file; UsageError for a file named twice.
 */
export async function filesOf(names: readonly string[], anyFormat: boolean): Promise<readonly string[]> {
  const files: string[] = []
  for (const name of names) files.push(...await behind(name, anyFormat))
  const seen = new Set<string>()
  for (const file of files) {
    if (seen.has(file)) throw new UsageError({ code: 'file-twice', what: `${file} is named twice`, fix: 'name each file once; to see its documents more often, train for more epochs' })
    seen.add(file)
  }
  return files
}

async function behind(name: string, anyFormat: boolean): Promise<readonly string[]> {
  if (isAddress(name)) return braces(name)
  const there = await stat(name).catch(() => undefined)
  if (there?.isDirectory()) {
    const files = (await within(name, anyFormat)).sort(byCode)
    if (files.length > 0) return files
    throw fault({ code: 'empty-folder', what: `no file in ${name} has a name that tells its format`, fix: `endings that do: ${Object.keys(formats).map(e => `.${e}`).join(' ')}, each also with .gz or .zst; or give the format` })
  }
  // A file whose name has such signs in it is meant itself. What is not there is told by whoever opens it.
  if (there !== undefined || !/[*?[{]/.test(name)) return [name]
  const files: string[] = []
  for (const pattern of braces(name)) files.push(...(/[*?[]/.test(pattern) ? (await matches(pattern)).sort(byCode) : [pattern]))
  if (files.length === 0) throw fault({ code: 'no-match', what: `no file matches ${name}`, fix: 'try the pattern with ls; ** stands for any folders' })
  return files
}

async function within(folder: string, anyFormat: boolean): Promise<string[]> {
  const files: string[] = []
  for (const entry of await entriesOf(folder)) {
    const path = join(folder, entry.name)
    if (entry.name.startsWith('.')) continue
    const kind = entry.isSymbolicLink() ? await stat(path).catch(() => undefined) : entry
    // A link to a folder may lead in a circle.
    if (kind?.isDirectory() && !entry.isSymbolicLink()) files.push(...await within(path, anyFormat))
    else if (kind?.isFile() && (anyFormat || formatOf(entry.name) !== undefined)) files.push(path)
  }
  return files
}

const entriesOf = (folder: string) => readdir(folder, { withFileTypes: true }).catch((cause: unknown) => {
  throw fault({ code: 'unreadable', what: `the folder ${folder} cannot be read`, details: { reason: cause instanceof Error ? cause.message : String(cause) }, fix: 'make it readable', cause })
})

const mostNames = 1_000_000

/** `a{1,2}` and `shard-{000000..000099}.tar`, written out in their order. */
export function braces(name: string): string[] {
  const match = /^([^{]*)\{([^{}]*)\}(.*)$/s.exec(name)
  if (match === null) return [name]
  const [, before = '', inside = '', after = ''] = match
  const range = /^(\d{1,15})\.\.(\d{1,15})$/.exec(inside)
  const choices = range === null ? inside.split(',') : numbers(range[1] ?? '', range[2] ?? '', name)
  // Braces without a choice are signs like others.
  if (range === null && choices.length === 1) return braces(after).map(rest => `${before}{${inside}}${rest}`)
  const rest = braces(after)
  if (choices.length * rest.length > mostNames) throw tooMany(name)
  return choices.flatMap(choice => rest.map(r => `${before}${choice}${r}`))
}

function numbers(first: string, last: string, name: string): string[] {
  const [from, to] = [Number(first), Number(last)]
  if (to < from || to - from >= mostNames) throw tooMany(name)
  return Array.from({ length: to - from + 1 }, (_, i) => String(from + i).padStart(first.length, '0'))
}

const tooMany = (name: string) => fault({ code: 'no-match', what: `${name} stands for no file, or for more than ${mostNames}`, fix: 'write {first..last} with first below last' })

/** Walks down the parts of a pattern. */
async function matches(pattern: string): Promise<string[]> {
  const parts = pattern.split('/')
  const walk = async (at: string, i: number): Promise<string[]> => {
    const part = parts[i]
    if (part === undefined) return []
    const last = i === parts.length - 1
    if (part !== '**' && !/[*?[]/.test(part)) {
      const next = i === 0 ? part : at === '' && i === 1 && parts[0] === '' ? `/${part}` : join(at, part)
      if (!last) return walk(i === 0 && part === '' ? '' : next, i + 1)
      return (await stat(next).catch(() => undefined))?.isFile() ? [next] : []
    }
    const folder = at === '' ? (parts[0] === '' && i > 0 ? '/' : '.') : at
    const entries = await readdir(folder, { withFileTypes: true }).catch(() => [])
    const prefix = (entry: string): string => folder === '.' && parts[0] !== '.' ? entry : join(folder, entry)
    const found: string[] = part === '**' ? await walk(at, i + 1) : []
    const wanted = part === '**' ? undefined : segment(part)
    for (const entry of entries) {
      if (entry.name.startsWith('.') && !part.startsWith('.')) continue
      const path = prefix(entry.name)
      const kind = entry.isSymbolicLink() ? await stat(path).catch(() => undefined) : entry
      if (wanted === undefined) {
        if (kind?.isDirectory() && !entry.isSymbolicLink()) found.push(...await walk(path, i))
      } else if (wanted.test(entry.name)) {
        if (last && kind?.isFile()) found.push(path)
        if (!last && kind?.isDirectory()) found.push(...await walk(path, i + 1))
      }
    }
    return found
  }
  return [...new Set(await walk('', 0))]
}

/** One part of a pattern as a regular expression. */
function segment(part: string): RegExp {
  const source = part.replace(/\[(!?)([^\]]+)\]|[*?]|[.+^${}()|\\[\]]/g, (sign, not: string | undefined, set: string | undefined) =>
    set !== undefined ? `[${not === '!' ? '^' : ''}${set.replace(/[\\\]^]/g, '\\$&')}]` : sign === '*' ? '[^/]*' : sign === '?' ? '[^/]' : `\\${sign}`)
  return new RegExp(`^${source}$`, 's')
}
