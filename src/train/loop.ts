/**
 * The loop. One step is under way while the next batch is made and the last step's numbers are read: the host is never what the devices wait for. All
 * processes run it alike; what one of them alone knows (a signal, a disk) is told to the others at the same place in each.
 */
import { flagsOf, type Arrays, type Tree } from '../engine/index.ts'
import { MeshworkError } from '../core/errors.ts'
import { prefetch, type HeldOut, type Prefetcher, type RowDocument, type Taken } from '../data/index.ts'
import type { Clock } from './clock.ts'
import { disposeAll, evaluateOn, withWeights } from './evaluate.ts'
import type { EvalRow, StepRow, TrainEvent } from './events.ts'
import { sourcesOf } from './feed.ts'
import { recently, type Progress } from './progress.ts'
import type { StateArrays, StepMetrics } from './program.ts'
import type { Session } from './session.ts'

/** Between two steps. */
export interface Point { readonly state: StateArrays<Tree>; readonly progress: Progress }

/** What keeps the states of a run, for a loop that has something to keep them in. */
export interface Keeper {
  /** Whether a checkpoint is due behind so many steps, `evaluated` or not. */
  due(done: number, evaluated: boolean): boolean
  /** Called once a step. */
  poll(): Promise<void>
  save(point: Point, heldOutLoss: number | undefined): Promise<void>
  /** The last checkpoint, and what was told since is taken back. */
  rewind(): Promise<Point>
}
export type Between = (step: number, params: Arrays<Tree>) => Promise<void>
/** Writes texts between steps; see `sample.every`. All processes call it. */
export interface Sampler {
  /** The text that the model writes behind so many steps; undefined where the run was asked to end meanwhile. The parameters are its own until it returns. */
  write(step: number, params: Arrays<Tree>): Promise<string | undefined>
  close(): Promise<void>
}
export interface LoopOptions {
  /** Hears events in their order; the loop waits for it. */
  readonly tell: (event: TrainEvent) => Promise<void>
  readonly clock: Clock
  readonly keeper?: Keeper | undefined
  readonly signal?: AbortSignal | undefined
  /** Whether a checkpoint is wanted behind the next step; asked once for each. */
  readonly saveNow?: (() => boolean) | undefined
  /** Something else that the devices do between two steps: it is given the parameters behind so many steps, which are its own until it returns. */
  readonly between?: Between | undefined
  /** What writes the texts that the run's `sample.every` asks for. */
  readonly sampler?: Sampler | undefined
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
/** What the processes tell each other once a step. */
const [stops, saves] = [1, 2]

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
  /** Behind which step the run was when this loop took it over, and where it was saved last. */
  private readonly began: number
  private saved: number
  /** Whether somebody wants a checkpoint, due or not. */
  private saveWanted = false
  /** What a last evaluation of a run that was asked to end has found of it. */
  private evalLoss: number | undefined

  constructor(session: Session, from: Point, options: LoopOptions) {
    this.session = session
    this.options = options
    this.state = from.state
    this.progress = from.progress
    this.began = this.saved = from.progress.step
    this.evalLoss = from.progress.evaluated?.loss
    this.batches = this.batchesFrom(from.progress.batch)
  }

  /** Takes the state over, whatever becomes of it. @throws BadStep where the run's guard ends it; what data, devices and listeners throw */
  async run(): Promise<LoopResult> {
    const { run } = this.session
    const { keeper } = this.options
    try {
      let stop = await this.asked()
      for (;;) {
        const { step } = this.progress
        const last = step >= run.steps
        const evaluates = this.evaluationDue()
        const isDue = step > this.saved && (this.saveWanted || keeper?.due(step, evaluates) === true)
        this.saveWanted = false
        const samples = this.sampleDue()
        if (last || stop || evaluates || isDue || samples) {
          if (await this.finish() === 'rewind') { await this.rewind(); continue }
          if (evaluates && !stop) stop = !await this.evaluate()
          // What was asked to end saves first what would be lost.
          if (isDue || (stop && step > this.saved)) await this.save()
          if (samples && !stop) await this.sample()
          if (stop && step > this.began && this.progress.evaluated?.step !== step) await this.evaluate(true)
        }
        await keeper?.poll()
        if (last || stop) break
        await this.options.between?.(step, this.state.params as Arrays<Tree>)
        const batch = await this.nextBatch()
        stop = await this.asked()
        if (!stop && batch !== undefined && await this.launch(batch) === 'rewind') await this.rewind()
      }
      return { state: this.state, progress: this.progress, losses: this.losses, evalLoss: this.evalLoss, stopped: this.progress.step < run.steps || this.evaluationDue() }
    } catch (e) {
      disposeAll(this.state)
      throw e
    } finally {
      if (this.underWay !== undefined) disposeAll(this.underWay.metrics)
      await this.batches.close()
    }
  }

  private get heldOut(): HeldOut<unknown> | undefined {
    const { run, data } = this.session
    return run.heldOut === undefined ? data.heldOut : { source: run.heldOut, batches: run.evaluation.batches }
  }

  /** Whether there is an evaluation to make behind the last step. */
  private evaluationDue(): boolean {
    const { run } = this.session
    const { step, evaluated } = this.progress
    return this.heldOut !== undefined && step > 0 && (step >= run.steps || step % run.evaluation.every === 0) && evaluated?.step !== step
  }

  /** Whether there is a text to write behind the last step. That behind the last of all is written of what is saved. */
  private sampleDue(): boolean {
    const { run: { sample: { every }, steps } } = this.session
    const { step } = this.progress
    return this.options.sampler !== undefined && every > 0 && step > this.began && step < steps && step % every === 0
  }

