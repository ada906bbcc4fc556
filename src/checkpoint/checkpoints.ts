/** The checkpoints of a run, as a trainer uses them: save, look once a step, restore. All processes call everything, in one order. */
import { treeOps } from '../core/tree.ts'
import { FileError, UsageError } from '../core/errors.ts'
import type { Naming } from '../core/naming.ts'
import { fromFirst, MeshArray, type Backend, type Mesh, type Processes, type Tree } from '../engine/index.ts'
import { isSystemError } from '../io/atomic.ts'
import { disk, type Files } from '../io/files.ts'
import { cannotRead } from '../io/ranged.ts'
import { checkRunId, findCheckpoints, removeCheckpoint, tidy } from './folder.ts'
import { encodeHost } from './host-state.ts'
import { planCheckpoint } from './plan.ts'
import { prune, type Keep } from './retention.ts'
import { restoreNewest, type Restored, type RestoreOptions, type Wanted } from './restore.ts'
import { Save, type SaveResult } from './save.ts'
import { Staging } from './stage.ts'

/** What is saved: trees of arrays over the mesh, under the paths that they have there. */
export interface CheckpointState {
  /** Written as other tools read weights. */
  readonly weights: unknown
  /** Everything else that lies on the devices: slots, step, loss scale, averages. */
  readonly state: unknown
  /** What the host knows: position in the data, history, lengths of files. Rank 0's counts. */
  readonly host: unknown
}

/** What becomes of checkpoints, told on the main path. */
export type CheckpointEvent =
  | { readonly type: 'saved'; readonly step: number; readonly path: string; readonly bytes: number; /** What the step waited for the one before, and for the copy. */ readonly waitMs: number; readonly copyMs: number; /** From its beginning until it was found to be on the disk. */ readonly totalMs: number }
  | { readonly type: 'failed'; readonly step: number; readonly error: FileError }
  /** Told by rank 0 alone. */
  | { readonly type: 'removed'; readonly steps: readonly number[] }
  | { readonly type: 'warning'; readonly text: string }

export interface CheckpointOptions {
  /** Where the folders `step-<n>` lie; made when the first is saved. */
  readonly folder: string
  /** Of the run, the same after it was interrupted: only what has it is cleaned up and retired. Letters, digits, "_" and "-". */
  readonly runId: string
  /** The resolved run, as JSON. */
  readonly run: unknown
  readonly versions: { readonly [of: string]: string }
  /** All stay unless given. */
  readonly keep?: Keep | undefined
  readonly processes: Processes
  /** Under which names the weights are written; under their paths unless given. */
  readonly naming?: Naming | undefined
  readonly onEvent?: ((event: CheckpointEvent) => void) | undefined
  /** Bytes of tensors that a file holds at most. */
  readonly shardBytes?: number | undefined
  readonly files?: Files | undefined
}

export interface SaveOptions {
  /** What retention of the best goes by. */
  readonly heldOutLoss?: number | undefined
}
/** Milliseconds that the caller waited: for the save before, and for the copy off the devices. */
export interface Waited { readonly waitMs: number; readonly copyMs: number }

interface UnderWay extends Waited { readonly save: Save; readonly began: number }

const arrays = treeOps((x): x is MeshArray => x instanceof MeshArray, 'an array over the mesh')
const named = (tree: unknown) => arrays.flatten(tree).map(({ path, leaf }) => ({ path, value: leaf }))

export class Checkpoints implements AsyncDisposable {
  private readonly options: CheckpointOptions
  private readonly files: Files
  private readonly staging = new Staging()
  private underWay: UnderWay | undefined

  private constructor(options: CheckpointOptions) {
    this.options = options
    this.files = options.files ?? disk
  }

  /**
   * Brings the folder into order: what this run left half-written when it was ended by force is taken away. Whoever opens it has the run's
   * folder to itself (`claimFolder`).
   * @throws FileError where the folder cannot be read
   */
  static async open(options: CheckpointOptions): Promise<Checkpoints> {
    checkRunId(options.runId)
    const made = new Checkpoints(options)
    const { folder, runId, processes } = options
    const problem = await fromFirst(processes, 'the folder of checkpoints', async (): Promise<string | null> => {
      try {
        if ((await made.files.info(folder))?.kind === 'folder') await tidy(made.files, folder, runId)
        return null
      } catch (e) {
        if (!isSystemError(e)) throw e
        return e.message
      }
    })
    if (problem !== null) throw cannotRead(folder, problem, 'make the folder of checkpoints readable and writable')
    return made
  }

