/** The user's line: the first stack frame outside the layers that only carry out what a model says. */
import { relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Site } from './errors.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
/** Built code names its frames by the sources where source maps are on, else as it lies in dist/. */
const source = (file: string): string => file.replace('/dist/src/', '/src/')
const ours = ['core', 'graph', 'autodiff', 'partition', 'stablehlo', 'engine', 'nn', 'optim', 'train', 'cli'].map(folder => source(`${root}${folder}/`))
const frame = /\(?((?:file:\/\/)?\/[^():]+):(\d+):(\d+)\)?$/

export function userSite(): Site | undefined {
  const limit = Error.stackTraceLimit
  Error.stackTraceLimit = 40
  const here = new Error()
  Error.stackTraceLimit = limit
  return siteOf(here)
}

/** The user's line in the stack of an error that was made for this: making one costs little, looking through it much. */
export function siteOf(here: Error): Site | undefined {
  const lines = (here.stack ?? '').split('\n').slice(1)
  for (const line of lines) {
    const [, where, row, column] = frame.exec(line) ?? []
    if (where === undefined || line.includes('node:')) continue
    const file = where.startsWith('file:') ? fileURLToPath(where) : where
    if (file.endsWith('/bin/meshwork.js') || ours.some(folder => source(file).startsWith(folder))) continue
    return Object.freeze({ file: relative(process.cwd(), file), line: Number(row), column: Number(column) })
  }
  return undefined
}
