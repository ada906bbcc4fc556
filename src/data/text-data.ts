/** Text as a run's data: files, tokenised once into a store that is kept, or stores that were made before; in shares, packed or not, for one task or another. */
import { randomBytes } from 'node:crypto'
import { createWriteStream, rmSync } from 'node:fs'
import { mkdir, rm, stat } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { z } from 'zod'
import { configurable, type Configurable } from '../core/configurable.ts'
import { DataError, UsageError } from '../core/errors.ts'
import type { Plain } from '../core/plain.ts'
import { cannotWrite, isSystemError } from '../io/atomic.ts'
import { cacheRoot, makeCacheFolder } from '../io/cache-root.ts'
import { endOfText } from './bpe.ts'
import { defaultFiles, defaultLicence, defaultName } from './corpus.ts'
import type { DocumentFormat } from './documents.ts'
import type { DataRequest, OpenableData, OpenData } from './part.ts'
import { openBytes } from './sources/byte-source.ts'
import { isAddress } from './sources/http.ts'
import { idsAdded, openSource, type SourceOptions, type StoreSource } from './store/open-source.ts'
import { prepareStore, type Prepared } from './store/prepare.ts'
import { openStore, storeIdentity } from './store/store.ts'
import { readTokenizer } from './tokenizer-json.ts'
import type { Batches, Task } from './store/source.ts'
import type { ChatRules } from './tasks/chat.ts'
import type { CausalBatch, PrefixBatch } from './tasks/causal.ts'
import type { MaskedBatch } from './tasks/masked.ts'
import type { SpanBatch } from './tasks/spans.ts'

/** What there is to set of text. */
export interface TextConfig {
  /** Files, folders, patterns or addresses of text, JSONL, CSV, Parquet or tar; none and no `stores`: the State of the Union addresses. */
  readonly files: readonly string[]
  /** What `files` are, where their names do not tell; and the field, column or member that holds the text, `text` unless given. */
  readonly format?: (typeof textFormats)[number] | undefined
  readonly field?: string | undefined
  /** Stores of tokens that were prepared before, each with its weight in a mixture if it has one: `stores/web`, or `stores/web=3`. */
  readonly stores: readonly string[]
  /** Weights to the power 1 / temperature. */
  readonly temperature: number
  /** A tokenizer.json for `files`; one is learnt from them unless given. */
  readonly tokenizer?: string | undefined
  /** Tokens to learn; the model's vocabulary unless given. */
  readonly vocab?: number | undefined
  /** How documents become rows: as `openSource` says; `packed` for models that keep documents apart, else `windows`, unless given. */
  readonly rows?: 'packed' | 'padded' | 'windows' | undefined
  /** How chats of `files` become text, and whose turns are learnt; ChatML and the assistant's unless given. */
  readonly chat?: ChatRules | undefined
  /** The share of tokens that is held out, in whole documents. */
  readonly heldOut: number
}
type TextInput = { readonly [F in keyof TextConfig]?: TextConfig[F] | undefined }

/** A model's own template is text of the configuration, so that a run goes on with what it began with. */
export const chatSchema: z.ZodType<ChatRules, ChatRules> = z.strictObject({
  template: z.union([z.literal('chatml'), z.strictObject({ jinja: z.string().min(1), variables: z.record(z.string(), z.unknown()).optional() })]), loss: z.array(z.string()),
}) as unknown as z.ZodType<ChatRules, ChatRules>
/** What files of text may be. */
export const textFormats = ['text', 'jsonl', 'parquet', 'csv', 'tar'] as const
const shape = {
  files: z.array(z.string()).default([]), format: z.enum(textFormats).optional(), field: z.string().optional(), stores: z.array(z.string()).default([]), temperature: z.number().positive().default(1), tokenizer: z.string().optional(),
  vocab: z.int().min(258).max(2 ** 31 - 1).optional(), rows: z.enum(['packed', 'padded', 'windows']).optional(), chat: chatSchema.optional(), heldOut: z.number().min(0).lt(1).default(0.05),
}
const textSchema: z.ZodType<TextConfig, TextInput> = z.strictObject(shape)

/** How a configuration's files are read; undefined where their names say so. @throws UsageError for a field of no format that is given */
export function formatOfText({ format, field }: Pick<TextConfig, 'format' | 'field'>): DocumentFormat | undefined {
  if (format === undefined && field === undefined) return undefined
  if (format === undefined || (format === 'text' && field !== undefined)) throw new UsageError({ code: 'data', what: `data.field is "${field}", and ${format === undefined ? 'data.format is not given' : 'plain text has no fields'}`, fix: 'say in data.format what the files are: jsonl, parquet, csv or tar' })
  return format === 'text' ? { format, separator: endOfText } : { format, ...(field === undefined ? {} : { field }) }
}

