/**
 * The loop. One step is under way while the next batch is made and the last step's numbers are read: the host is never what the devices wait for. All
 * processes run it alike; what one of them alone knows (a signal, a disk) is told to the others at the same place in each.
 */
import { anyOf, type Arrays, type Tree } from '../engine/index.ts'
import { MeshworkError } from '../core/errors.ts'
import { prefetch, type Prefetcher, type RowDocument } from '../data/index.ts'
import type { Clock } from './clock.ts'
import { disposeAll, evaluateOn } from './evaluate.ts'
import type { EvalRow, StepRow, TrainEvent } from './events.ts'
import { sourcesOf } from './feed.ts'
import { recently, type Progress } from './progress.ts'
import type { StateArrays, StepMetrics } from './program.ts'
import type { Session } from './session.ts'

/** Between two steps. */
export interface Point { readonly state: StateArrays<Tree>; readonly progress: Progress }

/** What keeps the states of a run, for a loop that has something to keep them in. */
export interface Keeper {
  /** Whether a checkpoint is due behind so many steps. */
  due(done: number): boolean
  /** Called once a step. */
  poll(): Promise<void>
  save(point: Point, heldOutLoss: number | undefined): Promise<void>
  /** The last checkpoint, and what was told since is taken back. */
  rewind(): Promise<Point>
}
export interface LoopOptions {
  /** Hears events in their order; the loop waits for it. */
  readonly tell: (event: TrainEvent) => Promise<void>
  readonly clock: Clock
  readonly keeper?: Keeper | undefined
  readonly signal?: AbortSignal | undefined
  /** Milliseconds for the last evaluation of a run that is asked to end. */
  readonly lastEvaluation?: () => number
}
export interface LoopResult extends Point {
  readonly losses: readonly number[]
  readonly evalLoss: number | undefined
  readonly stopped: boolean
}

interface Launched { readonly step: number; readonly batch: number; readonly since: number; readonly waited: number; readonly metrics: Arrays<StepMetrics> }
type Verdict = 'goes on' | 'rewind'

/** A step that a run must not go on from. */
export class BadStep extends MeshworkError {}

export class Loop {
  private readonly session: Session
  private readonly options: LoopOptions
  private state: StateArrays<Tree>
  private progress: Progress
  private batches: Prefetcher<unknown>
  private readonly losses: number[] = []
  private readonly stepTimes = new Map<number, number>()
  /** The step that the devices compute, whose numbers have not been read. */
  private underWay: Launched | undefined
  private lastRead = 0
  private evalLoss: number | undefined

  constructor(session: Session, from: Point, options: LoopOptions) {
    this.session = session
    this.options = options
    this.state = from.state
    this.progress = from.progress
    this.batches = this.batchesFrom(from.progress.batch)
  }

  /** Takes the state over, whatever becomes of it. @throws BadStep where the run's guard ends it; what data, devices and listeners throw */
  async run(): Promise<LoopResult> {
    const { run } = this.session
    const { keeper } = this.options
    try {
      let stop = await this.asked()
      while (this.progress.step < run.steps && !stop) {
        if (await this.launch() === 'rewind') { await this.rewind(); continue }
        stop = await this.asked()
        const done = this.progress.step
        const [last, evaluates, saves] = [done === run.steps, done % run.evaluation.every === 0, keeper?.due(done) === true]
        if (last || stop || evaluates || saves) {
          if (await this.finish() === 'rewind') { await this.rewind(); continue }
          // What was asked to end saves first what would be lost.
          if (stop) await this.save()
          if (last || stop || evaluates) await this.evaluate(stop)
          if (!stop && saves) await this.save()
        }
        await keeper?.poll()
      }
      return { state: this.state, progress: this.progress, losses: this.losses, evalLoss: this.evalLoss, stopped: this.progress.step < run.steps }
    } catch (e) {
      disposeAll(this.state)
      throw e
    } finally {
      if (this.underWay !== undefined) disposeAll(this.underWay.metrics)
      await this.batches.close()
    }
  }

  private batchesFrom(batch: number): Prefetcher<unknown> {
    const { data, rows } = this.session
    return prefetch(data, { from: batch, rows })
  }

