/** `meshwork import` and `meshwork export`: models in from other tools, and out to them. */
import { basename, dirname } from 'node:path'
import { Command } from 'commander'
import { convertSource } from '../checkpoint/convert.ts'
import { FileError, UsageError } from '../core/errors.ts'
import { exportGguf, tokenizerMetadata, type WrittenType } from '../formats/index.ts'
import { makeFolders } from '../io/folders.ts'
import { formatBytes, formatCount } from './format.ts'
import { interruptible, progressOn } from './long-work.ts'
import { checkModel, locate, openModel, type ModelSource } from './model-source.ts'
import { openOutput } from './output.ts'

const floats = ['f32', 'bf16', 'f16'] as const
const ggufTypes = { f32: 'F32', bf16: 'BF16', f16: 'F16', q8_0: 'Q8_0', q4_0: 'Q4_0' } as const satisfies { readonly [dtype: string]: WrittenType }

function chosen<const T extends string>(text: string | undefined, among: readonly T[]): T | undefined {
  const found = among.find(d => d === text)
  if (text === undefined || found !== undefined) return found
  throw new UsageError({ code: 'flag', what: `--dtype: "${text}" is none that can be written here`, fix: `give one of ${among.join(', ')}` })
}
const folderName = (text: string, flag: string): string => {
  if (text === '') throw new UsageError({ code: 'flag', what: `${flag}: the folder has no name`, fix: `for example ${flag} models/mine` })
  return text.replace(/(.)\/+$/, '$1')
}

interface ImportFlags { readonly to?: string; readonly dtype?: string; readonly revision?: string; readonly json?: boolean }
interface ExportFlags { readonly to: string; readonly format?: string; readonly dtype?: string; readonly json?: boolean }

/** A name for its folder. */
const nameOf = (path: string, given: string): string => (path.endsWith('.gguf') ? basename(path, '.gguf') : basename(given.replace(/\/+$/, '')) || 'model')

async function bring(given: string, { to, dtype, revision, json = false }: ImportFlags): Promise<void> {
  const wanted = chosen(dtype, floats)
  const result = await interruptible(json, async (output, { signal }) => {
    const path = await locate(given, revision, output, signal)
    await using model = await openModel(path)
    const parameters = await checkModel(model)
    const into = folderName(to ?? `models/${nameOf(path, given)}`, '--to')
    await makeFolders(dirname(into))
    const made = await convertSource(model.weights, into, model.beside, { ...(wanted === undefined ? {} : { dtype: wanted }), signal, onProgress: progressOn(output, 'importing') })
    return { from: path, model: model.architecture.modelType, parameters, ...made }
  })
  if (json) return void process.stdout.write(`${JSON.stringify(result, null, 2)}\n`)
  const output = openOutput()
  output.print(`model   ${result.model}, ${formatCount(result.parameters)} parameters, every tensor by its name and shape`)
  output.print(`files   ${result.path}: ${formatBytes(result.bytes)}, ${result.files.join(' ')}`)
}

async function take(given: string, { to, format, dtype, json = false }: ExportFlags): Promise<void> {
  const asGguf = format === 'gguf' || (format === undefined && to.endsWith('.gguf'))
  if (format !== undefined && format !== 'hf' && format !== 'gguf') throw new UsageError({ code: 'flag', what: `--format: "${format}" is none`, fix: 'give hf or gguf' })
  const into = folderName(to, '--to')
  const result = await interruptible(json, async (output, { signal }) => {
    await using model = await openModel(given)
    await checkModel(model)
    await makeFolders(dirname(into))
    const onProgress = progressOn(output, 'exporting')
    if (asGguf) return { path: into, files: [basename(into)], ...await gguf(model, into, ggufTypes[chosen(dtype, Object.keys(ggufTypes) as (keyof typeof ggufTypes)[]) ?? 'f32'], { signal, onProgress }) }
    const wanted = chosen(dtype, floats)
    // The files are closed when this is left.
    return await convertSource(model.weights, into, model.beside, { ...(wanted === undefined ? {} : { dtype: wanted }), signal, onProgress })
  })
  if (json) return void process.stdout.write(`${JSON.stringify(result, null, 2)}\n`)
  openOutput().print(`${result.path}: ${result.tensors} tensors, ${formatBytes(result.bytes)}, ${result.files.length === 1 ? 'one file' : result.files.join(' ')}`)
}

function gguf({ path, config, weights, beside }: ModelSource, to: string, type: WrittenType, options: { readonly signal: AbortSignal; readonly onProgress: (done: number, total: number) => void }): Promise<{ readonly bytes: number; readonly tensors: number }> {
  const text = (name: string): string | undefined => { const found = beside.find(([n]) => n === name); return found === undefined ? undefined : Buffer.from(found[1]).toString() }
  const tokenizer = text('tokenizer.json')
  if (tokenizer === undefined) throw new FileError({ code: 'no-tokenizer', what: `${path} holds no tokenizer.json, and a GGUF file holds its tokenizer`, fix: 'copy the model\'s own there' })
  const id = (key: string): number | undefined => (typeof config[key] === 'number' ? config[key] : undefined)
  const parts = tokenizerMetadata(path, { tokenizer: JSON.parse(tokenizer) as never, chatTemplate: text('chat_template.jinja'), bos: id('bos_token_id'), eos: id('eos_token_id'), pad: id('pad_token_id'), vocab: Number(config['vocab_size']) })
  return exportGguf(to, { config, tensors: weights.tensors, type, tokenizer: parts, name: basename(path), ...options })
}

export const importCommand = (): Command => new Command('import')
  .description('Bring a model that exists: check every tensor of it, and write it as a folder that train, generate, eval and other tools open.')
  .argument('<model>', 'a folder in Hugging Face\'s layout, a .gguf file, owner/name of the Hub, or a name of `meshwork models list`')
  .option('--to <dir>', 'the folder; models/NAME unless given')
  .option('--dtype <dtype>', `what its floats become: ${floats.join(', ')}`)
  .option('--revision <name>', 'of the Hub: a branch, a tag or a commit')
  .option('--json', 'print as JSON')
  .addHelpText('after', '\nExamples:\n  $ npx meshwork import smollm2\n  $ npx meshwork import HuggingFaceTB/SmolLM2-135M --to models/smollm2 --dtype bf16')
  .action(bring)

export const exportCommand = (): Command => new Command('export')
  .description('Take a model out: a finished run, or a folder in Hugging Face\'s layout, as other tools read it.')
  .argument('<model>', 'a run\'s folder, a folder in Hugging Face\'s layout, or a .gguf file')
  .requiredOption('--to <path>', 'a folder, or a .gguf file')
  .option('--format <format>', 'hf or gguf; by --to unless given')
  .option('--dtype <dtype>', `what its floats become: ${floats.join(', ')}; in GGUF also q8_0, q4_0`)
  .option('--json', 'print as JSON')
  .addHelpText('after', '\nExamples:\n  $ npx meshwork export runs/gpt-tiny-0 --to exported --dtype bf16\n  $ npx meshwork export models/smollm2 --to smollm2.gguf --dtype q8_0')
  .action(take)
