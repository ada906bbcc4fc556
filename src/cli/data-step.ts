/** `meshwork data show RUN --step N`: the documents that made a step, row by row. */
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { DataError, UsageError } from '../core/errors.ts'
import type { Plain } from '../core/plain.ts'
import type { RowDocument } from '../data/index.ts'
import { alone } from '../runtime/processes.ts'
import { batchOfStep, type StepOf } from '../train/batch-of-step.ts'
import { differenceOf, type RunFile } from '../train/folder.ts'
import { modelOf } from '../train/run.ts'
import { openData } from '../train/session.ts'
import { checkData } from './data-files.ts'
import { formatInteger, visible } from './format.ts'
import type { Output } from './output.ts'
import { wholeNumber } from './overrides.ts'
import { trainingProgress } from './progress.ts'
import { savedRun } from './saved-run.ts'

/** Whether a path is that of a run. */
export const isRunFolder = (path: string): Promise<boolean> => stat(join(path, 'run.json')).then(s => s.isFile(), () => false)

export interface StepFlags { readonly step?: string; readonly recipe?: string; readonly json?: boolean }

/** @throws UsageError for a step that there is not, or data that does not tell; DataError where it has changed */
export async function showStep(folder: string, { step: given, recipe, json }: StepFlags, output: Output): Promise<void> {
  if (given === undefined) throw new UsageError({ code: 'flag', what: `${folder} is a run, and which of its steps to show is not said`, fix: 'for example --step 1' })
  const { run, file } = await savedRun(folder, recipe)
  const step = wholeNumber(given, '--step', 1, typeof run.steps === 'number' ? run.steps : undefined)
  await checkData(run)
  const data = await openData(run, modelOf(run), { backend: { processes: alone }, tell: json === true ? () => undefined : trainingProgress(output) })
  try {
    requireSameData(folder, file, data.identity)
    if (data.documentsOfStep === undefined) throw new UsageError({ code: 'no-documents', what: 'the data of this run does not say what its rows are made of', fix: 'give it a function documentsOfStep(step, rows)' })
    const found = await batchOfStep(folder, step - 1)
    const rows = data.documentsOfStep(found.batch)
    output.clear()
    if (json === true) process.stdout.write(`${JSON.stringify({ step, ...found, rows: rows.map((documents, row) => ({ row, documents: documents.map(plain) })) })}\n`)
    else drawn(step, found, rows).forEach(line => output.print(line))
  } finally {
    await data.close?.()
  }
}

function requireSameData(folder: string, { identity }: RunFile, now: Plain | undefined): void {
  const had = (identity as { readonly data?: Plain }).data
  const found = had === undefined ? undefined : differenceOf(had, now ?? null)
  if (found === undefined) return
  throw new DataError({
    code: 'data-differs', what: `the data is not what ${folder} was trained on: it differs in ${found.in === '' ? 'all of it' : found.in}`, details: { there: found.there, now: found.here },
    fix: 'bring back the files as they were; what is in a step now would be other documents',
  })
}

const nameOf = ({ source, store, document }: RowDocument): string => source?.at ?? `${store} document ${document}`
const plain = (d: RowDocument): object => ({ at: nameOf(d), store: d.store, document: d.document, from: d.from, length: d.length })

function drawn(step: number, { batch, made, skipped }: StepOf, rows: readonly (readonly RowDocument[])[]): string[] {
  const told = [...made ? [] : ['it has not been made'], ...skipped ? ['it was left out: nothing of it is in the parameters'] : [], ...batch === step - 1 ? [] : [`it took batch ${batch + 1}: the run went past others`]]
  return [`step ${step}${told.length === 0 ? '' : `  (${told.join('; ')})`}`, ...rows.flatMap((documents, row) => (documents.length === 0 ? [`row ${row}  empty`] : documents.map((d, i) =>
    `${i === 0 ? `row ${row}` : ' '.repeat(`row ${row}`.length)}  ${visible(nameOf(d))}  tokens ${formatInteger(d.from)} to ${formatInteger(d.from + d.length)}`)))]
}
