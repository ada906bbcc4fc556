/** Training into a run folder: it goes on where it was interrupted, and remains as what it was, how it went and what it learnt. */
import { hostname } from 'node:os'
import { join } from 'node:path'
import { FileError, MeshworkError } from '../core/errors.ts'
import type { Plain } from '../core/plain.ts'
import { Checkpoints, type CheckpointEvent } from '../checkpoint/index.ts'
import { anyOf, fromFirst } from '../engine/index.ts'
import { breathe } from './breathe.ts'
import { Clock, joined } from './clock.ts'
import { disposeAll, withWeights } from './evaluate.ts'
import type { PlanEvent, TrainEvent } from './events.ts'
import { listeners, resultOf, type FitOptions, type FitResult } from './fit.ts'
import { checkFolder, RunFolder, type FolderChoice } from './folder.ts'
import { RunKeeper, wantedOf, whole } from './keep.ts'
import { Log } from './log.ts'
import { Loop, type Between, type LoopResult, type Point, type Sampler } from './loop.ts'
import { Journal } from './journal.ts'
import { kindsOf } from './parts.ts'
import { forgetPeak } from './peak.ts'
import { parseProgress } from './progress.ts'
import { describeCheckpoints, writeResult } from './result.ts'
import { fieldsOf, identityOf, type Run } from './run.ts'
import { openSession, type Session } from './session.ts'
import { beginningOf } from './start.ts'
import { versions } from './together.ts'
import { Wishes } from './wish.ts'

export interface TrainOptions extends FitOptions {
  /** Where the run is written: a folder, the next free one of a name, or none. */
  readonly out?: FolderChoice | undefined
  /** The checkpoint of another run, or its folder, which a run that has not begun goes on from: weights, slots, step and place in the data. */
  readonly resume?: string | undefined
  /** Made once the run's programs are compiled, in every process: what else the devices do between two steps. */
  readonly beside?: ((session: Session) => Promise<Between>) | undefined
  /** Made once the run's programs are compiled, in every process: what writes the texts that its `sample.every` asks for. */
  readonly sampler?: ((session: Session) => Sampler) | undefined
  /** Where the run's values come from, for commands that need them again: a recipe's name or file. */
  readonly recipe?: string | undefined
}
export interface TrainResult extends FitResult {
  /** The run folder, where one was written. */
  readonly folder: string | undefined
  /** Live buffers of the backend once the state was freed. */
  readonly liveAfter: number
}

/** A run at work in its folder. `folder` and `log` are rank 0's. */
interface Place { readonly path: string; readonly id: string; readonly folder: RunFolder | undefined; readonly again: boolean }

/**
 * Trains a run. Where its folder holds the same run, interrupted, it goes on from the newest checkpoint that is whole. Under MPI every rank calls it with the same run:
 * each reads and saves what its own device holds, all are told of the events, and rank 0 writes what is one for all.
 * @throws BadStep where the run's guard ends it; FileError where the folder holds another run or cannot be written; what is wrong with model, layout or data
 */
