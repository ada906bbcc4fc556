/** Processes of a test's jobs, found by what their environment says, whoever has started them. */
import { readdirSync, readFileSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'

/** Marks the processes of a test's job, so that they can be found. */
export const mark = (name: string): Record<string, string> => ({ MESHWORK_TEST: `${process.pid}-${name}` })

interface Found { readonly pid: number; readonly rank: string | undefined }
/** Processes that carry a mark, with their ranks. */
export function marked(value: string): Found[] {
  return readdirSync('/proc').filter(name => /^\d+$/.test(name)).flatMap(pid => {
    try {
      const entries = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0')
      if (!entries.includes(`MESHWORK_TEST=${value}`)) return []
      return [{ pid: Number(pid), rank: entries.find(e => /^(OMPI_COMM_WORLD_RANK|PMI_RANK)=/.test(e))?.split('=')[1] }]
    } catch { return [] /* It has ended, or is another user's. */ }
  })
}

/** Resolves when no process of a job is left. */
export async function expectGone(name: string): Promise<void> {
  // The launcher is gone a moment before the last of what it has killed; how long a moment is, a busy machine decides.
  while (marked(mark(name)['MESHWORK_TEST'] ?? '').length > 0) await pause(20)
}
