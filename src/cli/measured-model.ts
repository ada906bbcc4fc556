/** What `embed` and `eval --task` make of a folder: a model over a mesh, for rows of any of its lengths, and what decides its numbers. */
import { readdir } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { readAdapters, weightsIn } from '../checkpoint/index.ts'
import { FileError, UsageError } from '../core/errors.ts'
import type { Naming } from '../core/naming.ts'
import type { PlainObject } from '../core/plain.ts'
import { readTokenizer, type Tokenizer } from '../data/index.ts'
import { openBytes } from '../data/sources/byte-source.ts'
import { architectureNamed, embeddingOf, filesOf, loraModel, poolingFrom, sentenceArchitecture, sentenceConfig, type AnyArchitecture, type AnyModel, type JsonObject, type Pooling } from '../models/index.ts'
import type { Embedding } from '../serve/embed.ts'
import { lengthsFor, type RowOptions } from '../serve/rows.ts'
import { readRunFile } from '../train/folder.ts'
import { partOf, readPretrained, type Pretrained } from '../pretrained/pretrained.ts'
import { modelOf, type Run } from '../train/run.ts'
import { checkRun } from './check.ts'
import { applyFlags, wholeNumber, type MeshFlags } from './overrides.ts'
import { jsonBeside } from '../pretrained/model-files.ts'
import { runOfModel } from './pretrained-run.ts'
import { usualLayout } from '../pretrained/layout.ts'

export interface MeasureFlags extends MeshFlags { readonly rows?: string; readonly seq?: string }

/** A folder's model, checked, with nothing loaded. */
export interface MeasuredModel {
  readonly given: Pretrained
  readonly run: Run
  readonly tokenizer: Tokenizer
  /** Of one row of its longest window: what it can do. */
  readonly model: AnyModel
  /** Of a length. */
  readonly built: (rows: number, seq: number) => AnyModel
  readonly stored: { readonly weights: string; readonly naming: Naming | undefined }
  readonly lengths: readonly number[]
  readonly padding: number
  readonly rows: number
  readonly devices: number
  /** What decides its numbers: the files' contents, and the window. */
  readonly identity: PlainObject
}

interface MeasureOptions {
  readonly named?: (config: JsonObject) => AnyArchitecture
  /** What becomes of the architecture's configuration. */
  readonly adapt?: (architecture: AnyArchitecture, config: object) => object
  /** Tokens that a window has at most, whatever the model takes. */
  readonly most?: number | undefined
  /** Rows of a step unless said. */
  readonly usualRows?: number
}

/** The longest window of a model: RoBERTa's positions begin behind its padding token. */
function windowOf({ config, positions }: Pick<Pretrained, 'config' | 'positions'>): number {
  const { model_type: type, pad_token_id: padding = 1 } = config
  return type === 'roberta' ? positions - Number(padding) - 1 : positions
}

/** @throws UsageError, FileError, LayoutError for what is wrong with model, flags or layout */
export async function measuredModel(folder: string, flags: MeasureFlags, { named = architectureNamed, adapt = (_, config) => config, most, usualRows = 32 }: MeasureOptions = {}): Promise<MeasuredModel> {
  const given = await readPretrained(folder, named)
  const longest = Math.min(windowOf(given), most ?? Infinity)
  const { architecture } = given
  const seq = flags.seq === undefined ? longest : wholeNumber(flags.seq, '--seq', 1, windowOf(given))
  const partFor = (length: number): Run['model'] => {
    const { adapters, ...plain } = given
    const part = partOf(plain, { seq: length })
    const adapted = part.with(adapt(architecture, part.config as object))
    return adapters === undefined ? adapted : loraModel(adapted, adapters)
  }
  const own = await runOfModel(folder, { ...given, positions: windowOf(given) }, longest)
  const found = await readRunFile(folder)
  const { rows, seq: _, ...mesh } = flags
  const meshed = applyFlags({ ...own, model: partFor(seq) }, Object.fromEntries(Object.entries(mesh).filter(([, v]) => v !== undefined)))
  const model = modelOf({ ...meshed, batch: 1 }) as unknown as AnyModel
  const laid = mesh.layout === undefined && found === undefined ? { ...meshed, layout: usualLayout(model.dims, meshed.mesh) } : meshed
  const ways = laid.mesh['batch'] ?? 1
  const count = rows === undefined ? ways * Math.ceil(usualRows / ways) : wholeNumber(rows, '--rows', 1)
  const run = { ...laid, batch: count }
  const devices = checkRun(run, { onHost: false, setsFields: false })
  if (given.tokenizer === undefined) throw new FileError({ code: 'no-tokenizer', what: `${folder} holds no tokenizer.json`, fix: 'copy the model\'s own there' })
  const weights = await weightsIn(folder)
  // A model that was written by its own schema has one length.
  const fixed = (model.dims as { readonly seq?: { readonly size: number } }).seq?.size ?? seq
  const padding = given.config['pad_token_id']
  return {
    given, run, model, devices, rows: count, tokenizer: await readTokenizer(given.tokenizer),
    built: (n, length) => modelOf({ ...run, model: partFor(length), batch: n }) as unknown as AnyModel,
    stored: { weights, naming: filesOf(partFor(seq) as never, model)?.naming },
    lengths: fixed === seq && typeof given.config['architecture'] !== 'string' ? lengthsFor(seq) : [fixed],
    padding: typeof padding === 'number' && padding >= 0 ? padding : 0,
    identity: { model: await fingerprintOf(folder), window: fixed, precision: run.precision as unknown as PlainObject },
  }
}

