/** The user's C compiler: which it is, and whether there is one. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'

export const compilerOf = (env: NodeJS.ProcessEnv = process.env): string => env['CC'] || 'cc'

/** Whether it is a file, or on the path. */
export function hasCompiler(env: NodeJS.ProcessEnv = process.env): boolean {
  const compiler = compilerOf(env)
  return compiler.includes('/') ? existsSync(compiler) : (env['PATH'] ?? '').split(':').some(folder => folder !== '' && existsSync(join(folder, compiler)))
}
