/** A search in a job of several ranks: the first one searches, in a thread of its own, and gives the others what it found. */
import { setTimeout as pause } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { DimError, FileError, LayoutError, MeshworkError, UsageError } from '../core/errors.ts'
import { threadEntry } from '../io/thread.ts'
import { fromFirst, type Processes } from '../runtime/processes.ts'
import { laidAs, type LayoutSearch } from '../train/find-layout.ts'
import type { Run } from '../train/run.ts'
import { searched, searchedFor, type AutoFlags } from './auto.ts'
import type { Output } from './output.ts'
import type { RunFlags } from './overrides.ts'
import type { Answer, SearchSays, SearchWork } from './search-worker.ts'

/** Milliseconds after which the first rank tells the others that it is still at it: none stays in an exchange for long. */
const beat = 2000
const kinds: readonly (typeof MeshworkError)[] = [UsageError, LayoutError, FileError, DimError]

function inThread(work: SearchWork, output: Output): Promise<Answer> {
  const worker = new Worker(threadEntry('cli/search-worker'), { name: 'search', execArgv: [], workerData: work })
  return new Promise((done, failed) => {
    worker.on('message', (says: SearchSays) => {
      if ('note' in says) output.note(says.note)
      else if ('status' in says) output.status(says.status)
      else done(says)
    })
    worker.on('error', failed)
    worker.on('exit', code => { failed(new Error(`the search ended with code ${code}`)) })
  })
}

/** The run of a recipe as the search lays it, for as many devices as there are ranks: the same in all of them. @throws LayoutError, UsageError as `searched` does, in all of them */
export async function searchedTogether(processes: Processes, { run, recipe }: { readonly run: Run; readonly recipe: string }, flags: RunFlags & AutoFlags, output: Output): Promise<{ readonly run: Run; readonly found: LayoutSearch }> {
  if (processes.count === 1) return searched(run, flags, output)
  // What is wrong with flags all ranks see by themselves.
  const { run: changed } = searchedFor(run, flags)
  const searching = processes.rank === 0 ? inThread({ recipe, flags, ranks: processes.count }, output) : undefined
  // Awaited anew at every beat: what it throws is thrown there.
  searching?.catch(() => undefined)
  for (;;) {
    const answer = await fromFirst(processes, 'searching a layout', async (): Promise<Answer | null> => await Promise.race([searching, pause(beat, null)]) ?? null)
    if (answer === null) continue
    output.clear()
    // What is wrong is wrong in all ranks: they end alike, and one of them says why.
    if ('wrong' in answer) throw new (kinds.find(k => k.name === answer.wrong.name) ?? MeshworkError)(answer.wrong.problem)
    return { run: laidAs(changed, answer.found), found: answer.found }
  }
}
