/** Arrays as a run's data: images and labels, tables, whatever has as many rows of each, in an order of their own for each epoch. */
import { z } from 'zod'
import { basename } from 'node:path'
import { configurable, type Configurable, type Part } from '../core/configurable.ts'
import type { TypedArray } from '../core/dtype.ts'
import { DataError, UsageError } from '../core/errors.ts'
import type { Plain } from '../core/plain.ts'
import { converted, filled, holds, requireColumns } from './array-columns.ts'
import { epochOrder } from './order.ts'
import type { DataRequest, HeldOut, OpenableData, OpenData } from './part.ts'
import type { Rows } from './rows.ts'
import { openArrayFiles } from './sources/rows/files.ts'
import type { Rows as ArrayRows } from './sources/rows/types.ts'

/** Of each column the rows that were asked for, one after another. */
export type ArrayBatch<N extends string> = { readonly [C in N]: TypedArray }

/** What goes for all forms of arrays. */
interface Common<N extends string> {
  /** What people are told that it is; the names of the files unless given. */
  readonly name?: string | undefined
  readonly licence?: string | undefined
  /** The column that says which rows count, with the model's `ignored` where one does not: `labels`, or `targets`, unless given. */
  readonly labels?: N | undefined
}
/** A file for each column, IDX or .npy, compressed by gzip or not. */
export interface ArrayFiles<N extends string> extends Common<NoInfer<N>> {
  readonly train: { readonly [C in N]: string }
  readonly heldOut?: { readonly [C in NoInfer<N>]: string } | undefined
}
/** Rows that are open and stay so, or what opens them, which are closed with the run. */
export type SomeRows<N extends string> = ArrayRows<N> | (() => ArrayRows<N> | Promise<ArrayRows<N>>)
export interface OpenedArrays<N extends string> extends Common<NoInfer<N>> {
  readonly train: SomeRows<N>
  readonly heldOut?: SomeRows<NoInfer<N>> | undefined
}

interface FilesConfig { readonly train: { readonly [column: string]: string }; readonly heldOut?: { readonly [column: string]: string } | undefined; readonly name?: string | undefined; readonly licence?: string | undefined; readonly labels?: string | undefined }
const file = z.string().min(1)
const filesSchema: z.ZodType<FilesConfig, FilesConfig> = z.strictObject({ train: z.record(z.string(), file), heldOut: z.record(z.string(), file).optional(), name: z.string().optional(), licence: z.string().optional(), labels: z.string().optional() })

interface Opened { readonly rows: ArrayRows; readonly close: () => Promise<void> }
const openFiles = async (files: { readonly [column: string]: string }): Promise<Opened> => {
  if (Object.keys(files).length === 0) throw new UsageError({ code: 'data', what: 'no file of arrays is named', fix: 'name one for each tensor that the model takes: train: { images: \'images.idx.gz\', labels: \'labels.idx.gz\' }' })
  const rows = await openArrayFiles(files)
  return { rows, close: () => rows.close() }
}
const openRows = async (given: SomeRows<string>): Promise<Opened> => {
  if (typeof given !== 'function') return { rows: given, close: () => Promise.resolve() }
  const rows = await given()
  return { rows, close: () => rows.close() }
}

const fromFiles: Configurable<FilesConfig, FilesConfig, OpenableData<ArrayBatch<string>>, void> = configurable({
  name: 'arrays', schema: filesSchema,
  build: ({ train, heldOut, ...config }) => opener({ train: () => openFiles(train), heldOut: heldOut === undefined ? undefined : () => openFiles(heldOut) }, { name: namesOf(train), ...config }),
})
const namesOf = (files: { readonly [column: string]: string }): string => Object.values(files).map(path => basename(path)).join(', ')

/**
 * Arrays as data: `arrayData({ train: { images: 'train-images-idx3-ubyte.gz', labels: 'train-labels-idx1-ubyte.gz' }, heldOut: { … } })`, files of IDX or .npy, or rows of any
 * kind that are open: `arrayData({ train: await openCsvRows('table.csv', { columns: { x: { from: 0, count: 4 }, y: { from: 4 } } }) })`. A model takes the columns by their
 * names, in its own dtypes. Each epoch has every row once, in an order drawn from seed and epoch; what is held out comes in its order, each row once: a last batch
 * that it does not fill is filled up with labels of the model's `ignored`, or left out where the model has none.
 */
export function arrayData<N extends string>(rows: OpenedArrays<N>): OpenableData<ArrayBatch<N>>
export function arrayData<N extends string>(files: ArrayFiles<N>): Part<OpenableData<ArrayBatch<N>>, void>
export function arrayData({ train, heldOut, ...config }: FilesConfig | OpenedArrays<string>): Part<OpenableData<ArrayBatch<string>>, void> | OpenableData<ArrayBatch<string>> {
  if (isRows(train)) return opener({ train: () => openRows(train), heldOut: heldOut === undefined ? undefined : () => openRows(heldOut as SomeRows<string>) }, config)
  return fromFiles({ train, heldOut: heldOut as FilesConfig['heldOut'], ...config })
}
const isRows = (x: FilesConfig['train'] | SomeRows<string>): x is SomeRows<string> => typeof x === 'function' || typeof x['read'] === 'function'

