/** Batches of stores: a pure function of step and rows, in any thread. */
import type { Rows } from '../rows.ts'
import { epochOrder, mixture, type Drawn, type Place } from '../order.ts'
import { causalBatch, prefixBatch, type CausalBatch, type PrefixBatch } from '../tasks/causal.ts'
import { maskedBatch, type MaskedBatch, type MaskedTask } from '../tasks/masked.ts'
import { drawsOf } from '../tasks/random.ts'
import type { RowTokens } from '../tasks/rows.ts'
import { spanBatch, spanShape, type SpanBatch, type SpanTask } from '../tasks/spans.ts'
import { TokenReader, type TokenFiles } from './reader.ts'
import { readRow, type RowRange, type RowTable } from './row-table.ts'

/**
 * Where batches come from; a user's own is this one function. `rows` are those of the global batch that are asked for: what a row holds hangs on the step
 * and the row alone, so that any mesh, any number of processes and any resumed run see the same.
 */
export interface DataSource<B> { batch(step: number, rows: Rows): B | Promise<B> }

/** What is to be learnt. */
export type Task = { readonly kind: 'causal' } | { readonly kind: 'prefix' } | MaskedTask | SpanTask
export interface Batches { readonly causal: CausalBatch; readonly prefix: PrefixBatch; readonly masked: MaskedBatch; readonly spans: SpanBatch }
export type TaskKind = keyof Batches
export type AnyBatch = Batches[TaskKind]

/** A source as plain data: what a thread makes it from. */
export interface SourceSpec {
  readonly stores: readonly { readonly files: TokenFiles; readonly table: RowTable; readonly range: RowRange }[]
  readonly shares: readonly number[]
  /** Rows of a step, in all. */
  readonly batch: number
  readonly seq: number
  readonly seed: number
  /** `fixed`: the first store's rows as they are, each once, then empty ones. */
  readonly order: 'drawn' | 'fixed'
  readonly task: Task
  readonly ids: { readonly pad: number; readonly end: number; readonly mask: number; readonly vocab: number; readonly kept: readonly number[]; readonly sentinels: readonly number[]; readonly ignored?: number }
}

/** A row of a step: the store, and the place in it. */
export interface RowPlace extends Drawn, Place {}

/** Where each row of a step comes from; undefined behind the end of a fixed order. */
export function placesOfSteps({ stores, shares, batch, seed, order }: SourceSpec): (step: number, row: number) => RowPlace | undefined {
  const counts = stores.map(s => s.range.rows)
  const firsts = stores.map(s => s.range.from)
  if (order === 'fixed') {
    return (step, row) => {
      const nth = step * batch + row
      return nth < (counts[0] as number) ? { source: 0, nth, epoch: 0, row: nth + (firsts[0] as number) } : undefined
    }
  }
  const draw = shares.length === 1 ? (nth: number): Drawn => ({ source: 0, nth }) : mixture(shares)
  const orders = counts.map((rows, i) => (shares[i] === 0 ? undefined : epochOrder(rows, seed + i)))
  return (step, row) => {
    const drawn = draw(step * batch + row)
    const place = orders[drawn.source]?.(drawn.nth)
    return place === undefined ? undefined : { ...drawn, ...place, row: place.row + (firsts[drawn.source] as number) }
  }
}

type Make = (rows: readonly RowTokens[], spec: SourceSpec) => AnyBatch
const makers: { readonly [K in TaskKind]: Make } = {
  causal: (rows, { seq, ids }) => causalBatch(rows, seq, ids.pad),
  prefix: (rows, { seq, ids }) => prefixBatch(rows, seq, ids.pad),
  masked: (rows, { seq, ids, task }) => maskedBatch(rows, seq, ids.pad, task as MaskedTask, { mask: ids.mask, vocab: ids.vocab, kept: new Set(ids.kept) }),
  spans: (rows, { seq, ids, task }) => spanBatch(rows, seq, ids.pad, task as SpanTask, ids.sentinels, ids.end),
}

/** Where a place does not count, its target says so, too. */
function withIgnored(batch: AnyBatch, { ids: { ignored } }: SourceSpec): AnyBatch {
  const targets = 'labels' in batch ? batch.labels : batch.targets
  if (ignored !== undefined) batch.weights.forEach((w, i) => { if (w === 0) targets[i] = ignored })
  return batch
}

export interface SourceReader { batch(step: number, rows: Rows): AnyBatch; close(): void }

export function openReader(spec: SourceSpec): SourceReader {
  const at = placesOfSteps(spec)
  const readers: (TokenReader | undefined)[] = []
  return {
    batch(step, { from, to }) {
      const rows: RowTokens[] = []
      for (let r = from; r < to; r++) {
        const place = at(step, r)
        const store = place === undefined ? undefined : spec.stores[place.source]
        if (place === undefined || store === undefined) {
          rows.push({ segments: [], draws: () => drawsOf(0) })
          continue
        }
        const reader = readers[place.source] ??= new TokenReader(store.files)
        rows.push(readRow(store.table, reader, place.row, () => drawsOf(spec.seed, place.source, place.epoch, place.row, 3)))
      }
      return withIgnored(makers[spec.task.kind](rows, spec), spec)
    },
    close() { for (const reader of readers.splice(0)) reader?.close() },
  }
}

/** The arrays of a batch of so many rows, in their order in shared memory. */
export function fieldsOf({ task, seq }: SourceSpec, rows: number): readonly { readonly name: string; readonly type: 'i32' | 'f32'; readonly length: number }[] {
  const n = rows * seq
  if (task.kind === 'spans') {
    const targets = rows * spanShape(seq, task).targets
    return [
      { name: 'source', type: 'i32', length: n }, { name: 'sourceWeights', type: 'f32', length: n },
      { name: 'target', type: 'i32', length: targets }, { name: 'labels', type: 'i32', length: targets }, { name: 'weights', type: 'f32', length: targets },
    ]
  }
  const names = ['tokens', 'targets', 'weights', 'segments', 'positions', ...task.kind === 'prefix' ? ['prefix'] : []]
  return names.map(name => ({ name, type: name === 'weights' ? 'f32' : 'i32', length: n }))
}

/** A batch to make, and where to put it. */
export interface BatchJob { readonly step: number; readonly rows: Rows; readonly into: SharedArrayBuffer }

/** What a worker thread does: makes a batch and puts it into shared memory. */
export function batchMaker(spec: SourceSpec): (job: BatchJob) => null {
  const reader = openReader(spec)
  return ({ step, rows, into }) => {
    const batch = reader.batch(step, rows) as unknown as { readonly [field: string]: Int32Array | Float32Array }
    let at = 0
    for (const { name, type, length } of fieldsOf(spec, rows.to - rows.from)) {
      const field = batch[name]
      if (field === undefined || field.length !== length) throw new Error(`the batch has no ${name} of ${length}`)
      if (type === 'i32') new Int32Array(into, at, length).set(field)
      else new Float32Array(into, at, length).set(field)
      at += 4 * length
    }
    return null
  }
}
