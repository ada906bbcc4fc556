/**
 * One save: prepared and copied off the devices while the step waits, written while training goes on, and given its name when all processes have
 * written. What happens in the background calls no collective; that all are done is agreed on the main path, by `advance`.
 */
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { FileError } from '../core/errors.ts'
import { makeParents } from '../io/folders.ts'
import { crcOfParts } from '../io/crc.ts'
import { isSystemError } from '../io/atomic.ts'
import { removeTree, writeAll, type Files } from '../io/files.ts'
import { fromFirst, type MeshArray, type Processes } from '../engine/index.ts'
import { reasonOf, saveFailed, type Reason } from './failure.ts'
import { publish, stepName, temporaryName } from './folder.ts'
import { formatManifest, manifestName, type Manifest } from './manifest.ts'
import type { CheckpointPlan, PlannedTensor } from './plan.ts'
import { stage, type Run, type Staging } from './stage.ts'
import { chunkBytes, chunkLength, createFiles, joined, packed, unpacked, writeRuns, type Contributions } from './write.ts'

export interface Place { readonly files: Files; readonly folder: string; readonly runId: string; readonly processes: Processes; readonly staging: Staging }
/** What a manifest says that is not known from the arrays. */
export type Described = Omit<Manifest, 'chunk' | 'files' | 'tensors'>

export type SaveResult =
  | { readonly ok: true; readonly path: string; readonly retired: Retired }
  | { readonly ok: false; readonly error: FileError }

/** Old checkpoints that went when the new one was on the disk, or why they could not: known to rank 0. */
export interface Retired { readonly steps: readonly number[]; readonly problem?: string }
const none: Retired = { steps: [] }

/** What has become of this process's work in the background. */
type Outcome = { readonly given: Contributions } | { readonly published: Retired } | { readonly failed: unknown }

/** Milliseconds between two looks at what other processes write. */
const between = 20

export class Save {
  readonly step: number
  readonly size: number
  private readonly place: Place
  private readonly plan: Omit<CheckpointPlan<MeshArray>, 'places'>
  /** Let go of once they are copied. */
  private places: readonly PlannedTensor<MeshArray>[]
  private readonly described: Described
  private readonly retire: () => Promise<Retired>
  private background: Promise<void> = Promise.resolve()
  private outcome: Outcome | undefined
  private publishing = false

  /** `retire` is called in rank 0 when the checkpoint has its name, and only then. */
  constructor(place: Place, { places, ...plan }: CheckpointPlan<MeshArray>, described: Described, retire: () => Promise<Retired> = async () => none) {
    this.place = place
    this.plan = plan
    this.places = places
    this.retire = retire
    this.described = described
    this.step = described.step
    this.size = plan.size
  }

  private get temporary(): string { return join(this.place.folder, temporaryName(this.step, this.place.runId)) }

  /**
   * Makes the files and copies the arrays. Resolves to undefined when the bytes are copied and are being written, to the failure where the
   * files cannot be made. @throws what reading an array does
   */
  async begin(): Promise<SaveResult | undefined> {
    const { files, processes } = this.place
    let cause: unknown
    const refused = await fromFirst(processes, 'a checkpoint\'s files', async (): Promise<Reason | null> => {
      try {
        await this.prepare()
        return null
      } catch (e) {
        cause = e
        return reasonOf(e)
      }
    })
    if (refused !== null) return this.failure(refused, 0, cause)
    let runs: Run[][]
    try {
      runs = await stage(this.plan.files, this.places, processes, this.place.staging)
      this.places = []
    } catch (e) {
      if (processes.count === 1) await removeTree(files, this.temporary).catch(() => undefined)
      throw e
    }
    this.work(async () => {
      const given = await writeRuns(files, this.temporary, this.plan.files, runs)
      if (processes.count > 1) return { given }
      return { published: await this.publish(given) }
    })
    return undefined
  }