  private batchesFrom(batch: number): Prefetcher<unknown> {
    const { data, rows } = this.session
    return prefetch(data, { from: batch, rows })
  }

  /** Processes hear of an interruption, and of a checkpoint that is wanted, at different times: all do it behind the same step. */
  private async asked(also = true): Promise<boolean> {
    const { signal, saveNow } = this.options
    const flags = await flagsOf(this.session.backend.processes, 'whether to stop', (signal?.aborted === true && also ? stops : 0) | (saveNow?.() === true ? saves : 0))
    if ((flags & saves) !== 0) this.saveWanted = true
    return (flags & stops) !== 0
  }

  /** The next batch; or none, where the run is asked to end while it is waited for. */
  private async nextBatch(): Promise<Taken<unknown> | undefined> {
    const { signal } = this.options
    if (signal?.aborted === true) return undefined
    const taken = this.batches.next()
    if (signal === undefined) return taken
    taken.catch(() => undefined)
    let hear = (): void => {}
    const aborted = new Promise<undefined>(resolve => { hear = () => { resolve(undefined) } })
    signal.addEventListener('abort', hear, { once: true })
    try { return await Promise.race([taken, aborted]) } finally { signal.removeEventListener('abort', hear) }
  }

  private async launch({ batch, waited }: Taken<unknown>): Promise<Verdict> {
    const { model, trainer, rows } = this.session
    const { step, batch: next } = this.progress
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
    const { run } = this.session
    const overflowed = row.lossScale !== undefined && Number.isFinite(row.loss) && !Number.isFinite(row.gradNorm)
    const bad = !overflowed && !(calm ?? (Number.isFinite(row.loss) && Number.isFinite(row.gradNorm)))
    const skipped = overflowed || (bad && run.guard.policy === 'skip')
    // The next batch was waited for meanwhile.
    const spent = Math.max(0, row.time.stepMs - (next?.waited ?? 0))
    this.options.clock.add(skipped ? 'lost' : 'steps', spent)
    if (run.guard.policy === 'rewind') this.stepTimes.set(row.step, skipped ? 0 : spent)
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
      await this.options.tell({ type: 'bad', step, why, ...named })
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
    // Counted on from here: a run that goes back to the same checkpoint again and again is to end.
    this.progress = { ...progress, batch: rewound.batch + 1, rewinds: this.progress.rewinds + 1 }
    this.saved = progress.step
    this.evalLoss = progress.evaluated?.loss
    for (let step = progress.step; step <= rewound.step; step++) clock.lose(this.stepTimes.get(step) ?? 0)
    this.losses.length = Math.max(0, this.losses.length - (rewound.step + 1 - progress.step))
    this.batches = this.batchesFrom(this.progress.batch)
    await tell({ type: 'rewind', to: progress.step, ...rewound, batch: this.progress.batch })
  }

  private async save(): Promise<void> {
    const { keeper, clock } = this.options
    const { step, evaluated } = this.progress
    await clock.time('checkpoints', async () => keeper?.save({ state: this.state, progress: this.progress }, evaluated?.step === step ? evaluated.loss : undefined))
    this.saved = step
  }

  /** Has a text written with the weights as they are, and tells of it; the step behind it has begun no sooner. */
  private async sample(): Promise<void> {
    const { sampler, tell } = this.options
    const { trainer, run } = this.session
    const { step } = this.progress
    const text = await withWeights(trainer, this.state, params => sampler?.write(step, params as Arrays<Tree>) ?? Promise.resolve(undefined))
    this.lastRead = performance.now()
    if (text !== undefined) await tell({ type: 'sample', step, prompt: run.sample.prompt, text })
  }

  /** Measures on what is held out and tells of it. False where the run is asked to end meanwhile: then there is nothing to tell; the evaluation that is due is made by whoever goes on. */
  private async evaluate(ending = false): Promise<boolean> {
    const { clock, tell, lastEvaluation = () => longestLastEvaluation } = this.options
    const { model, trainer, rows } = this.session
    const { heldOut } = this
    if (heldOut === undefined) return true
    const start = performance.now()
    const most = ending ? Math.min(lastEvaluation(), longestLastEvaluation) : 0
    let whole = true
    const means = await clock.time('evaluation', () => withWeights(trainer, this.state, params => evaluateOn(params, {
      model, evaluate: trainer.evaluate, rows, ...heldOut,
      // Who has asked for an end should not wait long for it: then the loss is of the held-out batches that there is time for.
      enough: async done => {
        whole = done === heldOut.batches || !await this.asked(performance.now() - start >= most)
        return !whole
      },
    })))
    this.lastRead = performance.now()
    if (!whole && !ending) return false
    const { step } = this.progress
    this.evalLoss = means.mean('loss') ?? NaN
    if (whole) this.progress = { ...this.progress, evaluated: { step, loss: this.evalLoss } }
    const metrics = Object.fromEntries(means.names().filter(n => n !== 'loss').map(n => [n, means.mean(n) ?? NaN]))
    const row: EvalRow = { step: step - 1, evalLoss: this.evalLoss, metrics }
    await tell({ type: 'eval', ...row })
    return true
  }
}
const longestLastEvaluation = 5000

/** Documents of a step, each once, as a person finds them. */
export const documentNames = (rows: readonly (readonly RowDocument[])[], most = 20): readonly string[] => {
  const names = [...new Set(rows.flat().map(d => d.source?.at ?? `${d.store} document ${d.document}`))]
  return names.length > most ? [...names.slice(0, most), `and ${names.length - most} more`] : names
}
