/** The files that a run's data comes from, looked into before anything long is done. */
import { isPart } from '../core/configurable.ts'
import { checkFiles } from '../data/check.ts'
import { formatOfText, type TextConfig } from '../data/text-data.ts'
import type { Run } from '../train/run.ts'

/** What is wrong with the files of a run, where its data comes from files. @throws DataError */
export async function checkData({ data }: Run): Promise<void> {
  const { files = [], ...format } = isPart(data) ? data.config as Partial<TextConfig> : {}
  if (files.length > 0) await checkFiles(files, formatOfText(format))
}
