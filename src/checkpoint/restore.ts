/** The newest checkpoint that is whole, on whatever mesh, layout and number of processes. */
import { join } from 'node:path'
import { FileError, type MeshworkError } from '../core/errors.ts'
import type { Naming } from '../core/naming.ts'
import { fromFirst, placementTrees, type Arrays, type Backend, type Mesh, type MeshArray, type Placements, type Tree } from '../engine/index.ts'
import type { Files } from '../io/files.ts'
import { findCheckpoints, readManifest } from './folder.ts'
import { decodeHost, type HostState, type Json } from './host-state.ts'
import { compare, loadArrays } from './load.ts'
import { byPaths } from './renamed.ts'
import type { Manifest } from './manifest.ts'
import { noneUsable, openGroup } from './source.ts'

/** Where the arrays of a checkpoint are to lie. */
export interface Wanted<W extends Tree, S extends Tree> {
  readonly weights: Placements<W>
  readonly state: Placements<S>
  /** Under which names the weights lie; under their paths unless given. */
  readonly naming?: Naming | undefined
}

export interface Restored<W extends Tree, S extends Tree> {
  readonly step: number
  readonly path: string
  readonly weights: Arrays<W>
  readonly state: Arrays<S>
  readonly host: HostState
  readonly run: Json
  readonly runId: string
  readonly versions: Manifest['versions']
  readonly heldOutLoss: number | undefined
  /** Newer ones that could not be used, with the reason. */
  readonly skipped: readonly { readonly name: string; readonly reason: string }[]
}

export interface Where { readonly files: Files; readonly folder: string; readonly backend: Backend; readonly mesh: Mesh }
export interface RestoreOptions {
  /** None of a later step. */
  readonly atMost?: number | undefined
  /** Whether floats may be stored in another dtype than asked for. */
  readonly cast?: boolean | undefined
}

/** Whether another checkpoint may be what is wanted: this one cannot be read, or is not what was written. What differs from the model would differ in all. */
const isDamage = (e: unknown): e is FileError => e instanceof FileError && ['damaged', 'safetensors', 'read', 'too-large'].includes(e.code)
const reasonOf = (e: MeshworkError): string => (e.problem.details?.['reason'] === undefined ? e.problem.what : `${e.problem.what}: ${e.problem.details['reason']}`)

/** One group's arrays as a tree of the form that was wanted. */
async function loadTree<T extends Tree>(folder: string, manifest: Manifest, group: 'weights' | 'state', wanted: Placements<T>, { files, backend, mesh }: Where, cast: boolean, naming?: Naming): Promise<Arrays<T>> {
  await using opened = await openGroup(folder, manifest, group, files)
  const leaves = placementTrees.flatten(wanted).map(({ path, leaf }) => ({ path, value: leaf }))
  const source = await byPaths(opened, naming, leaves, { missing: true, unexpected: true })
  compare(`the checkpoint ${folder} (${group})`, leaves, source, { cast, refuse: { missing: true, unexpected: true } })
  return placementTrees.rebuild(wanted, await loadArrays(source, leaves, backend, mesh)) as Arrays<T>
}

function disposeAll(tree: unknown): void {
  if (typeof tree !== 'object' || tree === null) return
  if ('dispose' in tree) return (tree as MeshArray).dispose()
  Object.values(tree).forEach(disposeAll)
}

/** A checkpoint in this process. @throws FileError */
async function load<W extends Tree, S extends Tree>(path: string, wanted: Wanted<W, S>, where: Where, cast: boolean): Promise<Omit<Restored<W, S>, 'skipped'>> {
  const manifest = await readManifest(where.files, path)
  const weights = await loadTree<W>(path, manifest, 'weights', wanted.weights, where, cast, wanted.naming)
  try {
    const state = await loadTree<S>(path, manifest, 'state', wanted.state, where, cast)
    const { step, runId, run, versions, heldOutLoss } = manifest
    return { step, path, weights, state, host: decodeHost(manifest.host), run, runId, versions, heldOutLoss }
  } catch (e) {
    disposeAll(weights)
    throw e
  }
}

/**
 * Loads the checkpoint of the highest step that is whole; undefined where there is none at all. Every process calls it: rank 0 looks into the
 * folder and tells the others, so that none of them sees another state of it. What is missing, unexpected or of other dims is an error.
 * @throws FileError where it does not fit what is wanted, or there are checkpoints and none can be used
 */
export async function restoreNewest<W extends Tree, S extends Tree>(wanted: Wanted<W, S>, where: Where, { atMost = Infinity, cast = false }: RestoreOptions = {}): Promise<Restored<W, S> | undefined> {
  const { files, folder, backend: { processes } } = where
  const names = await fromFirst(processes, 'the checkpoints that there are', async () => (await findCheckpoints(files, folder)).filter(c => c.step <= atMost).map(c => c.name))
  const skipped: { name: string; reason: string }[] = []
  for (const name of names) {
    let restored: Omit<Restored<W, S>, 'skipped'> | undefined
    let reason = ''
    try {
      restored = await load(join(folder, name), wanted, where, cast)
    } catch (e) {
      if (!isDamage(e)) throw e
      reason = reasonOf(e)
    }
    // Each has read other bytes: one that is damaged for one is of no use to any.
    const reasons = processes.count === 1 ? [reason] : (await processes.exchange(new TextEncoder().encode(reason), 'reading a checkpoint')).map(b => new TextDecoder().decode(b))
    const bad = reasons.findIndex(r => r !== '')
    if (bad < 0 && restored !== undefined) return { ...restored, skipped }
    if (restored !== undefined) [restored.weights, restored.state].forEach(disposeAll)
    skipped.push({ name, reason: processes.count === 1 ? reasons[bad] ?? '' : `rank ${bad}: ${reasons[bad] ?? ''}` })
  }
  if (names.length === 0) return undefined
  throw noneUsable(folder, skipped.map(s => [s.name, s.reason]))
}

/** A checkpoint that is named, or the newest usable of a run's folder. @throws FileError */
export async function restoreFrom<W extends Tree, S extends Tree>(path: string, wanted: Wanted<W, S>, where: Where, cast = false): Promise<Restored<W, S>> {
  const restored = await load(path, wanted, where, cast)
  await where.backend.processes.exchange(new Uint8Array(), 'reading a checkpoint')
  return { ...restored, skipped: [] }
}