  /**
   * Looks whether it is done, and goes on where all processes have come to the same point; never waits for the disk. Every process calls it
   * equally often.
   */
  async advance(): Promise<SaveResult | undefined> {
    const { processes } = this.place
    const { outcome } = this
    if (processes.count === 1) {
      if (outcome === undefined) return undefined
      return 'failed' in outcome ? this.failure(reasonOf(outcome.failed), 0, outcome.failed) : this.published()
    }
    const state = outcome === undefined ? 0 : 'failed' in outcome ? 2 : 1
    const states = (await processes.exchange(Uint8Array.of(state), 'a checkpoint under way')).map(b => b[0])
    if (states.includes(0)) return undefined
    const failed = states.indexOf(2)
    if (failed >= 0) {
      const mine = outcome !== undefined && 'failed' in outcome ? outcome.failed : undefined
      const told = await processes.exchange(new TextEncoder().encode(JSON.stringify(mine === undefined ? null : reasonOf(mine))), 'why a checkpoint failed')
      return this.failure(JSON.parse(new TextDecoder().decode(told[failed])) as Reason, failed, mine)
    }
    if (this.publishing) return this.published()
    const all = await processes.exchange(outcome !== undefined && 'given' in outcome ? packed(outcome.given) : new Uint8Array(), 'a checkpoint\'s checksums')
    this.publishing = true
    if (processes.rank === 0) {
      this.work(async () => {
        return { published: await this.publish(joined(all.map(bytes => unpacked(bytes, this.plan.files)))) }
      })
    } else this.outcome = { published: none }
    return undefined
  }

  /** Waits until it is done, as every process does. */
  async end(): Promise<SaveResult> {
    for (;;) {
      await (this.place.processes.count === 1 ? this.background : Promise.race([this.background, pause(between)]))
      const result = await this.advance()
      if (result !== undefined) return result
      // The others have not come so far.
      if (this.outcome !== undefined) await pause(between)
    }
  }

  private work(job: () => Promise<Outcome>): void {
    this.outcome = undefined
    this.background = job().then(o => { this.outcome = o }, (e: unknown) => { this.outcome = { failed: this.seen(e) } })
  }

  private seen(cause: unknown): unknown {
    const { rank, hosts } = this.place.processes
    if (rank === 0 || !isSystemError(cause) || cause.code !== 'ENOENT') return cause
    return new FileError({ code: 'not-shared', what: `rank ${rank} (host ${hosts[rank]}) does not see the folder that rank 0 writes`, fix: 'give a run folder on a disk that all hosts share', cause })
  }

  private async prepare(): Promise<void> {
    const { files, folder } = this.place
    await makeParents(files, folder)
    await removeTree(files, this.temporary)
    const free = await files.free(folder)
    if (free !== undefined && free < this.size) throw Object.assign(new Error('ENOSPC: the disk has not enough room, nothing was written'), { code: 'ENOSPC', syscall: 'statfs' })
    await files.makeFolder(this.temporary)
    await createFiles(files, this.temporary, this.plan.files)
  }

  private async publish(given: Contributions): Promise<Retired> {
    const { files, folder, runId } = this.place
    const records = this.plan.files.map(({ name, size }, i) => ({
      name, bytes: size, crcs: Uint32Array.from(given[i] ?? [], (joint, chunk) => crcOfParts(joint, chunkLength(size, chunk))),
    }))
    const text = Buffer.from(formatManifest({ ...this.described, chunk: chunkBytes, files: records, tensors: this.plan.tensors }))
    const file = await files.open(join(this.temporary, manifestName), 'wx')
    try {
      await writeAll(file, text, 0)
      await file.sync()
    } finally {
      await file.close()
    }
    await publish(files, folder, this.step, runId)
    return this.retire().catch((e: unknown) => ({ steps: [], problem: e instanceof Error ? e.message : String(e) }))
  }

  private published(): SaveResult {
    const { outcome } = this
    return { ok: true, path: join(this.place.folder, stepName(this.step)), retired: outcome !== undefined && 'published' in outcome ? outcome.published : none }
  }

  /** Takes away what was written by half; the processes agree that nobody writes any more. */
  private async failure(reason: Reason, rank: number, cause: unknown): Promise<SaveResult> {
    const { files, folder, processes } = this.place
    const { free } = await fromFirst(processes, 'a checkpoint that failed', async () => {
      // A disk that fails may not even let go of what it has; the next attempt tries it again.
      await removeTree(files, this.temporary).catch(() => undefined)
      return { free: await files.free(folder).catch(() => undefined) ?? null }
    })
    const who = processes.count === 1 ? undefined : `rank ${rank} (host ${processes.hosts[rank]})`
    return { ok: false, error: saveFailed({ step: this.step, folder, needed: this.size, free: free ?? undefined, rank: who }, reason, cause) }
  }
}