/** The length of a row, by the model's tokens. */
function seqOf({ fields }: DataRequest): number {
  const [seq] = (fields['tokens'] ?? fields['source'])?.shape ?? []
  if (seq !== undefined) return seq
  throw new UsageError({ code: 'data', what: `text gives tokens, and the model takes ${Object.keys(fields).join(', ')}`, fix: 'give the model data of its own kind: any object with batch(step, rows)' })
}

const weighted = (given: string): { readonly path: string; readonly weight?: number } => {
  const [, path, weight] = /^(.+)=(\d+(?:\.\d+)?)$/.exec(given) ?? []
  return path === undefined ? { path: given } : { path, weight: Number(weight) }
}

interface Kept {
  readonly files: readonly string[]
  readonly clear: () => Promise<void>
  /** An error about a copy as one about what was given. */
  readonly named: (e: unknown) => unknown
}

/** Pipes give their text once, and it is read twice: it is kept in a file until the store is made. */
async function kept(files: readonly string[], folder: string): Promise<Kept> {
  const spool = join(folder, `.pipe-${process.pid}-${randomBytes(4).toString('hex')}`)
  // Also where the process is told to end at once.
  const onExit = (): void => rmSync(spool, { recursive: true, force: true })
  process.once('exit', onExit)
  const clear = async (): Promise<void> => {
    process.off('exit', onExit)
    await rm(spool, { recursive: true, force: true })
  }
  const found: string[] = []
  try {
    await copy()
  } catch (e) {
    await clear()
    throw e
  }
  return {
    files: found, clear,
    named(e) {
      if (!(e instanceof DataError)) return e
      const named = (text: string): string => found.reduce((t, at, i) => t.replaceAll(at, files[i] ?? at), text)
      const { what, details = {}, fix, ...rest } = e.problem
      return new DataError({ ...rest, what: named(what), details: Object.fromEntries(Object.entries(details).map(([k, v]) => [k, named(v)])), ...(fix === undefined ? {} : { fix: named(fix) }), cause: e })
    },
  }
  async function copy(): Promise<void> {
    for (const [i, name] of files.entries()) {
      const info = isAddress(name) ? undefined : await stat(name).catch(() => undefined)
      if (info === undefined || info.isFile() || info.isDirectory()) { found.push(name); continue }
      await mkdir(spool, { recursive: true })
      const at = join(spool, `${i}`)
      const source = await openBytes(name)
      try {
        await pipeline(source.stream(), createWriteStream(at))
      } catch (cause) {
        throw isSystemError(cause) ? cannotWrite(at, cause) : cause
      } finally {
        await source.close()
      }
      if ((await stat(at)).size === 0) {
        throw new DataError({ code: 'empty-text', what: `no text came from ${name}, which is no file on a disk`, fix: 'a pipe gives its text once, and to one process: give it once, or write the text into a file and give that' })
      }
      found.push(at)
    }
  }
}

/** The folders of the stores that a configuration means: those of its files are made where they are not there yet. */
async function storesOf(config: TextConfig, task: Task, request: DataRequest): Promise<{ readonly stores: readonly { readonly path: string; readonly weight?: number }[]; readonly made?: string }> {
  const { files, stores, tokenizer, vocab, chat } = config
  const format = formatOfText(config)
  if (files.length === 0 && stores.length > 0) return { stores: stores.map(weighted) }
  // What the task adds behind the tokenizer's tokens has to have a place in the model, too.
  const size = vocab ?? (request.vocab === undefined ? undefined : request.vocab - idsAdded(task, seqOf(request)))
  if (tokenizer === undefined && size === undefined) throw new UsageError({ code: 'data', what: 'how many tokens are to be learnt from the text is not said', fix: 'say data.vocab, or give data.tokenizer' })
  if (tokenizer !== undefined && request.vocab !== undefined) requireRoom((await readTokenizer(tokenizer)).vocab + idsAdded(task, seqOf(request)), request.vocab, { tokenizer })
  const cache = join(cacheRoot(), 'stores')
  await makeCacheFolder(cache)
  const from: Kept = files.length === 0 ? { files: await defaultFiles(), clear: () => Promise.resolve(), named: e => e } : await kept(files, cache)
  try {
    const make = (): Promise<Prepared> => prepareStore({
      files: from.files, out: { cache }, tokenizer: tokenizer === undefined ? { vocab: size ?? 0 } : { path: tokenizer }, ranks: request.ranks, onProgress: request.onProgress, ...(format === undefined ? {} : { format }), ...(chat === undefined ? {} : { chat }),
      onWait: holder => request.onNote(`waiting for another process that prepares the same text (${holder})`), ...(request.signal === undefined ? {} : { signal: request.signal }),
    })
    let made = await make()
    const harm = made.made ? undefined : await openStore(made.folder).then(s => { s.close() }, (e: unknown) => { if (e instanceof DataError) return e; throw e })
    if (harm !== undefined) {
      // What is kept can always be made again.
      request.onNote(`${harm.problem.what}: the text is tokenised again`)
      await rm(made.folder, { recursive: true, force: true })
      made = await make()
    }
    return { stores: [{ path: made.folder }, ...stores.map(weighted)], ...(made.made ? { made: made.folder } : {}) }
  } catch (e) {
    throw from.named(e)
  } finally {
    await from.clear()
  }
}

