/** Training: data, programs, the loop, and the folder that remains. */
import { join } from 'node:path'
import { setImmediate as breathe } from 'node:timers/promises'
import { writeFileAtomic } from '../io/atomic.ts'
import { saveWeights } from '../checkpoint/weights.ts'
import { loadDataset, writeTokenizer, type Dataset, type TextFile } from '../data/index.ts'
import { anyOf, fromFirst, leadersFirst, mesh as meshOf, MeshArray, type Arrays, type Backend, type Layouts, type Mesh } from '../engine/index.ts'
import { treeOps } from '../core/tree.ts'
import { gpt, WeightedMeans, type Gpt, type GptBatch, type GptParams } from '../models/index.ts'
import { createFolder, type FolderChoice, type RunFolder } from './folder.ts'
import type { EvalRow, StepRow, TrainEvent } from './events.ts'
import { collectiveRows, deviceRows, parameterCount } from './plan-event.ts'
import { compileTrainer, type StateArrays, type StepPlan, type StepResult, type Trainer } from './program.ts'
import type { Run } from './run.ts'
import { requireSameData, requireSameRun, rowsHere, sources } from './together.ts'

export interface TrainOptions {
  readonly backend: Backend
  /** Where the run is written; nothing is, where there is none. */
  readonly folder?: FolderChoice
  /** Once aborted, what the devices have been given is finished and what a normal end writes is written; before the first step, nothing is. */
  readonly signal?: AbortSignal
  readonly onEvent?: (event: TrainEvent) => void
  /** The run's `data`, where some of it was read before: a pipe gives its text only once. */
  readonly texts?: readonly TextFile[]
}
export interface TrainResult {
  /** The run folder, where one was written. */
  readonly folder: string | undefined
  readonly steps: number
  readonly stopped: boolean
  readonly losses: readonly number[]
  readonly evalLoss: number | undefined
  /** Live buffers of the backend before the state was freed and after. */
  readonly liveAfter: number
}

const stages = { count: 'data: counting words', learn: 'data: learning tokens', encode: 'data: encoding documents' } as const
const arrays = treeOps((x): x is MeshArray => x instanceof MeshArray, 'an array')

interface Launched { readonly step: number; readonly since: number; readonly metrics: Metrics }
type Metrics = Arrays<StepResult<GptParams>['metrics']>
const disposeAll = (tree: unknown): void => { for (const { leaf } of arrays.flatten(tree)) leaf.dispose() }

/** The model of a run. */
export const modelOf = (run: Run): Gpt => gpt(run.model, run.batch, run.precision)
/** The layouts of a run, and the names that its model uses. */
export const layoutsOf = ({ layout, params, state, layouts }: Run, model: Gpt): Layouts => ({ layout, params, state, layouts, uses: model.layouts })
/** The mesh of a run. */
export const meshOfRun = (run: Run): Mesh => meshOf(run.mesh)

/**
 * Trains a run. Under MPI every rank calls it with the same run: each reads and saves what its own device holds, all are told of the
 * events, and rank 0 writes what is one for all.
 */
