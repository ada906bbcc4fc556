/** How a script ends: one message, and the exit code that goes with it. */
import { MeshworkError } from '../../src/core/errors.ts'

/** What `parseArgs` throws over a flag that it does not know. */
const isUsage = (e: unknown): e is Error => e instanceof TypeError && 'code' in e && String(e.code).startsWith('ERR_PARSE_ARGS')

/** Runs a script whose result is its exit code: 2 for a wrong command line, 1 for what fails otherwise. */
export async function endWith(script: () => Promise<number>): Promise<void> {
  try {
    process.exitCode = await script()
  } catch (e) {
    const known = e instanceof MeshworkError || isUsage(e)
    process.stderr.write(`${known ? e.message : `Error: ${e instanceof Error ? (e.stack ?? e.message) : String(e)}`}\n`)
    process.exitCode = e instanceof MeshworkError ? e.exitCode : isUsage(e) ? 2 : 1
  }
}
