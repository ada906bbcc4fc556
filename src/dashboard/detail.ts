/** What is known of one run beside the numbers of its steps. */
import { join } from 'node:path'
import { joined } from '../train/clock.ts'
import type { Goodput } from '../train/events.ts'
import { fieldsIn, textOf } from './lines.ts'
import type { Runs } from './runs.ts'
import type { RunDetail } from './shape.ts'

type Note = Parameters<typeof joined>[0][number] & { readonly start: number }

/** Where the time of a run's starts went; the last line of each counts. */
async function goodputOf(folder: string): Promise<Goodput | null> {
  const notes = (await textOf(join(folder, 'goodput.jsonl'))).split('\n').flatMap(line => {
    const fields = line === '' ? undefined : fieldsIn(line) as Partial<Note> | undefined
    return typeof fields?.start === 'number' && typeof fields.spent === 'object' && typeof fields.elapsed === 'number' ? [fields as Note] : []
  })
  return notes.length === 0 ? null : joined([...new Map(notes.map(n => [n.start, n])).values()])
}

/** @returns undefined for what is none of the runs */
export async function detailOf(runs: Runs, id: string): Promise<RunDetail | undefined> {
  const [history, about, folder, row] = [runs.historyOf(id), await runs.aboutOf(id), runs.folderOf(id), runs.rows.find(r => r.id === id)]
  if (history === undefined || about === undefined || folder === undefined || row === undefined) return undefined
  await history.refresh()
  const shown = runs.shownOf(id)
  return {
    row, run: about.run, recipe: about.recipe, plan: history.plan ?? null, processes: history.start === undefined ? null : { count: history.start.hosts.length, hosts: history.start.hosts },
    goodput: await goodputOf(folder), evaluations: history.evaluations, marks: history.marks, marksLeftOut: history.marksLeftOut, next: history.next,
    commands: { stop: `npx meshwork stop ${shown}`, save: `npx meshwork checkpoint save ${shown}`, resume: `npx meshwork train ${about.recipe ?? about.name} --out ${shown}` },
  }
}