export async function train(run: Run, { backend, folder, signal, onEvent = () => {}, texts = run.data }: TrainOptions): Promise<TrainResult> {
  const mesh = meshOfRun(run)
  const model = modelOf(run)
  const shape = { batch: run.batch, seq: run.model.seq }
  const { processes } = backend
  await requireSameRun(processes, run, backend)
  const data = await leadersFirst(processes, 'preparing the data', () => loadDataset({
    files: texts, vocab: run.model.vocab, shape,
    onProgress: ({ stage, done, total }) => onEvent({ type: 'preparing', what: stages[stage], done, total }),
  }))
  await requireSameData(processes, data)
  if (data.cacheProblem !== undefined) onEvent({ type: 'warning', text: data.cacheProblem.message })
  const where = { mesh, backend, dims: model.dims, ...layoutsOf(run, model) }
  const { rate, clip, ...rest } = run.optimizer
  const trainer = await compileTrainer(model, {
    seed: run.seed, remat: run.remat, microbatches: run.microbatches, stateDtype: run.precision.state,
    ...(run.precision.compute === 'f16' ? { lossScaling: run.precision.lossScale } : {}),
    optimizer: { ...rest, clip, peak: rate, steps: run.steps },
  }, where, {
    onCompile: what => onEvent({ type: 'compiling', what }),
    onPlan: step => onEvent(planEvent(step, mesh, model, data, backend)),
  })
  const rows = rowsHere(trainer.step.placements[1].tokens, mesh, backend)
  const batches = data.train.batches({ ...shape, seed: run.seed, rows })
  const held = data.heldOut.batches({ ...shape, atMost: run.evalBatches, rows })

  const losses: number[] = []
  // Processes hear of an interruption at different times: they stop after the same step.
  const stopped = (also = true): Promise<boolean> => anyOf(processes, 'whether to stop', signal?.aborted === true && also)
  let evalLoss: number | undefined
  /** In rank 0 only. */
  let out: RunFolder | undefined
  let saved: string | undefined
  let state: StateArrays<GptParams> | undefined
  /** The step that the devices compute, whose metrics have not been read. */
  let underWay: Launched | undefined
  let lastRead = 0
  /** Waits for the step under way, and says how it went; another may have been launched behind it. */
  const finish = async (next?: Launched): Promise<void> => {
    const last = underWay
    underWay = next
    if (last === undefined) return
    const { step, since, metrics } = last
    const { loss, gradNorm, learningRate, lossScale } = metrics
    let row: StepRow
    try {
      row = {
        step, loss: await loss.item(), gradNorm: await gradNorm.item(), learningRate: await learningRate.item(), tokens: (step + 1) * model.tokensPerBatch,
        stepMs: performance.now() - Math.max(since, lastRead), ...(lossScale === undefined ? {} : { lossScale: await lossScale.item() }),
      }
    } finally {
      disposeAll(metrics)
    }
    lastRead = performance.now()
    if (row.lossScale !== undefined && !Number.isFinite(row.gradNorm)) onEvent({ type: 'skipped', step, lossScale: row.lossScale })
    if (!Number.isFinite(row.loss) && losses.every(Number.isFinite)) onEvent({ type: 'warning', text: `the loss of step ${step + 1} is ${row.loss}: the run diverged. Try a lower optimizer.rate` })
    losses.push(row.loss)
    await out?.step(row)
    onEvent({ type: 'step', steps: run.steps, ...row })
  }
  try {
    state = await trainer.init(run.seed) as StateArrays<GptParams>
    // The loop turns, once to its end and once through, so that a signal that came while programs were compiled is heard before there is anything to lose.
    for (let turn = 0; turn < 2; turn++) await breathe()
    onEvent({ type: 'started', steps: run.steps })
    // Only now: what fails before leaves no folder behind.
    let stop = await stopped()
    const path = folder === undefined || stop ? undefined : await fromFirst(processes, 'the run folder', async () => {
      out = await createFolder(folder, run)
      return out.path
    })
    for (let step = 0; step < run.steps && !stop; step++) {
      const result = await trainer.step(state, sources(batches.batch(step), rows, run.model.seq))
      state = result.state as StateArrays<GptParams>
      // The step before is looked at, and the next batch made, while the devices compute this one.
      await finish({ step, since: performance.now(), metrics: result.metrics as Metrics })
      stop = await stopped()
      if (step + 1 === run.steps || stop || (step + 1) % run.evalEvery === 0) {
        await finish()
        const evaluated: EvalRow = { step, evalLoss: await evaluate(trainer, state, held.map(b => sources(b, rows, run.model.seq)), stopped) }
        evalLoss = evaluated.evalLoss
        await out?.evaluated(evaluated)
        onEvent({ type: 'eval', ...evaluated })
      }
    }
    if (path !== undefined && losses.length > 0) {
      if (out !== undefined) await writeDescription(path, run, data)
      await saveWeights(join(path, 'model.safetensors'), arrays.flatten(state.params).map(({ path: name, leaf }) => ({ path: name, value: leaf })), processes)
      onEvent({ type: 'saved', folder: path })
      saved = path
    }
  } finally {
    await (losses.length === 0 ? out?.discard() : out?.close())
    for (const tree of [state, underWay?.metrics]) if (tree !== undefined) disposeAll(tree)
    for (const program of [trainer.init, trainer.step, trainer.evaluate]) program.dispose()
  }
  return {
    folder: saved, steps: losses.length, stopped: losses.length < run.steps, losses, evalLoss, liveAfter: backend.liveBuffers(),
  }
}

/** Who has asked for an end should not wait long for it: then the loss is of the held-out batches that there is time for. */
const longestLastEvaluation = 5000

async function evaluate(
  trainer: Trainer<GptParams, GptBatch>, state: StateArrays<GptParams>, batches: readonly ReturnType<typeof sources>[], stopped: (also: boolean) => Promise<boolean>,
): Promise<number> {
  const start = performance.now()
  const means = new WeightedMeans()
  const add = async (found: Evaluated): Promise<void> => {
    for (const [name, { value, weight }] of Object.entries(found)) means.add(name, { value: await value.item(), weight: await weight.item() })
    disposeAll(found)
  }
  let underWay: Evaluated | undefined
  for (const { tokens, targets } of batches) {
    const before = underWay
    underWay = await trainer.evaluate(state.params, { tokens, targets }) as Evaluated
    if (before !== undefined) await add(before)
    if (await stopped(performance.now() - start > longestLastEvaluation)) break
  }
  if (underWay !== undefined) await add(underWay)
  return means.mean('loss') ?? NaN
}
type Evaluated = { readonly [name: string]: { readonly value: MeshArray; readonly weight: MeshArray } }

async function writeDescription(folder: string, run: Run, data: Dataset): Promise<void> {
  await writeTokenizer(join(folder, 'tokenizer.json'), data.tokenizer)
  await writeFileAtomic(join(folder, 'config.json'), `${JSON.stringify({ architecture: 'gpt', ...run.model }, null, 2)}\n`)
}

const planEvent = (step: StepPlan<GptParams, GptBatch>, mesh: Mesh, model: Gpt, data: Dataset, backend: Backend): TrainEvent => ({
  type: 'plan', mesh: mesh.axes.map(({ name, size }) => ({ name, size })), backend: backend.description,
  data: { name: data.name, licence: data.licence ?? 'your own', tokens: data.train.tokens.length, heldOut: data.heldOut.tokens.length, vocab: data.tokenizer.vocab },
  parameters: parameterCount(step), devices: deviceRows(step, mesh, model.dims.batch), collectives: collectiveRows(step),
})
