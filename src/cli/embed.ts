/** `meshwork embed`: texts in files to a file of vectors. */
import { Command } from 'commander'
import { UsageError } from '../core/errors.ts'
import { didYouMean } from '../core/nearest.ts'
import type { DocumentFormat } from '../data/index.ts'
import { formatOf } from '../data/sources/names.ts'
import { leadersFirst, openBackend } from '../engine/index.ts'
import { currentJob } from '../runtime/job.ts'
import { openEmbedder } from '../serve/embed.ts'
import { embedFiles, type EmbeddedFiles } from '../serve/embed-files.ts'
import { requireVectorFile } from '../serve/vector-file.ts'
import { meshOfRun } from '../train/run.ts'
import { formatDuration, formatInteger } from './format.ts'
import { interrupts } from './interrupt.ts'
import { backendOption, joinCommand, outputOf, requireRanks, whereDevices } from './job.ts'
import { measuredEmbedder, rowOptionsOf, type MeasureFlags } from './measured-model.ts'
import type { Output } from './output.ts'
import { preparedPlugin } from './plugins.ts'

interface Flags extends MeasureFlags {
  readonly input: readonly string[]; readonly output: string; readonly field?: string; readonly format?: string; readonly restart?: boolean; readonly plugin: string; readonly backend?: string; readonly json?: boolean
}

const formats = ['text', 'jsonl', 'parquet', 'csv', 'tar'] as const
/** What the input is, where flags say more than names. @throws UsageError */
export function formatOfFlags([first = '']: readonly string[], { format, field }: Pick<Flags, 'format' | 'field'>): DocumentFormat | undefined {
  if (format === undefined && field === undefined) return undefined
  const known = formats.find(f => f === format)
  if (format !== undefined && known === undefined) throw new UsageError({ code: 'flag', what: `--format: there is no format "${format}"`, fix: didYouMean(format, formats) })
  const found: DocumentFormat | undefined = known === undefined ? formatOf(first) : { format: known }
  if (found === undefined) throw new UsageError({ code: 'flag', what: `--field is given, and the name ${first} does not tell its format`, fix: `say it: --format, one of ${formats.join(', ')}` })
  if (field === undefined) return found
  if (found.format === 'text') throw new UsageError({ code: 'flag', what: '--field is given, and plain text has no fields', fix: 'leave it out' })
  return { ...found, field }
}

/** Texts or items done, how fast, and what is left where that can be told. */
export function rateProgress(output: Output, what: string): (done: number, before: number, share: number | undefined) => void {
  let began: number | undefined
  let first: number | undefined
  return (done, before, share) => {
    began ??= performance.now()
    first ??= share
    const seconds = Math.max(1e-3, (performance.now() - began) / 1000)
    const left = share === undefined || first === undefined || share <= first ? '' : `  ${formatDuration(seconds * (1 - share) / (share - first))} left`
    output.status(`${formatInteger(done)} ${what}  ${((done - before) / seconds).toPrecision(3)} ${what}/s${left}`)
  }
}

export const embedCommand = (): Command => new Command('embed')
  .description('Give each text of files a vector: batch inference that goes on where it was interrupted. Texts come and go in order, each once.')
  .argument('<model>', 'a folder in Hugging Face\'s layout, such as MiniLM\'s, or a run\'s')
  .requiredOption('--input <file...>', 'texts: files, folders, patterns or addresses of JSONL, CSV, Parquet or text')
  .requiredOption('--output <file>', 'the vectors: .parquet, .jsonl or .npy')
  .option('--field <name>', 'the field or column that holds the text; "text" unless given')
  .option('--format <name>', `${formats.join(', ')}; by each file's name unless given`)
  .option('--rows <n>', 'texts of a step, over all devices; 32 unless given')
  .option('--seq <n>', 'tokens that a text is cut to; what the model takes unless given')
  .option('--restart', 'throw away what an interrupted run left, and replace a file that is there')
  .option('--batch <n>', 'ways to split the batch')
  .option('--model <n>', 'ways to split the model')
  .option('--mesh <axis=n,...>', 'the whole mesh')
  .option('--layout <dim=axis,...>', 'which dim lies on which axis')
  .option('--plugin <name|path>', 'the runtime', 'cpu')
  .option(...backendOption)
  .option('--json', 'print one JSON object at the end')
  .addHelpText('after', `
Examples:
  $ npx meshwork embed models/minilm --input texts.jsonl --output vectors.parquet
  $ npx meshwork embed models/minilm --input "texts/*.csv" --field body --output vectors.npy --batch 4
  $ mpirun -n 4 npx meshwork embed models/minilm --input texts.parquet --output vectors.parquet --batch 4`)
  .action(async (folder: string, { input, output: to, field, format, restart, plugin: name, backend: where, json, ...flags }: Flags) => {
    const processes = await joinCommand(where)
    requireVectorFile(to)
    const read = formatOfFlags(input, { ...(format === undefined ? {} : { format }), ...(field === undefined ? {} : { field }) })
    const { measured, embedding } = await measuredEmbedder(folder, flags)
    requireRanks(meshOfRun(measured.run), name)
    const output = outputOf(processes, json === true)
    const stops = interrupts()
    const tell = (): void => { output.note('stopped: what is done is kept, and the same command goes on from there') }
    try {
      const plugin = await leadersFirst(processes, 'fetching the plugin', () => preparedPlugin(name, output, stops))
      // What is done is on the disk at any moment. Only other processes must be told.
      if (processes.count === 1) stops.quit(tell)
      else stops.finish(tell)
      output.status('starting')
      const backend = await openBackend({ devices: measured.devices, plugin, backend: whereDevices() })
      try {
        const embedder = openEmbedder(embedding, { ...rowOptionsOf(measured), backend, onCompile: seq => output.status(`compiling for ${seq} tokens`, true) })
        const made = await embedFiles(embedder, {
          input, format: read, output: to, identity: measured.identity, stretch: 16 * measured.rows, restart: restart === true, processes, signal: stops.signal, onProgress: rateProgress(output, 'texts'),
        })
        embedder.dispose()
        output.clear()
        if (json !== true) lines(made).forEach(line => { output.print(line) })
        else if (processes.rank === 0) process.stdout.write(`${JSON.stringify(made)}\n`)
      } finally {
        await backend.close()
      }
    } catch (e) {
      if (!stops.signal.aborted) throw e
      await currentJob().fail()
      process.exitCode = stops.code
    } finally {
      output.clear()
      stops.release()
    }
  })

const lines = ({ output, texts, size, cut, window, before }: EmbeddedFiles): string[] => [
  `${output}: ${formatInteger(texts)} vectors of ${size} numbers${before > 0 ? `, ${formatInteger(before)} of them made before` : ''}`,
  ...cut === 0 ? [] : [`${formatInteger(cut)} ${cut === 1 ? 'text was' : 'texts were'} longer than ${window} tokens, and ${cut === 1 ? 'was' : 'were'} cut to that`],
]
