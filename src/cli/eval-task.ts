/** `meshwork eval --task`: any model, measured on files by a task. */
import { FileError, UsageError } from '../core/errors.ts'
import { didYouMean } from '../core/nearest.ts'
import type { PlainObject } from '../core/plain.ts'
import type { DocumentFormat } from '../data/index.ts'
import type { Backend } from '../engine/index.ts'
import { classRows, isLanguageModel, isMaskedModel, isWritingModel, likeliestRows, logProbabilityRows, type AnyModel, type RowModel, type WritingModel } from '../models/index.ts'
import { openEmbedder } from '../serve/embed.ts'
import { openAnswering, type Generating } from '../serve/open.ts'
import { measure } from '../serve/measure.ts'
import { shownMetric, type MeasureReport } from '../serve/report.ts'
import { openRows, type RowProgram } from '../serve/rows.ts'
import { choiceTask } from '../serve/tasks/choice.ts'
import { classifyTask } from '../serve/tasks/classify.ts'
import { generateTask } from '../serve/tasks/generate.ts'
import { answerWriter, rowWriter, type Writer } from '../serve/tasks/writer.ts'
import { lossTask } from '../serve/tasks/loss.ts'
import { similarityTask } from '../serve/tasks/similarity.ts'
import type { Task } from '../serve/tasks/task.ts'
import { meshOfRun } from '../train/run.ts'
import { formatOfFlags } from './data-files.ts'
import { formatInteger, formatTable } from './format.ts'
import { joinCommand, outputOf, requireRanks } from './job.ts'
import type { PlatformOptions } from '../runtime/pjrt/platform-options.ts'
import { goesOn, keptWorkOn, rateProgress } from './long-work.ts'
import { measuredEmbedder, measuredModel, rowOptionsOf, type MeasuredModel, type MeasureFlags } from './measured-model.ts'
import { endsIn, templateIn } from '../pretrained/model-files.ts'
import type { Output } from './output.ts'
import { wholeNumber } from './overrides.ts'

export interface EvalTaskFlags extends MeasureFlags {
  readonly task: string; readonly data?: readonly string[]; readonly out?: string; readonly tokens?: string; readonly field?: string; readonly format?: string
  readonly restart?: boolean; readonly plugin: string; readonly platform?: PlatformOptions; readonly backend?: string; readonly json?: boolean
}

type AnyTask = Task<unknown, PlainObject>
/** A task of a folder's model, before anything is loaded; `open` makes it on a backend. */
interface Prepared { readonly measured: MeasuredModel; readonly open: (backend: Backend, onCompile: (seq: number) => void) => Promise<{ readonly task: AnyTask; readonly dispose: () => void | Promise<void> }> }
type Prepare = (folder: string, flags: MeasureFlags, task: Pick<EvalTaskFlags, 'tokens'>) => Promise<Prepared>

const usualTokens = 32
const noModel = (folder: string, { given }: Pick<MeasuredModel, 'given'>, does: string, fix: string): UsageError =>
  new UsageError({ code: 'no-task', what: `${folder} is a model of type ${JSON.stringify(given.config['model_type'] ?? given.config['architecture'] ?? null)}, which ${does}`, fix })

/** A model by what is asked of its rows. */
function byRows(measured: MeasuredModel, rowsOf: (model: AnyModel) => RowModel | undefined, wrong: () => UsageError, task: (program: RowProgram, stretch: number) => AnyTask): Prepared {
  if (rowsOf(measured.model) === undefined) throw wrong()
  const { stored, lengths, padding, built } = measured
  return {
    measured,
    open: (backend, onCompile) => {
      const model = (rows: number, seq: number): RowModel => {
        const found = rowsOf(built(rows, seq))
        if (found === undefined) throw wrong()
        return found
      }
      const program = openRows({ ...stored, lengths, padding, model }, { ...rowOptionsOf(measured), backend, onCompile })
      return Promise.resolve({ task: task(program, measured.rows), dispose: () => { program.dispose() } })
    },
  }
}
const anyTask = <I, D extends PlainObject>(task: Task<I, D>): AnyTask => task as unknown as AnyTask

