/** `meshwork embed`: texts in files to a file of vectors. */
import { Command } from 'commander'
import { textFormats } from '../data/text-data.ts'
import { openEmbedder } from '../serve/embed.ts'
import { embedFiles, type EmbeddedFiles } from '../serve/embed-files.ts'
import { requireVectorFile } from '../serve/vector-file.ts'
import { meshOfRun } from '../train/run.ts'
import { formatOfFlags } from './data-files.ts'
import { formatInteger } from './format.ts'
import { joinCommand, outputOf, requireRanks, withDeviceFlags } from './job.ts'
import type { PlatformOptions } from '../runtime/pjrt/platform-options.ts'
import { goesOn, keptWorkOn, rateProgress } from './long-work.ts'
import { measuredEmbedder, rowOptionsOf, type MeasureFlags } from './measured-model.ts'
import { withMeshFlags } from './overrides.ts'

interface Flags extends MeasureFlags {
  readonly input: readonly string[]; readonly output: string; readonly field?: string; readonly format?: string; readonly restart?: boolean; readonly plugin: string; readonly platform?: PlatformOptions; readonly backend?: string; readonly json?: boolean
}

export const embedCommand = (): Command => withDeviceFlags(withMeshFlags(new Command('embed')
  .description('Give each text of files a vector: batch inference that goes on where it was interrupted. Texts come and go in order, each once.')
  .argument('<model>', 'a folder in Hugging Face\'s layout, such as MiniLM\'s, or a run\'s')
  .requiredOption('--input <file...>', 'texts: files, folders, patterns or addresses of JSONL, CSV, Parquet or text')
  .requiredOption('--output <file>', 'the vectors: .parquet, .jsonl or .npy')
  .option('--field <name>', 'the field or column that holds the text; "text" unless given')
  .option('--format <name>', `${textFormats.join(', ')}; by each file's name unless given`)
  .option('--rows <n>', 'texts of a step, over all devices; 32 unless given')
  .option('--seq <n>', 'tokens that a text is cut to; what the model takes unless given')
  .option('--restart', 'throw away what an interrupted run left, and replace a file that is there')))
  .option('--json', 'print one JSON object at the end')
  .addHelpText('after', `
Examples:
  $ npx meshwork embed models/minilm --input texts.jsonl --output vectors.parquet
  $ npx meshwork embed models/minilm --input "texts/*.csv" --field body --output vectors.npy --batch 4
  $ mpirun -n 4 npx meshwork embed models/minilm --input texts.parquet --output vectors.parquet --batch 4`)
  .action(async (folder: string, { input, output: to, field, format, restart, plugin: name, platform, backend: where, json, ...flags }: Flags) => {
    const processes = await joinCommand(where)
    requireVectorFile(to)
    const read = formatOfFlags(input, { ...(format === undefined ? {} : { format }), ...(field === undefined ? {} : { field }) })
    const { measured, embedding } = await measuredEmbedder(folder, flags)
    requireRanks(meshOfRun(measured.run), name)
    const output = outputOf(processes, json === true)
    await keptWorkOn(processes, { devices: measured.devices, plugin: name, platform, output, stopped: goesOn }, async (backend, signal) => {
      const embedder = openEmbedder(embedding, { ...rowOptionsOf(measured), backend, onCompile: seq => output.status(`compiling for ${seq} tokens`, true) })
      const made = await embedFiles(embedder, {
        input, format: read, output: to, identity: measured.identity, stretch: 16 * measured.rows, restart: restart === true, processes, signal, onProgress: rateProgress(output, 'texts'),
      })
      embedder.dispose()
      output.clear()
      if (json !== true) lines(made).forEach(line => { output.print(line) })
      else if (processes.rank === 0) process.stdout.write(`${JSON.stringify(made)}\n`)
    })
  })

const lines = ({ output, texts, size, cut, window, before }: EmbeddedFiles): string[] => [
  `${output}: ${formatInteger(texts)} vectors of ${size} numbers${before > 0 ? `, ${formatInteger(before)} of them made before` : ''}`,
  ...cut === 0 ? [] : [`${formatInteger(cut)} ${cut === 1 ? 'text was' : 'texts were'} longer than ${window} tokens, and ${cut === 1 ? 'was' : 'were'} cut to that`],
]