  /** Processes hear of an interruption at different times: they stop after the same step. */
  private asked(also = true): Promise<boolean> {
    return anyOf(this.session.backend.processes, 'whether to stop', this.options.signal?.aborted === true && also)
  }

  private async launch(): Promise<Verdict> {
    const { model, trainer, rows } = this.session
    const { step, batch: next } = this.progress
    const { batch, waited } = await this.batches.next()
    this.options.clock.add('dataWait', waited)
    const result = await trainer.step(this.state as never, sourcesOf(model.batch, batch, rows) as never)
    this.state = result.state as StateArrays<Tree>
    this.progress = { ...this.progress, step: step + 1, batch: next + 1 }
    // The step before is looked at while the devices compute this one.
    return this.finish({ step, batch: next, since: performance.now(), waited, metrics: result.metrics as Arrays<StepMetrics> })
  }

  /** Waits for the step under way, tells how it went, and says whether the run may go on; another may have been launched behind it. */
  private async finish(next?: Launched): Promise<Verdict> {
    const last = this.underWay
    this.underWay = next
    if (last === undefined) return 'goes on'
    const { row, calm } = await this.read(last)
    this.losses.push(row.loss)
    this.stepTimes.set(row.step, row.time.stepMs)
    // The next batch was waited for meanwhile.
    this.options.clock.add('steps', Math.max(0, row.time.stepMs - (next?.waited ?? 0)))
    const { run } = this.session
    const overflowed = row.lossScale !== undefined && Number.isFinite(row.loss) && !Number.isFinite(row.gradNorm)
    const bad = !overflowed && !(calm ?? (Number.isFinite(row.loss) && Number.isFinite(row.gradNorm)))
    const skipped = overflowed || (bad && run.guard.policy === 'skip')
    await this.options.tell({ type: 'step', steps: run.steps, ...row, ...(skipped ? { skipped: true as const } : {}) })
    if (overflowed) await this.options.tell({ type: 'skipped', step: row.step, why: 'its gradients overflowed', ...(row.lossScale === undefined ? {} : { lossScale: row.lossScale }) })
    return bad ? this.judge(last, row) : 'goes on'
  }

  private async read({ step, since, waited, metrics }: Launched): Promise<{ readonly row: StepRow; readonly calm: boolean | undefined }> {
    const { model, flops, peak } = this.session
    try {
      const value = async (name: keyof StepMetrics): Promise<number> => await metrics[name]?.item() ?? NaN
      const [loss, gradNorm, updateNorm, paramNorm, learningRate] = [await value('loss'), await value('gradNorm'), await value('updateNorm'), await value('paramNorm'), await value('learningRate')]
      const lossScale = metrics.lossScale === undefined ? {} : { lossScale: await value('lossScale') }
      const calm = metrics.calm === undefined ? undefined : await value('calm') === 1
      const stepMs = performance.now() - Math.max(since, this.lastRead)
      this.lastRead = performance.now()
      const each = model.tokensPerBatch ?? model.itemsPerBatch
      const row: StepRow = {
        step, loss, gradNorm, updateNorm, paramNorm, learningRate, seen: (step + 1) * each, ...lossScale,
        time: { stepMs, dataWaitMs: waited, perSecond: each / stepMs * 1000, flopsPerSecond: flops / stepMs * 1000, ...(peak === undefined ? {} : { ofPeak: flops / stepMs * 1000 / peak }) },
      }
      return { row, calm }
    } finally {
      disposeAll(metrics)
    }
  }