/** The id that stands for a token that is to be found. */
function maskOf(folder: string, { tokenizer }: MeasuredModel): number {
  const found = tokenizer.added.find(({ id }) => ['[MASK]', '<mask>'].includes(tokenizer.tokens[id] ?? ''))
  if (found === undefined) throw new FileError({ code: 'no-mask', what: `the tokenizer of ${folder} has no token [MASK] or <mask>`, fix: 'use the tokenizer that belongs to the model' })
  return found.id
}

const masked: NonNullable<Parameters<typeof measuredModel>[2]> = { adapt: ({ kind }, config) => (kind.kind.name === 'bert' ? { ...config, padded: true, packed: false } : config), usualRows: 8 }
const writes = 'writes no text from left to right'
const decoders = 'give one that does, such as a GPT or a Llama'

const tasks: { readonly [name: string]: Prepare } = {
  async loss(folder, flags) {
    const measured = await measuredModel(folder, flags, masked)
    const mask = isMaskedModel(measured.model) ? maskOf(folder, measured) : undefined
    const template = await templateIn(measured)
    return byRows(measured, logProbabilityRows, () => noModel(folder, measured, 'tells no tokens of a text', 'give a GPT, a Llama, or a BERT that finds masked tokens'), (program, rows) =>
      anyTask(lossTask({ program, tokenizer: measured.tokenizer, mask, template, stretch: 8 * rows })))
  },
  async choice(folder, flags) {
    const measured = await measuredModel(folder, flags, { usualRows: 8 })
    return byRows(measured, model => (isLanguageModel(model) ? logProbabilityRows(model) : undefined), () => noModel(folder, measured, writes, decoders), (program, rows) =>
      anyTask(choiceTask({ program, tokenizer: measured.tokenizer, stretch: 4 * rows })))
  },
  async classify(folder, flags) {
    const measured = await measuredModel(folder, flags)
    const { model, given: { config }, tokenizer } = measured
    const size = (model.dims as { readonly classes?: { readonly size: number } }).classes?.size ?? 0
    const names = (config['id2label'] ?? {}) as PlainObject
    const labels = Array.from({ length: size }, (_, i) => { const name = names[String(i)]; return typeof name === 'string' ? name : String(i) })
    return byRows(measured, classRows, () => noModel(folder, measured, 'tells no classes of texts', 'give a BertForSequenceClassification or a RobertaForSequenceClassification'), (program, rows) =>
      anyTask(classifyTask({ program, tokenizer, labels, typed: 'types' in (model.batch as object), stretch: 16 * rows })))
  },
  async embed(folder, flags) {
    const { measured, embedding } = await measuredEmbedder(folder, flags)
    return {
      measured,
      open: (backend, onCompile) => {
        const embedder = openEmbedder(embedding, { ...rowOptionsOf(measured), backend, onCompile })
        return Promise.resolve({ task: anyTask(similarityTask(embedder, 8 * measured.rows)), dispose: () => { embedder.dispose() } })
      },
    }
  },
  async generate(folder, flags, { tokens }) {
    const measured = await measuredModel(folder, flags, { usualRows: 8 })
    const { tokenizer, lengths, model, run, rows } = measured
    const [ends, template] = [await endsIn(folder, measured), await templateIn(measured)]
    const reads = isWritingModel(model) && model.encoder !== undefined
    const room = Math.max(1, (lengths.at(-1) ?? 1) - (reads ? 1 : 0))
    const most = wholeNumber(tokens ?? String(Math.min(usualTokens, room)), '--tokens', 1, room)
    const taskOf = (writer: Writer): AnyTask => anyTask(generateTask({ writer, tokenizer, tokens: most, ends, template, stretch: 4 * rows }))
    if (!reads) return byRows(measured, one => likeliestRows(one, tokenizer.vocab), () => noModel(folder, measured, 'writes no text', 'give one that does, such as a GPT, a Llama or a T5'), program => taskOf(rowWriter(program, { tokens: most, ends })))
    return {
      measured,
      open: async backend => {
        const from: Generating = { ...measured.stored, model: n => measured.built(n, lengths.at(-1) ?? 1) as unknown as WritingModel, tokenizer, ends }
        const { rows: _, ...laid } = rowOptionsOf(measured)
        const opened = await openAnswering(from, { backend, ...laid, requests: Math.ceil(rows / (run.mesh['batch'] ?? 1)) })
        return { task: taskOf(answerWriter(opened, backend.processes, { tokens: most, ends })), dispose: () => opened.close() }
      },
    }
  },
}
export const taskNames: readonly string[] = Object.keys(tasks)

