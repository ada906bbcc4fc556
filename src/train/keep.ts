/** What keeps a run: its checkpoints, and with them where its files were. */
import type { CheckpointEvent, Checkpoints, Wanted } from '../checkpoint/index.ts'
import { FileError, MeshworkError } from '../core/errors.ts'
import { hostArray } from '../core/dtype.ts'
import { fromFirst, place, placementTrees, type Arrays, type Backend, type Mesh, type MeshArray, type Placements, type Tree } from '../engine/index.ts'
import type { ModelFiles } from '../models/index.ts'
import type { Clock } from './clock.ts'
import type { TrainEvent } from './events.ts'
import { disposeAll } from './evaluate.ts'
import type { Log } from './log.ts'
import type { Keeper, Point } from './loop.ts'
import { parseProgress } from './progress.ts'
import type { StateArrays, TrainState } from './program.ts'

type Rest = Omit<TrainState<Tree>, 'params'>
/** The state as checkpoints have it: weights by themselves, as other tools read them, and all the rest. */
export const halves = ({ params, ...rest }: StateArrays<Tree>): { readonly weights: Arrays<Tree>; readonly state: Omit<StateArrays<Tree>, 'params'> } => ({ weights: params, state: rest })
/** Where the arrays of a checkpoint are to lie. */
export const wantedOf = (placements: Placements<TrainState<Tree>>, files: ModelFiles | undefined): Wanted<Tree, Rest> => {
  const { params, ...rest } = placements as unknown as { readonly params: Placements<Tree> }
  return { weights: params, state: rest as unknown as Placements<Rest>, naming: files?.naming }
}
/** What a checkpoint gave, as a state. */
export const whole = (weights: unknown, state: unknown): StateArrays<Tree> => ({ params: weights, ...(state as object) }) as StateArrays<Tree>

export interface KeeperOptions {
  readonly checkpoints: Checkpoints
  /** What has become of checkpoints, not yet told. */
  readonly heard: CheckpointEvent[]
  /** In the process that writes. */
  readonly log: Log | undefined
  readonly clock: Clock
  readonly placements: Placements<TrainState<Tree>>
  readonly files: ModelFiles | undefined
  readonly backend: Backend
  readonly mesh: Mesh
  readonly every: number
  /** Whether the best are kept: then there is one of each step that is evaluated. */
  readonly best: boolean
  readonly steps: number
  /** Milliseconds that are left to a run that has been asked to end. */
  readonly left: () => number
  readonly tell: (event: TrainEvent) => Promise<void>
  /** Called when a checkpoint is begun. */
  readonly onSave: () => Promise<void>
}

export class RunKeeper implements Keeper {
  private readonly options: KeeperOptions
  private longest = 0

  constructor(options: KeeperOptions) { this.options = options }

  private async pass(event: CheckpointEvent): Promise<void> {
    const { tell } = this.options
    if (event.type === 'saved') {
      this.longest = Math.max(this.longest, event.totalMs)
      await tell({ type: 'checkpoint', step: event.step, path: event.path, bytes: event.bytes, waitMs: event.waitMs + event.copyMs, totalMs: event.totalMs })
    } else if (event.type === 'failed') {
      const { what, details: { reason = 'it is not known why', needed, free } = {} } = event.error.problem
      await tell({ type: 'warning', text: `${what}, those of before are there: ${reason}${needed === undefined ? '' : ` (it needs ${needed}, free: ${free})`}` })
    }
    else if (event.type === 'warning') await tell({ type: 'warning', text: event.text })
  }

  due(done: number, evaluated: boolean): boolean {
    const { every, steps, best } = this.options
    // A held-out loss is of the step that it was measured behind.
    return every > 0 && (done % every === 0 || done === steps || (best && evaluated))
  }

  async poll(): Promise<void> {
    await this.options.checkpoints.poll()
    await this.tellAll()
  }
  /** Waits until what is being written is on the disk. */
  async finish(): Promise<void> {
    await this.options.checkpoints.finish()
    await this.tellAll()
  }
  private async tellAll(): Promise<void> { for (const event of this.options.heard.splice(0)) await this.pass(event) }

  async save({ state, progress }: Point, heldOutLoss: number | undefined): Promise<void> {
    const { checkpoints, log, left, tell, backend: { processes }, onSave } = this.options
    // All processes go by what the first one has left.
    const [time, expected] = await fromFirst(processes, 'the time left', () => [Math.min(left(), Number.MAX_SAFE_INTEGER), this.longest] as const)
    if (expected > time) {
      await tell({ type: 'warning', text: `there are ${Math.max(0, Math.round(time / 1000))} s left, and a checkpoint takes ${Math.ceil(expected / 1000)} s: the last one stays the newest` })
      return
    }
    const lengths = await fromFirst(processes, 'the lengths of the files', async () => {
      try {
        return await log?.sync() ?? { metricsBytes: 0, eventsBytes: 0 }
      } catch (e) {
        if (!(e instanceof FileError)) throw e
        return { problem: e.problem.what }
      }
    })
    // A checkpoint of a run whose log is not on the disk could not be gone on from to the same log.
    if ('problem' in lengths) return tell({ type: 'warning', text: `there is no checkpoint of step ${progress.step}, those of before are there: ${lengths.problem}` })
    await onSave()
    await checkpoints.save(progress.step, { ...halves(state), host: { ...progress, ...lengths } }, heldOutLoss === undefined ? {} : { heldOutLoss })
    await this.tellAll()
  }

  async rewind(): Promise<Point> {
    const { checkpoints, log, placements, files, backend, mesh } = this.options
    const restored = await checkpoints.restore(wantedOf(placements, files), backend, mesh)
    if (restored === undefined) throw new MeshworkError({ code: 'no-checkpoint', what: 'there is no checkpoint to go back to', fix: 'let checkpoint.every be smaller' })
    const progress = parseProgress(restored.host, restored.path)
    await log?.cut(progress)
    const state = whole(restored.weights, restored.state)
    return { state: await emptyHistoryOn(state, placements, backend, mesh), progress }
  }
}

/** A state that has seen no step: of a run that went back, what was before the leap says nothing of what comes after it. */
async function emptyHistoryOn(state: StateArrays<Tree>, placements: Placements<TrainState<Tree>>, backend: Backend, mesh: Mesh): Promise<StateArrays<Tree>> {
  if (state.history === undefined) return state
  const lies = placements as unknown as { readonly history: unknown }
  const fresh: MeshArray[] = []
  for (const { path, leaf } of placementTrees.flatten(lies.history)) fresh.push(await place(backend, mesh, leaf, hostArray(leaf.dtype, 1), `history.${path}`))
  disposeAll(state.history)
  return { ...state, history: placementTrees.rebuild(lies.history, fresh) } as StateArrays<Tree>
}
