/** A run's model, measured on what the run holds out, or on other files: each row once. */
import { join } from 'node:path'
import { isPart } from '../core/configurable.ts'
import { DataError, UsageError } from '../core/errors.ts'
import type { Layout, LayoutFrom } from '../core/layout.ts'
import { partsOf } from '../core/mesh.ts'
import { tokenBytes } from '../data/token-bytes.ts'
import { readTokenizer, type HeldOut, type OpenData, type Rows } from '../data/index.ts'
import { compile, fromFirst, leadersFirst, type Backend, type Tree } from '../engine/index.ts'
import { evaluated, WeightedMeans } from '../models/evaluation.ts'
import type { Model } from '../models/index.ts'
import { disposeAll, evaluateOn } from './evaluate.ts'
import type { TrainEvent } from './events.ts'
import { rowsHere } from './feed.ts'
import { loadMeasured, weightsOf } from './eval-weights.ts'
import type { Trainer } from './program.ts'
import { filesOfRun, layoutsOf, meshOfRun, modelOf, type Run } from './run.ts'
import { dataRequest, openData } from './session.ts'
import { requireSameData, requireSameRun } from './together.ts'

export interface EvalOptions {
  readonly backend: Backend
  /** The run's folder. */
  readonly folder: string
  /** Instead of what the run holds out: files, all of them, as tokens of the run's own tokenizer. */
  readonly files?: readonly string[] | undefined
  readonly tell: (event: TrainEvent) => void
  /** Hears after each batch how many of how many are done. */
  readonly onBatch?: (done: number, total: number) => void
  readonly signal?: AbortSignal | undefined
}

export interface Evaluated {
  /** What kind of data it was: that of the run. */
  readonly task: string
  /** Targets that count, of a model of tokens; examples of any other. */
  readonly tokens?: number
  readonly examples?: number
  readonly loss: number
  /** e to the loss. */
  readonly perplexity?: number
  /** The loss of all targets in bits, over the bytes of text that they stand for; where there is a tokenizer. */
  readonly bitsPerByte?: number
  readonly metrics: { readonly [name: string]: number }
  /** Where the weights come from. */
  readonly weights: string
}

/** Under MPI every rank calls it. @throws what is wrong with model, layout, data or weights */
export async function evaluateRun(run: Run, options: EvalOptions): Promise<Evaluated> {
  const { backend, folder, tell } = options
  const { processes } = backend
  await requireSameRun(processes, run, backend)
  const model = modelOf(run)
  const weights = await fromFirst(processes, 'the weights', () => weightsOf(folder, { copies: filesOfRun(run, model)?.naming.copies !== undefined }))
  const data = await openFor(run, model, options)
  try {
    await requireSameData(processes, data.identity)
    const held = run.heldOut === undefined || options.files !== undefined ? data.heldOut : { source: run.heldOut, batches: run.evaluation.batches }
    if (held === undefined) throw new UsageError({ code: 'no-held-out', what: 'the run holds nothing out', fix: 'give files to measure on: --data FILES' })
    return await measured(run, model, { ...options, weights, held, data, tell })
  } finally {
    await data.close?.()
  }
}

/** What is measured on, open. */
async function openFor(run: Run, model: Model<Tree, Tree>, { backend, folder, files, tell, signal }: EvalOptions): Promise<OpenData<unknown>> {
  // All that is held out, whatever an evaluation of the run sees of it.
  const all = { ...run, evaluation: { ...run.evaluation, batches: Number.MAX_SAFE_INTEGER } }
  if (files === undefined) return openData(all, model, { backend, tell, signal })
  const { data } = run
  const source = isPart(data) ? data.build() : data
  const { whole } = 'open' in source ? source : { whole: undefined }
  if (whole === undefined) throw new UsageError({ code: 'data', what: '--data: the data of this run does not come from files that could be others', fix: 'leave --data out, to measure on what the run holds out' })
  const tokenizer = join(folder, 'tokenizer.json')
  await readTokenizer(tokenizer)
  return leadersFirst(backend.processes, 'preparing the data', () => whole(files, tokenizer, dataRequest(all, model, { tell, signal })))
}

interface Job extends EvalOptions { readonly weights: string; readonly held: HeldOut<unknown>; readonly data: OpenData<unknown> }