  /** What becomes of a run with a bad step. */
  private async judge({ step, batch }: Launched, row: StepRow): Promise<Verdict> {
    const { guard } = this.session.run
    const why = !Number.isFinite(row.loss) ? `its loss is ${row.loss}` : !Number.isFinite(row.gradNorm) ? `the norm of its gradient is ${row.gradNorm}` : `its loss, ${row.loss.toPrecision(4)}, or its gradient, ${row.gradNorm.toPrecision(4)}, leaps`
    const documents = await this.documentsOf(batch)
    const named = documents === undefined ? {} : { documents }
    const bad = [...this.progress.bad.filter(b => b > step - recently), step]
    this.progress = { ...this.progress, bad }
    const stopping = guard.policy === 'stop' ? '' : guard.policy === 'skip' ? bad.length >= guard.limit ? `, and so were ${bad.length - 1} of the ${recently} before it` : undefined : this.progress.rewinds >= guard.limit ? `, after ${this.progress.rewinds} rewinds` : undefined
    if (stopping !== undefined) {
      throw new BadStep({
        code: 'bad-step', what: `step ${step + 1} is bad: ${why}${stopping}`, details: { batch: `${batch}`, ...documents === undefined ? {} : { documents: documents.join(', ') } },
        fix: guard.policy === 'stop' ? 'lower the learning rate, look at the documents, or let such steps be left out: --set guard.policy=skip, or rewind; the checkpoints of before are there' : 'lower the learning rate, or look at the documents',
      })
    }
    if (guard.policy === 'rewind') {
      this.rewound = { step, batch, why, ...named }
      return 'rewind'
    }
    await this.options.tell({ type: 'skipped', step, why, ...named })
    return 'goes on'
  }
  private rewound: { readonly step: number; readonly batch: number; readonly why: string; readonly documents?: readonly string[] } | undefined

  /** The names of the documents of a batch, where the data knows them. */
  private async documentsOf(batch: number): Promise<readonly string[] | undefined> {
    const { data } = this.session
    const found = await data.documentsOfStep?.(batch)
    return found === undefined ? undefined : documentNames(found)
  }

  /** Back to the last checkpoint, and on behind the bad batch. */
  private async rewind(): Promise<void> {
    const { keeper, clock, tell } = this.options
    const { rewound } = this
    if (keeper === undefined || rewound === undefined) throw new MeshworkError({ code: 'no-checkpoint', what: 'there is nothing to go back to: the run keeps no checkpoints', fix: 'use another guard.policy, or train into a folder' })
    if (this.underWay !== undefined) disposeAll(this.underWay.metrics)
    this.underWay = undefined
    disposeAll(this.state)
    await this.batches.close()
    const { state, progress } = await clock.time('restoring', () => keeper.rewind())
    this.state = state
    this.progress = { ...progress, batch: rewound.batch + 1, rewinds: progress.rewinds + 1 }
    for (let step = progress.step; step <= rewound.step; step++) clock.lose(this.stepTimes.get(step) ?? 0)
    this.losses.length = Math.max(0, this.losses.length - (rewound.step + 1 - progress.step))
    this.batches = this.batchesFrom(this.progress.batch)
    await tell({ type: 'rewind', to: progress.step, ...rewound, batch: this.progress.batch })
  }

  private async save(): Promise<void> {
    const { keeper, clock } = this.options
    await clock.time('checkpoints', async () => keeper?.save({ state: this.state, progress: this.progress }, this.evalLoss))
  }

  private async evaluate(ending: boolean): Promise<void> {
    const { clock, tell, lastEvaluation = () => longestLastEvaluation } = this.options
    const { run, model, trainer, rows, data } = this.session
    const held = run.heldOut === undefined ? data.heldOut : { source: run.heldOut, batches: run.evaluation.batches }
    if (held === undefined) return
    const start = performance.now()
    const most = ending ? lastEvaluation() : Infinity
    const means = await clock.time('evaluation', () => evaluateOn(this.state.params, {
      model, evaluate: trainer.evaluate, rows, ...held,
      // Who has asked for an end should not wait long for it: then the loss is of the held-out batches that there is time for.
      enough: () => this.asked(performance.now() - start > Math.min(most, longestLastEvaluation)),
    }))
    this.lastRead = performance.now()
    this.evalLoss = means.mean('loss') ?? NaN
    const metrics = Object.fromEntries(means.names().filter(n => n !== 'loss').map(n => [n, means.mean(n) ?? NaN]))
    const row: EvalRow = { step: this.progress.step - 1, evalLoss: this.evalLoss, metrics }
    await tell({ type: 'eval', ...row })
  }
}
const longestLastEvaluation = 5000

/** Documents of a step, each once, as a person finds them. */
export const documentNames = (rows: readonly (readonly RowDocument[])[], most = 20): readonly string[] => {
  const names = [...new Set(rows.flat().map(d => d.source?.at ?? `${d.store} document ${d.document}`))]
  return names.length > most ? [...names.slice(0, most), `and ${names.length - most} more`] : names
}
