/** The files that a run's data comes from, looked into before anything long is done. */
import { isPart } from '../core/configurable.ts'
import { checkFiles } from '../data/check.ts'
import { checkPairs, pairsName, type PairConfig } from '../data/pair-data.ts'
import { formatOfText, type TextConfig } from '../data/text-data.ts'
import type { Run } from '../train/run.ts'

/** What is wrong with the files of a run, or with others in their place, where its data comes from files. @throws DataError */
export async function checkData({ data }: Run, others?: readonly string[]): Promise<void> {
  const [kind, config] = isPart<unknown, void>(data) ? [data.kind.name, data.config as { readonly files?: readonly string[] }] : [undefined, {}]
  const files = others ?? config.files ?? []
  if (files.length === 0) return
  if (kind === pairsName) return checkPairs(files, config as Pick<PairConfig, 'format'>)
  await checkFiles(files, others === undefined ? formatOfText(config as TextConfig) : undefined)
}