interface Openers { readonly train: () => Promise<Opened>; readonly heldOut: (() => Promise<Opened>) | undefined }

const opener = (openers: Openers, config: Common<string>): OpenableData<ArrayBatch<string>> => ({
  async open(request): Promise<OpenData<ArrayBatch<string>>> {
    const train = await openers.train()
    let held: Opened | undefined
    const close = async (): Promise<void> => { await train.close(); await held?.close() }
    try {
      held = await openers.heldOut?.()
      const part = basename(train.rows.name ?? 'rows')
      requireColumns(train.rows, request.fields)
      if (train.rows.count === 0) throw new DataError({ code: 'few-rows', what: 'the data has no rows', details: { in: part }, fix: 'give files with rows in them' })
      const place = epochOrder(train.rows.count, request.seed)
      const rowsOf = (step: number, { from, to }: Rows): number[] => Array.from({ length: to - from }, (_, i) => place(step * request.batch + from + i).row)
      return {
        batch: async (step, rows) => read(train.rows, rowsOf(step, rows), request),
        heldOut: held === undefined ? undefined : heldOutOf(held.rows, request, labelsOf(config, request)),
        identity: { train: await identityOf(train.rows), heldOut: held === undefined ? null : await identityOf(held.rows) },
        about: { name: config.name ?? part, licence: config.licence ?? 'your own', rows: train.rows.count },
        documentsOfStep: (step, rows = { from: 0, to: request.batch }) => rowsOf(step, rows).map(row => [{ store: part, document: row, from: 0, length: 1, source: { part, record: row, at: `${part} row ${row}` } }]),
        stepsFor: ({ epochs }) => Math.ceil(epochs * train.rows.count / request.batch),
        close,
      }
    } catch (e) {
      await close()
      throw e
    }
  },
})

/** The model's columns of some rows. */
async function read(rows: ArrayRows, wanted: readonly number[], { fields }: DataRequest): Promise<{ [column: string]: TypedArray }> {
  const found = await rows.read(wanted)
  return Object.fromEntries(Object.entries(fields).map(([path, { dtype, shape }]) => {
    const size = shape.reduce((n, d) => n * d, 1)
    return [path, converted(found[path] as TypedArray, rows.columns[path]?.dtype ?? dtype, dtype, i => `row ${wanted[Math.floor(i / size)]} of "${path}"`)]
  }))
}

/** The column that can say that a row does not count, of a model that leaves such rows out. */
function labelsOf({ labels }: Common<string>, { fields, ignored }: DataRequest): string | undefined {
  if (labels !== undefined && !Object.hasOwn(fields, labels)) throw new UsageError({ code: 'data', what: `data.labels is "${labels}", which the model does not take`, fix: `name one of ${Object.keys(fields).join(', ')}` })
  const name = labels ?? ['labels', 'targets'].find(column => Object.hasOwn(fields, column))
  const dtype = name === undefined ? undefined : fields[name]?.dtype
  return dtype !== undefined && ignored !== undefined && holds(dtype, ignored) ? name : undefined
}

function heldOutOf(rows: ArrayRows, request: DataRequest, labels: string | undefined): HeldOut<ArrayBatch<string>> {
  const { batch: size, ignored = 0, heldOut, fields } = request
  requireColumns(rows, fields)
  const batches = labels === undefined ? Math.floor(rows.count / size) : Math.ceil(rows.count / size)
  if (batches === 0) throw new DataError({ code: 'few-rows', what: `held out are ${rows.count} rows, and a batch has ${size}`, details: { in: rows.name ?? 'the rows' }, fix: 'hold out more, or ask for a smaller batch' })
  return {
    batches: Math.min(batches, heldOut), count: rows.count,
    source: {
      async batch(step, { from, to }) {
        const count = Math.max(0, Math.min(to, rows.count - step * size) - from)
        // Behind the last row the first one stands, since a model may not take everything, and does not count.
        const batch = await read(rows, Array.from({ length: to - from }, (_, i) => (i < count ? step * size + from + i : 0)), request)
        const label = labels === undefined ? undefined : batch[labels]
        if (labels !== undefined && label !== undefined && count < to - from) batch[labels] = filled(label.slice(), label.length / (to - from) * count, ignored)
        return batch
      },
    },
  }
}

/** What its numbers hang on: the same files, wherever they lie. */
const identityOf = async (rows: ArrayRows): Promise<Plain> =>
  ({ rows: rows.count, columns: Object.fromEntries(Object.entries(rows.columns).map(([name, { dtype, shape }]) => [name, `${dtype} [${shape.join(', ')}]`])), content: await rows.fingerprint?.() ?? null })
