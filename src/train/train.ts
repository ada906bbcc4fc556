/** Training: data, programs, the loop, and the folder that remains. */
import { join } from 'node:path'
import { writeFileAtomic } from '../core/atomic.ts'
import { saveWeights } from '../checkpoint/weights.ts'
import { loadDataset, writeTokenizer, type Dataset } from '../data/index.ts'
import { mesh as meshOf, MeshArray, type Backend, type Mesh, type Plan } from '../engine/index.ts'
import { treeOps } from '../core/tree.ts'
import { gpt, type Gpt, type GptBatch, type GptParams } from '../models/index.ts'
import { createFolder, type FolderChoice, type RunFolder } from './folder.ts'
import type { EvalRow, TrainEvent } from './events.ts'
import { collectiveRows, deviceRows, parameterCount } from './plan-event.ts'
import { compileTrainer, type StateArrays, type Trainer } from './program.ts'
import type { Run } from './run.ts'

export interface TrainOptions {
  readonly backend: Backend
  /** Where the run is written; nothing is, where there is none. */
  readonly folder?: FolderChoice
  /** Once aborted, the step under way is finished and what a normal end writes is written; before the first step, nothing is. */
  readonly signal?: AbortSignal
  readonly onEvent?: (event: TrainEvent) => void
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

/** The model of a run. */
export const modelOf = (run: Run): Gpt => gpt(run.model, run.batch)
/** The mesh of a run. */
export const meshOfRun = (run: Run): Mesh => meshOf(run.mesh)

export async function train(run: Run, { backend, folder, signal, onEvent = () => {} }: TrainOptions): Promise<TrainResult> {
  const mesh = meshOfRun(run)
  const model = modelOf(run)
  const shape = { batch: run.batch, seq: run.model.seq }
  const data = await loadDataset({
    files: run.data, vocab: run.model.vocab, shape,
    onProgress: ({ stage, done, total }) => onEvent({ type: 'preparing', what: stages[stage], done, total }),
  })
  if (data.cacheProblem !== undefined) onEvent({ type: 'warning', text: data.cacheProblem.message })
  const batches = data.train.batches({ ...shape, seed: run.seed })
  const held = data.heldOut.batches({ ...shape, atMost: run.evalBatches })
  const where = { mesh, backend, dims: model.dims, layout: run.layout, params: run.params, state: run.state }
  const { rate, clip, ...rest } = run.optimizer
  const trainer = await compileTrainer(model, {
    seed: run.seed, remat: run.remat, optimizer: { ...rest, clip, peak: rate, steps: run.steps },
  }, where, {
    onCompile: what => onEvent({ type: 'compiling', what }),
    onPlan: step => onEvent(planEvent(step, mesh, run, data, backend)),
  })

  const losses: number[] = []
  const stopped = (): boolean => signal?.aborted === true
  let evalLoss: number | undefined
  let out: RunFolder | undefined
  let state: StateArrays<GptParams> | undefined
  try {
    state = await trainer.init(run.seed) as StateArrays<GptParams>
    onEvent({ type: 'started', steps: run.steps })
    // Only now: what fails before leaves no folder behind.
    if (folder !== undefined && !stopped()) out = await createFolder(folder, run)
    for (let step = 0; step < run.steps && !stopped(); step++) {
      const start = performance.now()
      const { tokens, targets } = batches.batch(step)
      const result = await trainer.step(state, { tokens, targets })
      state = result.state as StateArrays<GptParams>
      const { loss, gradNorm, learningRate } = result.metrics
      const row = {
        step, loss: await loss.item(), gradNorm: await gradNorm.item(), learningRate: await learningRate.item(),
        tokens: (step + 1) * model.tokensPerBatch, stepMs: performance.now() - start,
      }
      for (const m of [loss, gradNorm, learningRate]) m.dispose()
      if (!Number.isFinite(row.loss) && losses.every(Number.isFinite)) onEvent({ type: 'warning', text: `the loss of step ${step + 1} is ${row.loss}: the run diverged. Try a lower optimizer.rate` })
      losses.push(row.loss)
      await out?.step(row)
      onEvent({ type: 'step', steps: run.steps, ...row })
      if (step + 1 === run.steps || stopped() || (step + 1) % run.evalEvery === 0) {
        const evaluated: EvalRow = { step, evalLoss: await evaluate(trainer, state, held, stopped) }
        evalLoss = evaluated.evalLoss
        await out?.evaluated(evaluated)
        onEvent({ type: 'eval', ...evaluated })
      }
    }
    if (out !== undefined && losses.length > 0) {
      await writeResults(out, run, data, state)
      onEvent({ type: 'saved', folder: out.path })
    }
  } finally {
    await (losses.length === 0 ? out?.discard() : out?.close())
    for (const { leaf } of state === undefined ? [] : arrays.flatten(state)) leaf.dispose()
    for (const program of [trainer.init, trainer.step, trainer.evaluate]) program.dispose()
  }
  return {
    folder: losses.length === 0 ? undefined : out?.path, steps: losses.length, stopped: losses.length < run.steps, losses, evalLoss, liveAfter: backend.liveBuffers(),
  }
}

/** Who has asked for an end should not wait long for it: then the loss is of the held-out batches that there is time for. */
const longestLastEvaluation = 5000

async function evaluate(
  trainer: Trainer<GptParams, GptBatch>, state: StateArrays<GptParams>, batches: readonly { readonly tokens: Int32Array; readonly targets: Int32Array }[], stopped: () => boolean,
): Promise<number> {
  const start = performance.now()
  let [sum, count] = [0, 0]
  for (const { tokens, targets } of batches) {
    const loss = await trainer.evaluate(state.params, { tokens, targets }) as MeshArray
    sum += await loss.item()
    loss.dispose()
    count++
    if (stopped() && performance.now() - start > longestLastEvaluation) break
  }
  return sum / count
}

async function writeResults(out: RunFolder, run: Run, data: Dataset, state: StateArrays<GptParams>): Promise<void> {
  await writeTokenizer(join(out.path, 'tokenizer.json'), data.tokenizer)
  await writeFileAtomic(join(out.path, 'config.json'), `${JSON.stringify({ architecture: 'gpt', ...run.model }, null, 2)}\n`)
  await saveWeights(join(out.path, 'model.safetensors'), arrays.flatten(state.params).map(({ path, leaf }) => ({ path, value: leaf })))
}

const planEvent = (step: Plan, mesh: Mesh, run: Run, data: Dataset, backend: Backend): TrainEvent => ({
  type: 'plan', mesh: mesh.axes.map(({ name, size }) => ({ name, size })), backend: backend.description,
  data: { name: data.name, licence: data.licence ?? 'your own', tokens: data.train.tokens.length, heldOut: data.heldOut.tokens.length, vocab: data.tokenizer.vocab },
  parameters: parameterCount(step), devices: deviceRows(step, mesh, run.batch), collectives: collectiveRows(step),
})
