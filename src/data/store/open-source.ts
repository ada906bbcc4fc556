/** Stores as a source of batches: what to learn from them, in which rows and shares, and which documents made a step. */
import { DataError, UsageError } from '../../core/errors.ts'
import type { Rows } from '../rows.ts'
import { mixtureShares } from '../order.ts'
import { spanShape, type SpanTask } from '../tasks/spans.ts'
import { heldOutOf, placesOf, rangeOf, rowsOf, stretchesOf, tableOf, type HeldOut, type RowKind, type Stretch } from './row-table.ts'
import { openReader, placesOfSteps, type Batches, type DataSource, type SourceSpec, type Task } from './source.ts'
import { openStore, type DocumentSource, type Store } from './store.ts'

export interface SourceOptions<T extends Task> {
  /** Folders of stores, or Megatron's files; with a weight each for a mixture: without, as many tokens as they have. */
  readonly stores: readonly (string | { readonly path: string; readonly weight?: number })[]
  /** Weights to the power 1 / temperature; 1 unless told. */
  readonly temperature?: number
  /** Rows of a step, over all devices, processes and parts of an accumulated gradient. */
  readonly batch: number
  readonly seq: number
  readonly seed?: number
  readonly task: T
  /** `packed` unless told; for spans `windows`. */
  readonly rows?: RowKind
  readonly heldOut?: HeldOut
  /** `train` unless told. What is held out, or `all` there is, comes in its own order, each row once, and of one store. */
  readonly part?: 'train' | 'heldOut' | 'all'
  /** The id of a place that holds nothing; 0 unless told. It counts nowhere. */
  readonly pad?: number
  /** The target of a place that does not count, in tasks whose targets lie beside tokens; `pad` unless told: then `weights` alone say so. */
  readonly ignored?: number
  /** Of a store that has no tokenizer: ids are below it. */
  readonly vocab?: number
}

/** A document's share of a row. */
export interface RowDocument extends Stretch { readonly store: string; readonly source: DocumentSource | undefined }

export interface StoreSource<B> extends DataSource<B> {
  /** What any thread can make it from again. */
  readonly spec: SourceSpec
  readonly stores: readonly Store[]
  /** Rows of an epoch of each store. */
  readonly rows: readonly number[]
  /** Ids are below it: those of the tokenizer, and those that the task adds behind them. */
  readonly vocab: number
  /** Shares of the mixture. */
  readonly shares: readonly number[]
  /** Of all places of an epoch those that hold a token. */
  readonly fill: number
  batch(step: number, rows?: Rows): B
  /** The documents that made each of the rows: a function of the step, like the rows. */
  documentsOfStep(step: number, rows?: Rows): readonly (readonly RowDocument[])[]
  /** Steps that make so many epochs (of the store that is through first, in a mixture), or so many tokens, at least. */
  stepsFor(length: { readonly epochs: number } | { readonly tokens: number }): number
  close(): void
}

const positive = (name: string, n: number): void => {
  if (!Number.isSafeInteger(n) || n < 1) throw new UsageError({ code: 'source', what: `${name} is ${n}`, fix: 'give a whole number of at least 1' })
}

/** @throws DataError when a store is not as it was written or has no row; UsageError for options that cannot be. */
export async function openSource<T extends Task>(options: SourceOptions<T>): Promise<StoreSource<Batches[T['kind']]>> {
  const { batch, seq, seed = 0, task, heldOut = {}, part = 'train', pad = 0, temperature } = options
  positive('batch', batch)
  positive('seq', seq)
  const kind = options.rows ?? (task.kind === 'spans' ? 'windows' : 'packed')
  if (task.kind === 'spans' && kind === 'packed') throw new UsageError({ code: 'source', what: 'spans are not made of packed rows', fix: 'rows: \'windows\', or \'padded\' for one document a row' })
  if (options.stores.length === 0) throw new UsageError({ code: 'source', what: 'there is no store', fix: 'name one' })
  if (part !== 'train' && options.stores.length > 1) throw new UsageError({ code: 'source', what: `what is held out is measured store by store, and there are ${options.stores.length}`, fix: 'open a source for each' })
  const given = options.stores.map(s => (typeof s === 'string' ? { path: s } : s))
  const stores: Store[] = []
  try {
    for (const { path } of given) stores.push(await openStore(path))
    const shares = mixtureShares(given.map((g, i) => ('weight' in g ? g.weight : undefined) ?? (stores[i] as Store).tokens), temperature)
    const vocab = await vocabOf(stores, options.vocab)
    const { end, kept } = edgesOf(stores)
    const shape = task.kind === 'spans' ? { capacity: spanShape(seq, task).raw, overlap: 0 as const } : { capacity: seq, overlap: task.kind === 'masked' ? 0 as const : 1 as const }
    const tables = stores.map((store, i): SourceSpec['stores'][number] => {
      const held = part === 'all' ? new Uint8Array(store.documents) : heldOutOf(store.starts, shares[i] === 0 ? { share: 0 } : heldOut, heldOut.rows === undefined ? 1 : heldOut.rows * shape.capacity + shape.overlap)
      const table = tableOf(store, kind, shape, d => held === undefined || (held[d] === 1) === (part === 'heldOut'))
      return { files: store.files, table, range: held === undefined ? rangeOf(rowsOf(table), heldOut, part === 'heldOut', store.path) : { from: 0, rows: rowsOf(table) } }
    })
    const added = addedIds(task, vocab, seq)
    const spec: SourceSpec = {
      stores: tables, shares, batch, seq, seed, order: part === 'train' ? 'drawn' : 'fixed',
      task, ids: { pad, end, mask: added.mask, vocab, kept, sentinels: added.sentinels, ...(options.ignored === undefined ? {} : { ignored: options.ignored }) },
    }
    return sourceOf(spec, stores, added.vocab) as StoreSource<Batches[T['kind']]>
  } catch (e) {
    for (const s of stores) s.close()
    throw e
  }
}

