/** Parameters over a mesh ↔ safetensors files: every process writes and reads what its own devices hold. */
import { open, type FileHandle } from 'node:fs/promises'
import { cannotWrite, isSystemError, writeAtomically } from '../io/atomic.ts'
import { FileError } from '../core/errors.ts'
import { isCopy, storedAs, type Naming } from '../core/naming.ts'
import { barrier, fromFirst, type Backend, type Mesh, type MeshArray, type Placement, type Processes } from '../engine/index.ts'
import { writeAll, type OpenFile } from '../io/files.ts'
import { compare, loadArrays, type Choice, type Fit } from './load.ts'
import { byPaths } from './renamed.ts'
import { layOut, type Named, type PlannedFile, type PlannedTensor } from './plan.ts'
import { openFile, openWeights, type Source } from './source.ts'
import { stage, Staging } from './stage.ts'

export type { Named } from './plan.ts'

/**
 * Writes the arrays, whole, whatever the mesh: under their paths, with the dims' names in the metadata, or as a naming says, without what that says are copies. All processes
 * call it; the file's folder must be one that all of them see.
 * @throws FileError when it cannot be written.
 */
export async function saveWeights(file: string, all: readonly Named<MeshArray>[], processes: Processes, naming?: Naming): Promise<void> {
  const arrays = naming?.copies === undefined ? all : all.filter(({ path }) => !isCopy(naming, storedAs(naming.parameters[path] ?? '').name))
  const { files: [layout = { name: '', size: 0, head: new Uint8Array() }], places } = layOut('model', arrays, Infinity, naming)
  if (processes.rank === 0) {
    await writeAtomically(file, async (handle, temporary) => {
      await handle.truncate(layout.size)
      await fromFirst(processes, 'the weights\' file', () => temporary)
      await writeParts(handle, layout, places, processes)
      await barrier(processes, 'writing weights')
    })
  } else {
    const temporary = await fromFirst(processes, 'the weights\' file', () => '')
    const handle = await open(temporary, 'r+').catch((cause: unknown) => {
      throw new FileError({ code: 'not-shared', what: `rank ${processes.rank} (host ${processes.hosts[processes.rank]}) does not see the file that rank 0 writes`, details: { file: temporary }, fix: 'give a run folder on a disk that all hosts share: --out DIR', cause })
    })
    try {
      await writeParts(handle, layout, places, processes)
      await handle.sync()
    } catch (cause) {
      throw isSystemError(cause) ? cannotWrite(file, cause) : cause
    } finally {
      await handle.close()
    }
    await barrier(processes, 'writing weights')
  }
  // Only after this barrier does the file exist under its name.
  await barrier(processes, 'the weights\' file')
}

/** Arrays that lie in the same tensors, together: what one process has in memory at a time. */
function sharing(places: readonly PlannedTensor<MeshArray>[]): PlannedTensor<MeshArray>[][] {
  const groups: PlannedTensor<MeshArray>[][] = []
  const groupOf = new Map<number, PlannedTensor<MeshArray>[]>()
  for (const place of places) {
    const group = place.parts.map(p => groupOf.get(p.begin)).find(g => g !== undefined) ?? []
    if (group.length === 0) groups.push(group)
    group.push(place)
    for (const { begin } of place.parts) groupOf.set(begin, group)
  }
  return groups
}

async function writeParts(handle: FileHandle, layout: PlannedFile, places: readonly PlannedTensor<MeshArray>[], processes: Processes): Promise<void> {
  const file: Pick<OpenFile, 'write'> = { write: async (bytes, at) => (await handle.write(bytes, 0, Math.min(bytes.byteLength, 2 ** 30), at)).bytesWritten }
  const staging = new Staging()
  for (const group of places.length === 0 ? [[]] : sharing(places)) {
    const [runs = []] = await stage([layout], group, processes, staging)
    for (const { at, bytes } of runs) await writeAll(file, bytes, at)
  }
}

/**
 * Reads arrays and lays them over the mesh; a process reads the parts of its own devices. The file may have more.
 * @throws FileError where one is missing or of another shape or dtype.
 */
export async function loadWeights(file: string, wanted: readonly Named<Placement>[], backend: Backend, mesh: Mesh, naming?: Naming): Promise<MeshArray[]> {
  await using opened = await openFile(file)
  const source = await byPaths(opened, naming, wanted, { missing: true, unexpected: false })
  compare(file, wanted, source, { cast: false, refuse: { missing: true, unexpected: false } })
  const arrays = await loadArrays(source, wanted, backend, mesh)
  // A slow disk is waited for here, not within a program.
  await barrier(backend.processes, 'reading weights')
  return arrays
}

/** What is to be loaded in part may lack tensors, and have others. */
const lenient = { missing: false, unexpected: false }

export interface Initial extends Fit {
  /** By path. */
  readonly arrays: ReadonlyMap<string, MeshArray>
}

/**
 * Some of a model's arrays from other weights: a file, a folder in Hugging Face's layout, a checkpoint or a run's folder. `choice` says which
 * names, all unless given. Floats of another dtype are rounded to what is asked for. `naming` is that of all the model's parameters, which `wanted` are. All
 * processes call it.
 * @throws FileError where one of the chosen is of other dims, or none of them is there
 */
export async function loadInitial(path: string, wanted: readonly Named<Placement>[], choice: Choice, backend: Backend, mesh: Mesh, naming?: Naming): Promise<Initial> {
  await using opened = await openWeights(path)
  const source = await byPaths(opened, naming, wanted, lenient)
  const fit = fitOf(path, wanted, source, choice)
  const named = new Set(fit.loaded)
  const arrays = await loadArrays(source, wanted.filter(w => named.has(w.path)), backend, mesh)
  await barrier(backend.processes, 'reading weights')
  return { ...fit, arrays: new Map(fit.loaded.map((name, i) => [name, arrays[i] as MeshArray])) }
}

/** Whether a checkpoint's weights are those of a model, found out without devices. @throws FileError where some are missing, too many or of other dims */
export async function checkWeights(checkpoint: string, wanted: readonly Named<Pick<Placement, 'shape' | 'dtype'>>[], naming?: Naming): Promise<void> {
  await using opened = await openWeights(checkpoint)
  const source = await byPaths(opened, naming, wanted, { missing: true, unexpected: true })
  compare(`the checkpoint ${checkpoint} (weights)`, wanted, source, { cast: false, refuse: { missing: true, unexpected: true } })
}

/** What `loadInitial` would load, found out without devices. @throws FileError as it would */
export async function checkInitial(path: string, wanted: readonly Named<Pick<Placement, 'shape' | 'dtype'>>[], choice: Choice, naming?: Naming): Promise<Fit> {
  await using opened = await openWeights(path)
  const source = await byPaths(opened, naming, wanted, lenient)
  return fitOf(path, wanted, source, choice)
}

function fitOf(path: string, wanted: readonly Named<Pick<Placement, 'shape' | 'dtype'>>[], source: Source, choice: Choice): Fit {
  const fit = compare(path, wanted, source, { cast: true, refuse: { missing: false, unexpected: false }, choice })
  if (fit.loaded.length === 0) {
    throw new FileError({
      code: 'nothing-to-load', what: `${path} has none of the arrays that are to be loaded`,
      details: { asked: fit.missing.slice(0, 8).join(', ') || 'no name of the model is chosen', has: [...source.tensors.keys()].slice(0, 8).join(', ') || 'none' },
      fix: 'choose other names: * stands for any characters',
    })
  }
  return fit
}
