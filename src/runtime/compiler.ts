/** The user's C compiler: which it is, whether there is one, and what it could not build. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { cacheRoot } from '../io/cache-root.ts'

export const compilerOf = (env: NodeJS.ProcessEnv = process.env): string => env['CC'] || 'cc'

/** Whether it is a file, or on the path. */
export function hasCompiler(env: NodeJS.ProcessEnv = process.env): boolean {
  const compiler = compilerOf(env)
  return compiler.includes('/') ? existsSync(compiler) : (env['PATH'] ?? '').split(':').some(folder => folder !== '' && existsSync(join(folder, compiler)))
}

/** Where it stands which compiler has failed to build a library of ours the last time: what a process needs in its place it must know before anything is built. */
export const unbuiltNote = (library: string, env: NodeJS.ProcessEnv = process.env): string => join(cacheRoot(undefined, env), 'kernels', `${library}.unbuilt`)

/** Whether there is a compiler, and for all that is known it can build the library. One that could not, lacking headers perhaps, is tried again whenever the library is wanted. */
export function canBuild(library: string, env: NodeJS.ProcessEnv = process.env): boolean {
  if (!hasCompiler(env)) return false
  try { return readFileSync(unbuiltNote(library, env), 'utf8') !== compilerOf(env) } catch { return true }
}