/** What of a source's options does not hang on which part of the stores is read. */
const common = <T extends Task>(config: TextConfig, task: T, request: DataRequest) => ({
  batch: request.batch, seq: seqOf(request), seed: request.seed, task, temperature: config.temperature, heldOut: { share: config.heldOut, rows: request.batch },
  ...(config.rows === undefined ? 'segments' in request.fields || task.kind === 'spans' ? {} : { rows: 'windows' as const } : { rows: config.rows }),
  ...(request.ignored === undefined ? {} : { ignored: request.ignored }), ...(request.vocab === undefined ? {} : { vocab: request.vocab }),
}) satisfies Partial<SourceOptions<T>>

const open = <C extends TextConfig, T extends Task>(task: (config: C) => T) => (config: C): OpenableData<Batches[T['kind']]> => ({
  async whole(files, tokenizer, request): Promise<OpenData<Batches[T['kind']]>> {
    const all: TextConfig = { ...config, files, stores: [], tokenizer, vocab: undefined, heldOut: 0 }
    const { stores } = await storesOf(all, task(config), request)
    const source = await openSource<T>({ ...common(config, task(config), request), stores, part: 'all' }).catch((e: unknown) => {
      if (!(e instanceof DataError) || e.code !== 'text-too-short') throw e
      throw new DataError({ code: 'text-too-short', what: `${namesOf(all)} has not one row of ${seqOf(request)} tokens`, details: e.problem.details ?? {}, fix: 'give more text: what fills no row of the model is not measured', cause: e })
    })
    try {
      requireVocab(source, request)
      requireCounted(source, request)
      return { ...source, heldOut: { source, batches: wholeBatches(source, request), count: source.rows[0] ?? 0 }, ...await aboutOf(all, source, undefined), close: () => source.close() }
    } catch (e) {
      source.close()
      throw e
    }
  },
  async open(request): Promise<OpenData<Batches[T['kind']]>> {
    const { stores, made } = await storesOf(config, task(config), request)
    const shared = common(config, task(config), request)
    const opened = (options: SourceOptions<T>): Promise<StoreSource<Batches[T['kind']]>> => openSource<T>(options).catch((e: unknown) => { throw e instanceof DataError && e.code === 'text-too-short' ? tooShort(request, config, stores.reduce((t, { path }) => t.replaceAll(path, 'it'), e.problem.what), e) : e })
    const source = await opened({ ...shared, stores })
    const held = config.heldOut === 0 ? undefined : await opened({ ...shared, stores: stores.slice(0, 1), part: 'heldOut' })
    const close = (): void => { source.close(); held?.close() }
    try {
      requireVocab(source, request)
      requireCounted(source, request)
      if (made !== undefined) request.onNote(`the text was tokenised once, and is kept in ${made}`)
      return { ...source, heldOut: held === undefined ? undefined : { source: held, batches: heldOutBatches(held, request, config), count: held.rows[0] ?? 0 }, ...await aboutOf(config, source, held), close }
    } catch (e) {
      close()
      throw e
    }
  },
})

/** The last batch may have empty rows, for a model that leaves them out. */
const wholeBatches = ({ rows: [rows = 0] }: StoreSource<unknown>, { batch, ignored }: DataRequest): number => (ignored === undefined ? Math.floor(rows / batch) : Math.ceil(rows / batch))

function heldOutBatches(source: StoreSource<unknown>, request: DataRequest, config: TextConfig): number {
  const whole = wholeBatches(source, request)
  if (whole > 0) return Math.min(request.heldOut, whole)
  throw tooShort(request, config, `what is held out are ${source.rows[0] ?? 0} rows, and a batch has ${request.batch}`)
}

const tooShort = (request: DataRequest, config: TextConfig, reason: string, cause?: DataError): DataError => new DataError({
  code: 'text-too-short', what: `the text is too short for a batch of ${request.batch} × ${seqOf(request)} tokens to train on${config.heldOut === 0 ? '' : ' and one held out'}`,
  details: { text: namesOf(config), reason, ...cause?.problem.details }, fix: `give more text, ${config.heldOut === 0 ? '' : 'hold more out (data.heldOut), '}or ask for a smaller batch or a shorter seq`, cause,
})