/** How a model's rows are laid. */
export const rowOptionsOf = ({ run, rows }: Pick<MeasuredModel, 'run' | 'rows'>): Omit<RowOptions, 'backend'> => ({ mesh: run.mesh, rows, layout: run.layout, params: run.params, layouts: run.layouts })

/** Of each file that decides what a model computes. */
async function fingerprintOf(folder: string): Promise<{ readonly [file: string]: string }> {
  const base = (await readAdapters(folder))?.base
  const found: [string, string][] = []
  for (const [prefix, at] of [['', folder], ...(base === undefined ? [] : [['base/', base] as const])] as const) {
    // A GGUF file is all there is of its model.
    const names = at.endsWith('.gguf') ? [''] : (await readdir(at)).filter(name => name.endsWith('.safetensors') || ['config.json', 'adapter_config.json', 'tokenizer.json'].includes(name)).sort()
    for (const name of names) {
      const source = await openBytes(name === '' ? at : join(at, name))
      try { found.push([`${prefix}${name === '' ? basename(at) : name}`, await source.fingerprint()]) } finally { await source.close() }
    }
  }
  return Object.fromEntries(found)
}

/** How a folder's vectors are pooled: as the run says that made it, else as sentence-transformers' files beside it do. */
async function poolingOf(folder: string): Promise<Pooling> {
  const ran = (await readRunFile(folder))?.run['model'] as Partial<Pooling> | undefined
  if (ran?.pooling !== undefined && ran.normalised !== undefined) return { pooling: ran.pooling, normalised: ran.normalised }
  return poolingFrom(await jsonBeside(folder, 'modules.json'), await jsonBeside(folder, '1_Pooling/config.json'))
}

export interface MeasuredEmbedder { readonly measured: MeasuredModel; readonly embedding: Embedding; readonly pooling: Pooling }

/** What embeds, of a folder. @throws UsageError where its model gives no vectors */
export async function measuredEmbedder(folder: string, flags: MeasureFlags): Promise<MeasuredEmbedder> {
  const pooling = await poolingOf(folder)
  const sentence = await jsonBeside(folder, 'sentence_bert_config.json') as { readonly max_seq_length?: unknown } | null | undefined
  const most = sentence?.max_seq_length
  const measured = await measuredModel(folder, flags, { named: sentenceArchitecture, adapt: (architecture, config) => sentenceConfig(architecture, config, pooling), most: typeof most === 'number' && most > 0 ? most : undefined })
  const { built, stored, lengths, padding, tokenizer, given } = measured
  if (embeddingOf(measured.model, pooling) === undefined) throw new UsageError({ code: 'no-vectors', what: `${folder} is a model of type ${JSON.stringify(given.config['model_type'])}, which gives texts no vectors`, fix: 'give one that does: a BERT or RoBERTa such as MiniLM, or a decoder' })
  const model: Embedding['model'] = (rows, seq) => {
    const found = embeddingOf(built(rows, seq), pooling)
    if (found === undefined) throw new Error(`${folder} gives no vectors`)
    return found
  }
  return { measured: { ...measured, identity: { ...measured.identity, ...pooling } }, embedding: { ...stored, model, lengths, padding, tokenizer }, pooling }
}
