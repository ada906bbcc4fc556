/** The user's line: the first stack frame outside the layers that only carry out what a model says. */
import { relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Site } from './errors.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
/** Built code names its frames by the sources where source maps are on, else as it lies in dist/. */
const source = (file: string): string => file.replace('/dist/src/', '/src/')
const ours = [
  'core', 'io', 'graph', 'autodiff', 'partition', 'autolayout', 'stablehlo', 'runtime', 'engine', 'nn', 'optim', 'data', 'checkpoint', 'train', 'serve', 'cli',
].map(folder => source(`${root}${folder}/`))
/** Whether a user wrote the file, or could have: models count, the layers that carry them out and others' libraries do not. */
function isUsers(file: string): boolean {
  const here = source(file)
  if (file.endsWith('/bin/meshwork.js') || ours.some(folder => here.startsWith(folder))) return false
  // Meshwork itself may be installed there, and a model of it still is one.
  return !here.includes('/node_modules/') || here.startsWith(source(root))
}
const frame = /\(?((?:file:\/\/)?\/[^():]+):(\d+):(\d+)\)?$/

export function userSite(): Site | undefined {
  const limit = Error.stackTraceLimit
  Error.stackTraceLimit = 40
  const lines = (new Error().stack ?? '').split('\n').slice(1)
  Error.stackTraceLimit = limit
  for (const line of lines) {
    const [, where, row, column] = frame.exec(line) ?? []
    if (where === undefined || line.includes('node:')) continue
    const file = where.startsWith('file:') ? fileURLToPath(where) : where
    if (!isUsers(file)) continue
    return Object.freeze({ file: relative(process.cwd(), file), line: Number(row), column: Number(column) })
  }
  return undefined
}