function requireVocab({ vocab, stores }: StoreSource<unknown>, request: DataRequest): void {
  if (request.vocab !== undefined) requireRoom(vocab, request.vocab, { store: stores[0]?.path ?? '' })
}
function requireRoom(vocab: number, has: number, details: { readonly [of: string]: string }): void {
  if (vocab > has) throw new UsageError({ code: 'vocab', what: `the text's tokens are ${vocab}, and the model has a vocabulary of ${has}`, details, fix: `give the model a vocabulary of at least ${vocab}, or another tokenizer` })
}

/** A model that counts every target must not be given places that are none. */
function requireCounted({ fill, stores }: StoreSource<unknown>, { ignored }: DataRequest): void {
  if (ignored !== undefined || (fill > 1 - 1e-9 && stores.every(s => s.files.mask === null))) return
  throw new UsageError({ code: 'targets', what: 'some places of the text are not to be learnt, and the model learns all of them', fix: 'use a model that leaves targets out, such as a GPT with masked or packed: true; or rows: \'windows\' of text without chats' })
}

/** What a configuration is called. */
function namesOf({ files, stores }: TextConfig): string {
  if (files.length === 0 && stores.length === 0) return defaultName
  const names = [...files, ...stores.map(s => weighted(s).path)].map(n => basename(n))
  return names.length > 3 ? `${names.slice(0, 3).join(', ')} and ${names.length - 3} more` : names.join(', ')
}

async function aboutOf(config: TextConfig, source: StoreSource<unknown>, held: StoreSource<unknown> | undefined): Promise<Pick<OpenData<unknown>, 'about' | 'identity' | 'tokenizer'>> {
  const isDefault = config.files.length === 0 && config.stores.length === 0
  const heldTokens = held === undefined ? 0 : (held.rows[0] ?? 0) * source.spec.seq
  const tokens = source.stores.reduce((n, store) => n + store.tokens, 0)
  const identity: Plain = { stores: source.stores.map(storeIdentity), shares: source.shares, seq: source.spec.seq, task: { ...source.spec.task } as Plain, rows: source.rows }
  return {
    identity, tokenizer: await source.stores.find(s => s.manifest !== undefined)?.tokenizer(),
    about: {
      name: namesOf(config),
      licence: isDefault ? defaultLicence : 'your own', tokens: tokens - heldTokens, rows: source.rows.reduce((a, b) => a + b, 0), heldOut: heldTokens, vocab: source.vocab,
    },
  }
}

/** Text to predict, token after token: `data: textData({ files: ['novel.txt'] })`. */
export const textData: Configurable<TextConfig, TextInput, OpenableData<CausalBatch>, void> =
  configurable({ name: 'text', schema: textSchema, build: open(() => ({ kind: 'causal' as const })) })
/** The same with a prefix in each document that all of it sees. */
export const prefixData: Configurable<TextConfig, TextInput, OpenableData<PrefixBatch>, void> =
  configurable({ name: 'prefix', schema: textSchema, build: open(() => ({ kind: 'prefix' as const })) })

interface MaskedConfig extends TextConfig { readonly share: number }
const maskedSchema: z.ZodType<MaskedConfig, TextInput & { readonly share?: number | undefined }> = z.strictObject({ ...shape, share: z.number().gt(0).lt(1).default(0.15) })
/** Text of which a `share` of the tokens is masked and to be found (Devlin et al. 2019). */
export const maskedData: Configurable<MaskedConfig, TextInput & { readonly share?: number | undefined }, OpenableData<MaskedBatch>, void> =
  configurable({ name: 'masked', schema: maskedSchema, build: open((config: MaskedConfig) => ({ kind: 'masked' as const, share: config.share })) })

interface SpanConfig extends TextConfig { readonly density: number; readonly mean: number }
type SpanInput = TextInput & { readonly density?: number | undefined; readonly mean?: number | undefined }
const spanSchema: z.ZodType<SpanConfig, SpanInput> = z.strictObject({ ...shape, density: z.number().gt(0).lt(1).default(0.15), mean: z.number().min(1).default(3) })
/** Text of which spans of `mean` tokens are to be found by a decoder (T5: Raffel et al. 2020). */
export const spanData: Configurable<SpanConfig, SpanInput, OpenableData<SpanBatch>, void> =
  configurable({ name: 'spans', schema: spanSchema, build: open((config: SpanConfig) => ({ kind: 'spans' as const, density: config.density, mean: config.mean })) })