async function measured(run: Run, model: Model<Tree, Tree>, job: Job): Promise<Evaluated> {
  const { held, data, weights } = job
  const size = run.batch
  // Where a target can be left out the last batch is filled up with such; else what is left of the rows is a batch of its own.
  const last = isPart(run.model) ? Math.max(0, (held.count ?? 0) - held.batches * size) : 0
  if (held.batches === 0 && last === 0) throw new DataError({ code: 'text-too-short', what: `the data has ${held.count ?? 0} rows, and the model takes ${size} at once`, fix: 'give more' })
  const count = counter(data.tokenizer === undefined ? undefined : tokenBytes(data.tokenizer), model.ignored)
  const means = new WeightedMeans()
  const total = held.batches + (last > 0 ? 1 : 0)
  if (held.batches > 0) await pass(run, model, job, { means, count, first: 0, batches: held.batches, total, share: 1 })
  if (last > 0) {
    const smaller = withBatch(run, last)
    await pass(smaller, modelOf(smaller), job, { means, count, first: held.batches, batches: 1, total, share: last / size })
  }
  const loss = means.mean('loss') ?? NaN
  const tokens = count.targets > 0 ? count.targets : Math.round(means.weight('loss'))
  const metrics = Object.fromEntries(means.names().filter(n => n !== 'loss').map(n => [n, means.mean(n) ?? NaN]))
  const task = isPart<unknown, never>(run.data) ? run.data.kind.name : 'own'
  if (model.tokensPerBatch === undefined) return { task, examples: tokens, loss, metrics, weights }
  return { task, tokens, loss, perplexity: Math.exp(loss), ...(count.bytes > 0 ? { bitsPerByte: loss * tokens / Math.LN2 / count.bytes } : {}), metrics, weights }
}

/** The same run of fewer rows, which need not be split: without rules for the batch where these do not divide it. */
function withBatch(run: Run, batch: number): Run {
  const mesh = meshOfRun(run)
  const fits = (rule: string | readonly string[] | undefined): boolean => batch % partsOf(mesh, [rule ?? []].flat()) === 0
  const without = <R extends Layout | LayoutFrom>(rules: R): R => (fits(rules['batch']) ? rules : Object.fromEntries(Object.entries(rules).filter(([dim]) => dim !== 'batch')) as R)
  return { ...run, batch, microbatches: 1, layout: without(run.layout), layouts: Object.fromEntries(Object.entries(run.layouts).map(([name, rules]) => [name, without(rules)])) }
}

interface Pass {
  readonly means: WeightedMeans
  readonly count: ReturnType<typeof counter>
  readonly first: number
  readonly batches: number
  readonly total: number
  /** Of a whole batch. */
  readonly share: number
}

/** Some batches, by a program for their size. */
async function pass(run: Run, model: Model<Tree, Tree>, { backend, weights, held, tell, onBatch }: Job, { means, count, first, batches, total, share }: Pass): Promise<void> {
  const mesh = meshOfRun(run)
  tell({ type: 'compiling', what: 'evaluation' })
  const evaluate = await compile(evaluated(model), [model.params, model.batch] as const, { mesh, backend, dims: model.dims, ...layoutsOf(run, model) })
  try {
    const [placements, batchPlacements] = evaluate.placements
    const params = await loadMeasured(weights, run, model, placements, backend, mesh)
    const all: Rows = { from: 0, to: run.batch }
    const rows = rowsHere(batchPlacements, mesh, backend)
    // A model that says no weight says it of a whole batch.
    const said = model.loss(model.params, model.batch).weight !== undefined
    try {
      const source = {
        batch: async (step: number, of: Rows): Promise<unknown> => {
          const batch = await held.source.batch(first + step, of)
          count.add(of.from === all.from && of.to === all.to ? batch : await held.source.batch(first + step, all))
          onBatch?.(first + step, total)
          return batch
        },
      }
      await evaluateOn(params, { model, evaluate: evaluate as unknown as Trainer<Tree, Tree>['evaluate'], rows, source, batches, means, share: said ? 1 : share })
    } finally {
      disposeAll(params)
    }
  } finally {
    evaluate.dispose()
  }
}

/** Counts targets and the bytes of text that they stand for, of batches that say which of their targets count. */
function counter(bytes: Uint32Array | undefined, ignored: number | undefined) {
  const counted = { targets: 0, bytes: 0 }
  return {
    get targets() { return counted.targets },
    get bytes() { return counted.bytes },
    add(batch: unknown): void {
      if (typeof batch !== 'object' || batch === null) return
      const { weights, labels, targets = labels } = batch as { readonly [field: string]: unknown }
      if (!(targets instanceof Int32Array)) return
      for (const [i, target] of targets.entries()) {
        if (target === ignored || (weights instanceof Float32Array && weights[i] === 0)) continue
        counted.targets++
        counted.bytes += bytes?.[target] ?? 0
      }
    },
  }
}
