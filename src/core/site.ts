/** The user's line: the first stack frame outside the layers that only carry out what a model says. */
import { relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Site } from './errors.ts'

const here = fileURLToPath(import.meta.url)
const root = fileURLToPath(new URL('..', import.meta.url))
/** Built code names its frames by the sources where source maps are on, else as it lies in dist/. */
const source = (file: string): string => file.replace('/dist/src/', '/src/')
const ours = [
  'core', 'io', 'machine', 'graph', 'autodiff', 'partition', 'autolayout', 'stablehlo', 'runtime', 'engine', 'nn', 'parallel', 'optim', 'calibrate', 'data', 'checkpoint', 'train', 'serve', 'cli',
].map(folder => source(`${root}${folder}/`))

/** Frames name files by path or by URL. */
const pathOf = (file: string): string => (file.startsWith('file:') ? fileURLToPath(file) : file)

/** Whether a user wrote the file, or could have: models count, the layers that carry them out and others' libraries do not. */
function isUsers(file: string): boolean {
  const path = source(pathOf(file))
  if (!path.startsWith('/') || path.endsWith('/bin/meshwork.js') || ours.some(folder => path.startsWith(folder))) return false
  // Meshwork itself may be installed there, and a model of it still is one.
  return !path.includes('/node_modules/') || path.startsWith(source(root))
}

/** Most of the user's lines are a few frames up; gradients and loops inside of each other are deep. */
const depths = [10, 100] as const

/** The frames above `userSite` as V8 has them, before anything maps them to sources or writes them as text: that takes a hundred times as long. */
function framesAbove(depth: number): readonly NodeJS.CallSite[] {
  const { prepareStackTrace, stackTraceLimit } = Error
  try {
    Error.stackTraceLimit = depth
    let frames: readonly NodeJS.CallSite[] = []
    Error.prepareStackTrace = (_, found) => { frames = found; return '' }
    const holder: { readonly stack?: string } = {}
    Error.captureStackTrace(holder, userSite)
    void holder.stack
    return frames
  } finally {
    Error.prepareStackTrace = prepareStackTrace
    Error.stackTraceLimit = stackTraceLimit
  }
}

const siteAt = (file: string, line: string | undefined, column: string | undefined): Site =>
  Object.freeze({ file: relative(process.cwd(), pathOf(file)), line: Number(line), column: Number(column) })

const frameText = /\(?((?:file:\/\/)?\/[^():]+):(\d+):(\d+)\)?$/
/**
 * Frame `index` above `userSite` as whoever runs us (Node with source maps, tsx, a test runner) writes it: by the source, not by
 * what it was compiled to. Undefined where the source is not the user's after all.
 */
function mapped(index: number): Site | undefined {
  const { stackTraceLimit } = Error
  Error.stackTraceLimit = index + 1
  const holder = new Error('frames')
  Error.captureStackTrace(holder, userSite)
  const text = (holder.stack ?? '').split('\n').filter(l => l.startsWith('    at '))[index]
  Error.stackTraceLimit = stackTraceLimit
  const [, where, row, column] = frameText.exec(text ?? '') ?? []
  if (where === undefined || !isUsers(where)) return undefined
  return siteAt(where, row, column)
}

// What was found before: files are whose they are, and a place in a script is always the same place in its source.
const users = new Map<string, boolean>()
const sites = new Map<string, Site | undefined>()

/** The site of one of the frames, if its place is the user's. */
function siteOfFrame(frame: NodeJS.CallSite, index: number): Site | undefined {
  const file = frame.getFileName()
  if (file === null || file === undefined) return undefined
  let known = users.get(file)
  if (known === undefined) users.set(file, known = isUsers(file))
  if (!known) return undefined
  const place = `${file}:${frame.getLineNumber()}:${frame.getColumnNumber()}`
  if (!sites.has(place)) sites.set(place, mapped(index))
  return sites.get(place)
}

/**
 * Whose work is being done, the innermost last; empty but while `onBehalfOf` and `ownLines` run a function. A gradient rule is made of
 * the same ops that models are made of, and so are users' own rules: none of these takes a line as an argument.
 */
const forwards: { readonly site: Site | undefined; readonly own: boolean }[] = []
function within<T>(entry: (typeof forwards)[number], f: () => T): T {
  forwards.push(entry)
  try {
    return f()
  } finally {
    forwards.pop()
  }
}

/** What `f` returns. What it makes, and what it throws, bears `site`: a gradient rule works for the op that it is the gradient of. */
export const onBehalfOf = <T>(site: Site | undefined, f: () => T): T => within({ site, own: false }, f)

/** The same where `f` may be the user's: lines of its own come first. */
export function ownLines<T>(f: () => T): T {
  const outer = forwards.at(-1)
  return outer === undefined ? f() : within({ site: outer.site, own: true }, f)
}
/** Where a walk up the stack leaves what `ownLines` runs. */
const leavesOwn = (frame: NodeJS.CallSite): boolean => frame.getFunctionName() === ownLines.name && pathOf(frame.getFileName() ?? '') === here

export function userSite(): Site | undefined {
  const forward = forwards.at(-1)
  if (forward?.own === false) return forward.site
  for (const depth of depths) {
    const frames = framesAbove(depth)
    for (const [index, frame] of frames.entries()) {
      if (forward !== undefined && leavesOwn(frame)) return forward.site
      const site = siteOfFrame(frame, index)
      if (site !== undefined) return site
    }
    if (frames.length < depth) break
  }
  return forward?.site
}

/** The user's line in the stack of an error that was made for this: making one costs little, looking through it much. */
export function siteOf(here: Error): Site | undefined {
  for (const line of (here.stack ?? '').split('\n').slice(1)) {
    const [, where, row, column] = frameText.exec(line) ?? []
    if (where !== undefined && isUsers(where)) return siteAt(where, row, column)
  }
  return undefined
}