async function vocabOf(stores: readonly Store[], given: number | undefined): Promise<number> {
  const known = [...new Set(stores.flatMap(s => s.manifest?.files.tokenizer.sha256 ?? []))]
  if (known.length > 1) throw new DataError({ code: 'tokenizers-differ', what: 'the stores were not made by one tokenizer', details: { stores: stores.map(s => s.path).join(', ') }, fix: 'prepare all of them with --tokenizer of the first' })
  // What a store says of itself is so, whatever was thought.
  const vocab = stores.find(s => s.manifest !== undefined)?.manifest?.vocab ?? given
  if (vocab !== undefined) return vocab
  return Promise.reject(new UsageError({ code: 'source', what: `${stores[0]?.path} does not say how many ids its tokenizer has`, fix: 'say so: vocab' }))
}

/** The ids that documents begin and end with. */
function edgesOf(stores: readonly Store[]): { readonly end: number; readonly kept: readonly number[] } {
  const settings = stores.flatMap(s => s.manifest?.settings ?? [])
  return { end: settings.find(s => s.end !== null)?.end ?? 0, kept: [...new Set(settings.flatMap(s => [s.begin, s.end]).filter(id => id !== null))] }
}

const spanCount = 100
function addedIds(task: Task, vocab: number, seq: number): { readonly mask: number; readonly sentinels: readonly number[]; readonly vocab: number } {
  if (task.kind === 'masked') return { mask: task.mask ?? vocab, sentinels: [], vocab: Math.max(vocab, (task.mask ?? vocab) + 1) }
  if (task.kind !== 'spans') return { mask: 0, sentinels: [], vocab }
  const sentinels = task.sentinels ?? Array.from({ length: Math.max(spanCount, spansIn(seq, task)) }, (_, i) => vocab + i)
  return { mask: 0, sentinels, vocab: Math.max(vocab, ...sentinels.map(s => s + 1)) }
}
/** Ids that a task needs behind those of the tokenizer. */
export const idsAdded = (task: Task, seq: number): number => addedIds(task, 0, seq).vocab
/** At most so many spans does a row have. */
const spansIn = (seq: number, task: SpanTask): number => Math.ceil(spanShape(seq, task).targets / 2)

function sourceOf(spec: SourceSpec, stores: readonly Store[], vocab: number): StoreSource<Batches[keyof Batches]> {
  const reader = openReader(spec)
  const place = placesOfSteps(spec)
  const all = { from: 0, to: spec.batch }
  const rows = spec.stores.map(s => s.range.rows)
  const places = spec.stores.map(s => placesOf(s.table))
  // What a row holds on average, over the mixture.
  const perRow = spec.shares.reduce((n, share, i) => n + share * (places[i] as number) / rowsOf((spec.stores[i] as SourceSpec['stores'][number]).table), 0)
  return {
    spec, stores, vocab, rows, shares: spec.shares, fill: perRow / (spec.stores[0]?.table.capacity ?? 1),
    batch: (step, of = all) => reader.batch(step, of),
    documentsOfStep(step, { from, to } = all) {
      return Array.from({ length: to - from }, (_, i) => {
        const at = place(step, from + i)
        if (at === undefined) return []
        const store = stores[at.source] as Store
        return stretchesOf((spec.stores[at.source] as SourceSpec['stores'][number]).table, at.row).map(s => ({ ...s, store: store.path, source: store.source(s.document) }))
      })
    },
    stepsFor(length) {
      if ('tokens' in length) return Math.ceil(length.tokens / (perRow * spec.batch))
      return Math.min(...rows.flatMap((n, i) => (spec.shares[i] === 0 ? [] : [Math.ceil(length.epochs * n / (spec.shares[i] as number) / spec.batch)])))
    },
    close() {
      reader.close()
      for (const s of stores) s.close()
    },
  }
}