  /**
   * Resolves when the arrays are copied, so that they may be donated; writing goes on in the background. One save is under way at a time: a second waits
   * for the first. What goes wrong with files is told by an event, and the checkpoints of before stay.
   * @throws UsageError for a step that is none; DimError where what is to be saved cannot be; what reading an array throws
   */
  async save(step: number, { weights, state, host }: CheckpointState, { heldOutLoss }: SaveOptions = {}): Promise<Waited> {
    if (!Number.isSafeInteger(step) || step < 0) throw new UsageError({ code: 'step', what: `a checkpoint cannot be of step ${step}`, fix: 'a step is a whole number, at least 0' })
    const began = performance.now()
    await this.finish()
    const waitMs = performance.now() - began
    const { folder, runId, run, versions, processes, shardBytes, keep, naming } = this.options
    const plan = planCheckpoint({ weights: named(weights), state: named(state) }, shardBytes, naming)
    const described = { step, runId, heldOutLoss, versions, run: encodeHost(run, 'run'), host: encodeHost(host) }
    const retire = async () => ({ steps: keep === undefined ? [] : await prune(this.files, folder, keep, runId) })
    const save = new Save({ files: this.files, folder, runId, processes, staging: this.staging }, plan, described, retire)
    const result = await save.begin()
    const copyMs = performance.now() - began - waitMs
    if (result === undefined) this.underWay = { save, began, waitMs, copyMs }
    else if (!result.ok) this.tell({ type: 'failed', step, error: result.error })
    return { waitMs, copyMs }
  }

  /** Once a step: tells what has become of the save under way. It waits for no disk. */
  async poll(): Promise<void> {
    const { underWay } = this
    if (underWay === undefined) return
    const result = await underWay.save.advance()
    if (result !== undefined) this.ended(underWay, result)
  }

  /** Waits until nothing is under way. */
  async finish(): Promise<void> {
    const { underWay } = this
    if (underWay !== undefined) this.ended(underWay, await underWay.save.end())
  }

  /** Whether a save is under way. */
  get busy(): boolean { return this.underWay !== undefined }

  /** The newest checkpoint that is whole; see `restoreNewest`. Newer ones that are not are told of as warnings. */
  async restore<W extends Tree, S extends Tree>(wanted: Wanted<W, S>, backend: Backend, mesh: Mesh, options: RestoreOptions = {}): Promise<Restored<W, S> | undefined> {
    await this.finish()
    const restored = await restoreNewest(wanted, { files: this.files, folder: this.options.folder, backend, mesh }, options)
    for (const { name, reason } of restored?.skipped ?? []) this.tell({ type: 'warning', text: `the checkpoint ${name} cannot be used: ${reason}` })
    return restored
  }

  /** Takes away checkpoints of later steps: a run that went back is not to go on from them. @throws FileError where that cannot be */
  async discardAfter(step: number): Promise<void> {
    await this.finish()
    const { folder, runId, processes } = this.options
    const steps: number[] = []
    const problem = await fromFirst(processes, 'discarding checkpoints', async (): Promise<string | null> => {
      try {
        for (const found of (await findCheckpoints(this.files, folder)).filter(c => c.step > step)) {
          await removeCheckpoint(this.files, folder, found, runId)
          steps.push(found.step)
        }
        return null
      } catch (e) {
        return e instanceof Error ? e.message : String(e)
      }
    })
    if (problem !== null) throw new FileError({ code: 'write', what: `checkpoints after step ${step} cannot be removed`, details: { folder, reason: problem }, fix: 'make the folder writable' })
    if (steps.length > 0) this.tell({ type: 'removed', steps })
  }

  [Symbol.asyncDispose](): Promise<void> { return this.finish() }

  private ended({ save, began, waitMs, copyMs }: UnderWay, result: SaveResult): void {
    this.underWay = undefined
    if (!result.ok) return this.tell({ type: 'failed', step: save.step, error: result.error })
    this.tell({ type: 'saved', step: save.step, path: result.path, bytes: save.size, waitMs, copyMs, totalMs: performance.now() - began })
    const { steps, problem } = result.retired
    if (problem !== undefined) this.tell({ type: 'warning', text: `old checkpoints could not be removed: ${problem}` })
    if (steps.length > 0) this.tell({ type: 'removed', steps })
  }

  private tell(event: CheckpointEvent): void { this.options.onEvent?.(event) }
}