export async function train(given: Run, options: TrainOptions): Promise<TrainResult> {
  const { backend, signal, out, recipe } = options
  const hear = listeners(given, options)
  let planned: PlanEvent | undefined
  const tell = (event: TrainEvent): void => {
    if (event.type === 'plan') planned = event
    hear(event)
  }
  const clock = new Clock()
  // A folder with a run on other data is refused before programs are compiled.
  const onData = async (run: Run, identity: Plain | undefined): Promise<void> => {
    if (out !== undefined) await fromFirst(backend.processes, 'the run folder', async () => { await checkFolder(out, run, identity ?? null); return null })
  }
  // Only what a step has been made of is a run: who asks for an end before that gets none, and data that is being prepared is gone on with the next time.
  const none = (planned: number): TrainResult => ({ steps: 0, planned, stopped: true, losses: [], evalLoss: undefined, folder: undefined, liveAfter: backend.liveBuffers() })
  const session = await clock.time('starting', () => openSession(given, { backend, tell, signal, onData })).catch((e: unknown) => {
    if (signal?.aborted === true && e === signal.reason && backend.processes.count === 1) return undefined
    throw e
  })
  if (session === undefined) return none(typeof given.steps === 'number' ? given.steps : 0)
  const { run } = session
  try {
    const { processes } = backend
    await breathe()
    // Only now: what fails before leaves no folder behind.
    if (await anyOf(processes, 'whether to stop', signal?.aborted === true)) return none(run.steps)
    let folder: RunFolder | undefined
    const kinds = kindsOf(run)
    const place = out === undefined ? undefined : await fromFirst(processes, 'the run folder', async () => {
      folder = await RunFolder.open(out, { run: fieldsOf(run), identity: { ...identityOf(run), data: session.data.identity ?? null }, ...(recipe === undefined ? {} : { recipe }), ...(kinds === undefined ? {} : { parts: kinds }) }, run.steps)
      return { path: folder.path, id: folder.file.id, again: folder.again }
    })
    let reached = 0
    const journal = folder === undefined ? undefined : new Journal(folder.path)
    const noted = (event: TrainEvent): void => {
      if (event.type === 'started') {
        reached = event.from
        journal?.add({ type: 'start', from: event.from, steps: event.steps, pid: process.pid, host: hostname(), hosts: processes.hosts, ...(event.checkpoint === undefined ? {} : { checkpoint: event.checkpoint }) })
        if (planned !== undefined) journal?.add(planned)
      }
      if (event.type === 'step') reached = event.step + 1
      journal?.hear(event, reached)
      tell(event)
    }
    try {
      const result = await runIn(session, place === undefined ? undefined : { ...place, folder }, { ...options, tell: noted, clock })
      return { ...result, liveAfter: backend.liveBuffers() }
    } catch (e) {
      if (folder !== undefined) await ended(folder, reached, e)
      throw e
    } finally {
      await journal?.flush()
      await folder?.release()
    }
  } finally {
    await session.close()
  }
}

/** What a failure leaves: a note of it, or nothing where no step was made. */
async function ended(folder: RunFolder, steps: number, e: unknown): Promise<void> {
  if (!folder.again && steps === 0) return folder.discard()
  await folder.end({ state: 'failed', steps, why: e instanceof MeshworkError ? e.problem.what : String(e), ...(e instanceof MeshworkError ? { code: e.code } : {}) }).catch(() => undefined)
}

interface Job extends TrainOptions { readonly tell: (event: TrainEvent) => void; readonly clock: Clock }

