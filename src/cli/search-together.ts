/** A search in a job of several ranks: the first one searches, and gives the others what it found. */
import { setTimeout as pause } from 'node:timers/promises'
import { fromFirst, type Processes } from '../runtime/processes.ts'
import { laidAs, type LayoutSearch } from '../train/find-layout.ts'
import type { Run } from '../train/run.ts'
import { searchedFor, type AutoFlags } from './auto.ts'
import type { Output } from './output.ts'
import type { RunFlags } from './overrides.ts'
import { askedOf, askThread, foundIn } from './planning-thread.ts'
import type { Answer } from './planning-worker.ts'

/** Milliseconds after which the first rank tells the others that it is still at it: none stays in an exchange for long. */
const beat = 2000

/** The run of a recipe as the search lays it, for as many devices as there are ranks: the same in all of them. @throws LayoutError, UsageError as `searched` does, in all of them */
export async function searchedTogether(processes: Processes, { run, recipe }: { readonly run: Run; readonly recipe: string }, flags: RunFlags & AutoFlags, output: Output): Promise<{ readonly run: Run; readonly found: LayoutSearch }> {
  // What is wrong with flags all ranks see by themselves.
  const { run: changed } = searchedFor(run, flags)
  const laid = ({ found }: { readonly found: LayoutSearch }): { readonly run: Run; readonly found: LayoutSearch } => ({ run: laidAs(changed, found), found })
  if (processes.count === 1) return laid(await askedOf('search', { from: { recipe }, flags }, output))
  const searching = processes.rank === 0 ? askThread('search', { from: { recipe }, flags, ranks: processes.count }, output) : undefined
  // Awaited anew at every beat: what it throws is thrown there.
  searching?.catch(() => undefined)
  for (;;) {
    const answer = await fromFirst(processes, 'searching a layout', async (): Promise<Answer<'search'> | null> => await Promise.race([searching, pause(beat, null)]) ?? null)
    if (answer === null) continue
    output.clear()
    // What is wrong is wrong in all ranks: they end alike, and one of them says why.
    return laid(foundIn(answer))
  }
}