/** Flags that only one of the tasks has. */
function checkFlags({ task, data, tokens, field, format }: EvalTaskFlags): void {
  const wrong = (what: string, fix: string): UsageError => new UsageError({ code: 'flag', what, fix })
  if (!Object.hasOwn(tasks, task)) throw wrong(`--task: there is no "${task}"`, didYouMean(task, taskNames))
  if (data === undefined) throw wrong(`--task ${task} measures on files, and none is given`, 'give them: --data FILES')
  if (tokens !== undefined && task !== 'generate') throw wrong(`--tokens is given, and --task ${task} writes no text`, 'leave it out')
  if ((field !== undefined || format !== undefined) && task !== 'loss') throw wrong(`--${field === undefined ? 'format' : 'field'} is given, and the items of --task ${task} are JSONL with fields of their own`, 'leave it out')
}

export async function evalTask(folder: string, given: EvalTaskFlags): Promise<void> {
  checkFlags(given)
  const { task: name, data = [], out, tokens, field, format, restart, plugin: runtime, platform, backend: where, json, ...flags } = given
  const processes = await joinCommand(where)
  const read: DocumentFormat | undefined = name === 'loss' ? formatOfFlags(data, { ...(format === undefined ? {} : { format }), ...(field === undefined ? {} : { field }) }) : { format: 'jsonl' }
  const prepared = await tasks[name]?.(folder, flags, tokens === undefined ? {} : { tokens })
  if (prepared === undefined) return
  const { measured } = prepared
  requireRanks(meshOfRun(measured.run), runtime)
  const output = outputOf(processes, json === true)
  await keptWorkOn(processes, { devices: measured.devices, plugin: runtime, platform, output, stopped: out === undefined ? 'stopped' : goesOn }, async (backend, signal) => {
    const { task, dispose } = await prepared.open(backend, seq => { output.status(`compiling for ${seq} tokens`, true) })
    const report = await measure(task, { data, format: read, out, model: folder, identity: measured.identity, restart: restart === true, processes, signal, onProgress: rateProgress(output, name === 'loss' ? 'windows' : 'items') })
    await dispose()
    output.clear()
    if (json !== true) show(report, out, output)
    else if (processes.rank === 0) process.stdout.write(`${JSON.stringify(report)}\n`)
  })
}

function show({ task, metrics, counts, tables = [] }: MeasureReport, out: string | undefined, output: Output): void {
  const rows = [['task', task], ...Object.entries(metrics).map(([name, value]) => [name.replaceAll('_', ' '), shownMetric(value)]), ...Object.entries(counts).map(([name, value]) => [name, formatInteger(value)])]
  for (const line of formatTable(rows, 2)) output.print(line)
  for (const { title, rows: cells } of tables) [title, ...formatTable(cells)].forEach(line => { output.print(line) })
  if (out !== undefined) output.print(`report  ${out}/report.md, report.json; each item in items.jsonl`)
}
