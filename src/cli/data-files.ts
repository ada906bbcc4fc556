/** The files that data comes from, looked into before anything long is done, and what flags say of them. */
import { isPart } from '../core/configurable.ts'
import { UsageError } from '../core/errors.ts'
import { didYouMean } from '../core/nearest.ts'
import { checkFiles } from '../data/check.ts'
import { checkPairs, pairsName, type PairConfig } from '../data/pair-data.ts'
import type { DocumentFormat } from '../data/index.ts'
import { formatOf } from '../data/sources/names.ts'
import { formatOfText, textFormats, type TextConfig } from '../data/text-data.ts'
import type { Run } from '../train/run.ts'

/** What is wrong with the files of a run, or with others in their place, where its data comes from files. @throws DataError */
export async function checkData({ data }: Run, others?: readonly string[]): Promise<void> {
  const [kind, config] = isPart<unknown, void>(data) ? [data.kind.name, data.config as { readonly files?: readonly string[] }] : [undefined, {}]
  const files = others ?? config.files ?? []
  if (files.length === 0) return
  if (kind === pairsName) return checkPairs(files, config as Pick<PairConfig, 'format'>)
  await checkFiles(files, others === undefined ? formatOfText(config as TextConfig) : undefined)
}

/** What the input is, where flags say more than names. @throws UsageError */
export function formatOfFlags([first = '']: readonly string[], { format, field }: { readonly format?: string; readonly field?: string }): DocumentFormat | undefined {
  if (format === undefined && field === undefined) return undefined
  const known = textFormats.find(f => f === format)
  if (format !== undefined && known === undefined) throw new UsageError({ code: 'flag', what: `--format: there is no format "${format}"`, fix: didYouMean(format, textFormats) })
  const found: DocumentFormat | undefined = known === undefined ? formatOf(first) : { format: known }
  if (found === undefined) throw new UsageError({ code: 'flag', what: `--field is given, and the name ${first} does not tell its format`, fix: `say it: --format, one of ${textFormats.join(', ')}` })
  if (field === undefined) return found
  if (found.format === 'text') throw new UsageError({ code: 'flag', what: '--field is given, and plain text has no fields', fix: 'leave it out' })
  return { ...found, field }
}
