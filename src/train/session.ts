/** A run that is open: its model on the devices, its data at hand, its programs compiled. */
import { isPart } from '../core/configurable.ts'
import type { Plain } from '../core/plain.ts'
import type { DataAbout, DataRequest, OpenData, Rows } from '../data/index.ts'
import { leadersFirst, type Backend, type Mesh, type Tree } from '../engine/index.ts'
import type { Model, ModelFiles } from '../models/index.ts'
import type { TrainEvent } from './events.ts'
import { rowFields, rowsHere } from './feed.ts'
import { stepFlops } from './flops.ts'
import { peakOf } from './peak.ts'
import { collectiveRows, deviceRows, parameterCount } from './plan-event.ts'
import { compileTrainer, type TrainerConfig, type Trainer } from './program.ts'
import { checkMicrobatches, checkPipeline, counted, filesOfRun, layoutsOf, meshOfRun, modelOf, optimizerOf, type CountedRun, type Run } from './run.ts'
import { requireSameData, requireSameRun } from './together.ts'

export interface Session {
  readonly run: CountedRun
  readonly model: Model<Tree, Tree>
  readonly mesh: Mesh
  readonly backend: Backend
  readonly data: OpenData<unknown>
  readonly trainer: Trainer<Tree, Tree>
  /** How other tools know the model, where they do. */
  readonly files: ModelFiles | undefined
  /** Those of a batch that this process's devices need. */
  readonly rows: Rows
  /** Of a training step. */
  readonly flops: number
  /** A second, of the best matrix multiplication on these devices; undefined where nobody asks for speed. */
  readonly peak: number | undefined
  close(): Promise<void>
}
export interface SessionOptions {
  readonly backend: Backend
  readonly tell: (event: TrainEvent) => void
  readonly signal?: AbortSignal | undefined
  /** Called with the run, its steps counted, and what its data says of itself, before anything is compiled. */
  readonly onData?: (run: CountedRun, identity: Plain | undefined) => Promise<void>
}

const stages = { count: 'data: counting words', learn: 'data: learning tokens', encode: 'data: encoding documents', finish: 'data: finishing the store' } as const

/** Opens a run's data as the model wants it. Every process of a host finds what the first one has prepared. */
export async function openData(run: Run, model: Pick<Model<Tree, Tree>, 'batch' | 'dims' | 'ignored'>, { backend: { processes }, tell, signal }: Pick<SessionOptions, 'tell' | 'signal'> & { readonly backend: Pick<Backend, 'processes'> }): Promise<OpenData<unknown>> {
  const { data } = run
  const source = isPart(data) ? data.build() : data
  // What the model takes is wrong whatever the data.
  rowFields(model.batch)
  if (!('open' in source)) return source
  return leadersFirst(processes, 'preparing the data', () => source.open(dataRequest(run, model, { tell, signal })))
}

/** What a run asks of its data. */
export const dataRequest = (run: Pick<Run, 'batch' | 'seed' | 'evaluation'>, model: Pick<Model<Tree, Tree>, 'batch' | 'dims' | 'ignored'>, { tell, signal }: Pick<SessionOptions, 'tell' | 'signal'>): DataRequest => ({
  batch: run.batch, seed: run.seed, fields: rowFields(model.batch), vocab: model.dims['vocab']?.size, ignored: model.ignored, heldOut: run.evaluation.batches, signal,
  ranks: { rank: 0, count: 1, exchange: async bytes => [await bytes] },
  onProgress: ({ stage, done, total }) => tell({ type: 'preparing', what: stages[stage], done, total }), onNote: text => tell({ type: 'note', text }),
})

/** What the trainer is compiled with. */
export const trainerConfig = (run: Run): TrainerConfig => ({
  seed: run.seed, remat: run.remat, microbatches: run.microbatches, optimizer: optimizerOf(run), slots: run.slots, norms: true,
  ...(run.precision.compute === 'f16' ? { lossScaling: run.precision.lossScale } : {}),
  // Whatever the policy, so that a run goes on from its checkpoints with another one.
  guard: { deviations: run.guard.spike ?? undefined, over: run.guard.over, after: run.guard.after, undo: run.guard.policy === 'skip' },
})

/** Opens data and compiles programs. @throws what is wrong with any of them, and leaves nothing behind */
export async function openSession(given: Run, options: SessionOptions): Promise<Session> {
  const { backend, tell } = options
  const mesh = meshOfRun(given)
  const model = modelOf(given)
  checkMicrobatches(given)
  checkPipeline(given, model)
  await requireSameRun(backend.processes, given, backend)
  const data = await openData(given, model, options)
  try {
    const run = counted(given, model, data)
    await requireSameData(backend.processes, data.identity)
    await options.onData?.(run, data.identity)
    const where = { mesh, backend, dims: model.dims, ...layoutsOf(run, model) }
    // Counted while the step is compiled: it traces the model anew.
    let flops = NaN
    const trainer = await compileTrainer(model, trainerConfig(run), where, {
      onCompile: what => tell({ type: 'compiling', what }),
      onPlan: step => {
        flops = stepFlops(model)
        tell({
          type: 'plan', mesh: mesh.axes.map(({ name, size }) => ({ name, size })), backend: backend.description, data: data.about ?? unknown,
          parameters: parameterCount(step), flops, unit: model.tokensPerBatch === undefined ? 'examples' : 'tokens', devices: deviceRows(step, mesh, run.batch), collectives: collectiveRows(step),
        })
      },
    })
    const peak = await peakOf(backend, mesh, run.precision.compute, () => tell({ type: 'compiling', what: 'the best matrix multiplication, to compare with' }))
    const close = async (): Promise<void> => {
      for (const program of [trainer.init, trainer.step, trainer.evaluate, trainer.averages]) program?.dispose()
      await data.close?.()
    }
    return { run, model, mesh, backend, data, trainer, files: filesOfRun(run, model), rows: rowsHere(trainer.step.placements[1], mesh, backend), flops, peak, close }
  } catch (e) {
    await data.close?.()
    throw e
  }
}
const unknown: DataAbout = { name: 'a source of its own', licence: 'your own' }