async function runIn(session: Session, place: Place | undefined, job: Job): Promise<Omit<TrainResult, 'liveAfter'>> {
  const { run, backend, trainer, mesh, files } = session
  const { clock, signal } = job
  const { processes } = backend
  const heard: CheckpointEvent[] = []
  const checkpoints = place === undefined ? undefined : await Checkpoints.open({
    folder: join(place.path, 'checkpoints'), runId: place.id, run: fieldsOf(run), versions: versions(backend), keep: run.checkpoint.keep, processes, naming: files?.naming, onEvent: e => { heard.push(e) },
  })
  const [placements] = trainer.step.placements
  const { point, from, own } = await clock.time('restoring', () => pointOf(session, checkpoints, job))
  let loop: Loop | undefined
  const wishes = place?.folder === undefined ? undefined : new Wishes(place.path)
  let log: Log | undefined
  let sampler: Sampler | undefined
  try {
    if (place?.folder !== undefined) {
      const opened = await Log.open(place.path, point.progress, place.again)
      log = opened.log
      for (const row of opened.lost) clock.lostBefore(row.time.stepMs)
    }
    const tell = async (event: TrainEvent): Promise<void> => {
      const problem = await log?.tell(event)
      job.tell(event)
      if (problem !== undefined) job.tell({ type: 'warning', text: `${problem.problem.what}: what is told of steps is kept until there is room` })
    }
    const began = Date.now()
    // Where there is no room for it, there is none for more than that, of which there is word.
    const note = async (): Promise<void> => { await place?.folder?.note({ start: began, spent: clock.spent, elapsed: clock.elapsed }).catch((e: unknown) => { if (!(e instanceof FileError)) throw e }) }
    let described = false
    const onSave = async (): Promise<void> => {
      if (place?.folder !== undefined && !described) await describeCheckpoints(place.path, session)
      described = true
      await note()
    }
    const left = deadlineOf(run, signal)
    const keeper = checkpoints === undefined ? undefined : new RunKeeper({ checkpoints, heard, log, clock, placements, files, backend, mesh, every: run.checkpoint.every, best: run.checkpoint.keep.best !== undefined, steps: run.steps, left, tell, onSave })
    job.tell({ type: 'started', steps: run.steps, from: point.progress.step, ...(from === undefined ? {} : { checkpoint: from }) })
    if (run.guard.policy === 'rewind' && !own) await keeper?.save(point, undefined)
    const between = await job.beside?.(session)
    sampler = run.sample.every > 0 ? job.sampler?.(session) : undefined
    loop = new Loop(session, point, { tell, clock, keeper, sampler, signal: eitherOf(signal, wishes?.stop), saveNow: wishes === undefined ? undefined : () => wishes.takeSave(), between, lastEvaluation: () => left() / 2 })
    const result = await loop.run()
    const perSecond = session.flops * (result.progress.step - point.progress.step) / clock.spent.steps * 1000
    if (session.peak !== undefined && perSecond > session.peak) await forgetPeak(backend, mesh, run.precision.compute)
    try {
      await clock.time('checkpoints', async () => keeper?.finish())
      const saved = place !== undefined && result.progress.step > 0
      if (saved) {
        await withWeights(trainer, result.state, params => writeResult(place.path, params, session))
      }
      await note()
      if (place?.folder !== undefined) await finish(place.folder, result, saved, tell)
      if (saved && place.folder === undefined) job.tell({ type: 'saved', folder: place.path })
      return { ...resultOf(result, run.steps), folder: saved ? place.path : undefined }
    } finally {
      disposeAll(result.state)
    }
  } catch (e) {
    // What is being written belongs to a folder that others may take next; processes of a job are ended instead.
    if (processes.count === 1) await checkpoints?.finish().catch(() => undefined)
    throw e
  } finally {
    await sampler?.close().catch(() => undefined)
    wishes?.close()
    if (loop === undefined) disposeAll(point.state)
    await log?.close()
  }
}

const eitherOf = (signal: AbortSignal | undefined, other: AbortSignal | undefined): AbortSignal | undefined => (signal === undefined || other === undefined ? signal ?? other : AbortSignal.any([signal, other]))

/** Where a run begins: at its newest checkpoint, at what it is to start from, or at its seed. */
async function pointOf(session: Session, checkpoints: Checkpoints | undefined, { resume, tell }: Job): Promise<{ readonly point: Point; readonly from: string | undefined; /** Whether it is one of its own checkpoints. */ readonly own: boolean }> {
  const { backend, mesh, trainer, files } = session
  const wanted = wantedOf(trainer.step.placements[0], files)
  const restored = await checkpoints?.restore(wanted, backend, mesh)
  if (restored !== undefined) return { point: { state: whole(restored.weights, restored.state), progress: parseProgress(restored.host, restored.path) }, from: restored.path, own: true }
  return { ...await beginningOf(session, resume, tell), own: false }
}

/** How much time a run that was asked to end has left. */
function deadlineOf({ checkpoint: { deadline } }: Run, signal: AbortSignal | undefined): () => number {
  let asked: number | undefined = signal?.aborted === true ? performance.now() : undefined
  signal?.addEventListener('abort', () => { asked ??= performance.now() }, { once: true })
  return () => (asked === undefined ? Infinity : Math.max(0, asked + 1000 * deadline - performance.now()))
}

async function finish(folder: RunFolder, { progress, evalLoss, stopped }: LoopResult, saved: boolean, tell: (event: TrainEvent) => Promise<void>): Promise<void> {
  if (!saved) return folder.discard()
  await folder.end({ state: stopped ? 'stopped' : 'finished', steps: progress.step, ...(evalLoss === undefined ? {} : { evalLoss }) })
  await tell({ type: 'saved', folder: folder.path })
  type Note = Parameters<typeof joined>[0][number] & { readonly start: number }
  const starts = new Map((await folder.notes() as readonly Note[]).map(n => [n.start, n]))
  await tell({ type: 'goodput', ...joined([...starts.values()]) })
}
