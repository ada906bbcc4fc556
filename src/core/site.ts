/** The user's line: the first stack frame outside the layers that only carry out what a model says. */
import { findSourceMap, type SourceMapping } from 'node:module'
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

/** How many frames are looked at, in turn: most of the user's lines are a few frames up, gradients and loops inside of each other are deep. What is made next mostly stands as deep as what was made last, so `near` follows it. */
const depths = [24, 100] as const
let near = 8

/** How whoever runs us (tsx, a test runner) writes frames, where that is not Node. */
type Writer = (error: Error, frames: readonly NodeJS.CallSite[]) => unknown

/** The frames above `userSite` as V8 has them, before anything maps them to sources or writes them as text: that takes a hundred times as long. */
function framesAbove(depth: number): { readonly frames: readonly NodeJS.CallSite[]; readonly writer: Writer | undefined } {
  const { prepareStackTrace, stackTraceLimit } = Error
  try {
    Error.stackTraceLimit = depth
    let frames: readonly NodeJS.CallSite[] = []
    Error.prepareStackTrace = (_, found) => { frames = found; return '' }
    const holder: { readonly stack?: string } = {}
    Error.captureStackTrace(holder, userSite)
    void holder.stack
    return { frames, writer: prepareStackTrace as Writer | undefined }
  } finally {
    Error.prepareStackTrace = prepareStackTrace
    Error.stackTraceLimit = stackTraceLimit
  }
}

const siteAt = (file: string, line: string | number | undefined, column: string | number | undefined): Site =>
  Object.freeze({ file: relative(process.cwd(), pathOf(file)), line: Number(line), column: Number(column) })

const frameText = /\(?((?:file:\/\/)?\/[^():]+):(\d+):(\d+)\)?$/
/** A frame by the source, not by what it was compiled to. Undefined where the source is not the user's after all. This one frame alone is mapped: the maps of all files below it are large. */
function mapped(frame: NodeJS.CallSite, writer: Writer | undefined): Site | undefined {
  const compiled = frame.getFileName() ?? ''
  const [line, column] = [frame.getLineNumber() ?? 1, frame.getColumnNumber() ?? 1]
  if (writer !== undefined) {
    const [, where, row, at] = frameText.exec(String(writer(new Error('frames'), [frame])).split('\n').at(-1) ?? '') ?? []
    return where === undefined || !isUsers(where) ? undefined : siteAt(where, row, at)
  }
  const { originalSource: file, originalLine, originalColumn } = (findSourceMap(compiled)?.findEntry(line - 1, column - 1) ?? {}) as Partial<SourceMapping>
  if (file === undefined || originalLine === undefined || originalColumn === undefined) return siteAt(compiled, line, column)
  return isUsers(file) ? siteAt(file, originalLine + 1, originalColumn + 1) : undefined
}

// What was found before, by file and place in it: files are whose they are, and a place in a script is always the same place in its source. Null are files that are no user's.
const known = new Map<string, Map<number, Site | undefined> | null>()

/** The site of one of the frames, if its place is the user's. */
function siteOfFrame(frame: NodeJS.CallSite, writer: Writer | undefined): Site | undefined {
  const file = frame.getFileName()
  if (file === null || file === undefined) return undefined
  let sites = known.get(file)
  if (sites === undefined) known.set(file, sites = isUsers(file) ? new Map<number, Site | undefined>() : null)
  if (sites === null) return undefined
  const place = frame.getPosition()
  if (!sites.has(place)) sites.set(place, mapped(frame, writer))
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

/** The same where `f` may be the user's: lines of its own come first. What has none bears the line of whoever called this, which is looked for once; so it is quickly found where `f` makes much. */
export const ownLines = <T>(f: () => T): T => within({ site: userSite(), own: true }, f)
/** The same for what calls nobody's functions but ours, and makes much: all of it bears the line of whoever called, which is looked for once. */
export const onCallersLine = <T>(f: () => T): T => onBehalfOf(userSite(), f)

/** Where a walk up the stack leaves what `ownLines` runs. */
const leavesOwn = (frame: NodeJS.CallSite): boolean => frame.getFunctionName() === ownLines.name && pathOf(frame.getFileName() ?? '') === here

/** A line, or how it is found: what only an error tells of is not looked for before there is one. */
export type Where = Site | undefined | (() => Site | undefined)
export const placeOf = (where: Where): Site | undefined => (typeof where === 'function' ? where() : where)

export function userSite(): Site | undefined {
  const forward = forwards.at(-1)
  if (forward?.own === false) return forward.site
  let seen = 0
  for (const depth of [Math.min(near, depths[0] - 1), ...depths]) {
    const { frames, writer } = framesAbove(depth)
    for (let i = seen; i < frames.length; i++) {
      const frame = frames[i] as NodeJS.CallSite
      const left = forward !== undefined && leavesOwn(frame)
      const site = left ? forward.site : siteOfFrame(frame, writer)
      if (!left && site === undefined) continue
      near = i + 3
      return site
    }
    if (frames.length < depth) break
    seen = depth
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
