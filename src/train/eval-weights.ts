/** The parameters that a run's folder has to measure: what it ended with, or those of its newest checkpoint; averages, where the optimizer keeps them. */
import { stat } from 'node:fs/promises'
import { FileError } from '../core/errors.ts'
import type { Mesh } from '../core/mesh.ts'
import type { Naming } from '../core/naming.ts'
import { loadInitial, newestIn, weightsIn } from '../checkpoint/index.ts'
import { loadArrays } from '../checkpoint/load.ts'
import { openGroup } from '../checkpoint/source.ts'
import { barrier, compile, placementTrees, trainedOf, type Arrays, type Backend, type Placements, type Tree } from '../engine/index.ts'
import { averagesIn, hasAverages } from '../optim/index.ts'
import type { Model } from '../models/index.ts'
import { disposeAll } from './evaluate.ts'
import { readSummary } from './folder.ts'
import { filesOfRun, layoutsOf, optimizerOf, type Run } from './run.ts'

/**
 * Of a run that has ended what it has left; of one that goes on, or was killed, the newest checkpoint. Where the model has copies that only checkpoints hold, always the checkpoint.
 * @throws FileError where there is neither
 */
export async function weightsOf(folder: string, { copies }: { readonly copies: boolean }): Promise<string> {
  const file = await weightsIn(folder)
  const there = file !== folder
  const ended = (await readSummary(folder))?.state
  if (there && !copies && (ended === 'finished' || ended === 'stopped')) return file
  const newest = await newestIn(folder)
  if (newest !== undefined) return newest.path
  if (there && !copies) return file
  if (there) throw new FileError({ code: 'no-reference', what: `${folder} has no checkpoint, and what the model is compared with is only there`, fix: 'let checkpoint.every be above 0; or train adapters, which are compared with their base' })
  throw new FileError({ code: 'no-weights', what: `${folder} holds no weights: neither model.safetensors nor a checkpoint`, fix: 'let the run make a step first' })
}

/** What is evaluated at `path`, laid as `placements` say. All processes call it. @throws FileError where a parameter is not there, or of other dims */
export async function loadMeasured(path: string, run: Run, model: Model<Tree, Tree>, placements: Placements<Tree>, backend: Backend, mesh: Mesh): Promise<Arrays<Tree>> {
  const slots = optimizerOf(run).slots(trainedOf(model.params).of(model.params))
  const naming = filesOfRun(run, model)?.naming
  // A file has the averages already.
  const checkpoint = hasAverages(slots) && (await stat(path)).isDirectory() ? await newestIn(path) : undefined
  if (checkpoint === undefined) return load(path, placements, backend, mesh, naming)
  const averages = await compile((params: Tree, s: Tree) => averagesIn(params, s), [model.params, slots] as const, { mesh, backend, dims: model.dims, ...layoutsOf(run, model) })
  try {
    const [ofParams, ofSlots] = averages.placements
    const params = await load(path, ofParams, backend, mesh, naming)
    try {
      const state = await stateOf(checkpoint, ofSlots, backend, mesh)
      try { return await averages(params, state as never) } finally { disposeAll(state) }
    } finally {
      disposeAll(params)
    }
  } finally {
    averages.dispose()
  }
}

async function load(path: string, placements: Placements<Tree>, backend: Backend, mesh: Mesh, naming: Naming | undefined): Promise<Arrays<Tree>> {
  const wanted = placementTrees.flatten(placements).map(({ path: name, leaf }) => ({ path: name, value: leaf }))
  const { arrays, missing } = await loadInitial(path, wanted, {}, backend, mesh, naming)
  if (missing.length === 0) return placementTrees.rebuild(placements, wanted.map(w => arrays.get(w.path))) as Arrays<Tree>
  disposeAll([...arrays.values()])
  throw new FileError({ code: 'tensors-differ', what: `${path} lacks parameters of the run's model`, details: { missing: missing.slice(0, 8).join(', ') }, fix: 'use the model that they were written from' })
}

/** The slots of a checkpoint. */
async function stateOf({ path, manifest }: NonNullable<Awaited<ReturnType<typeof newestIn>>>, placements: Placements<Tree>, backend: Backend, mesh: Mesh): Promise<Arrays<Tree>> {
  await using source = await openGroup(path, manifest, 'state')
  const wanted = placementTrees.flatten(placements).map(({ path: name, leaf }) => ({ path: `slots.${name}`, value: leaf }))
  const arrays = await loadArrays(source, wanted, backend, mesh)
  await barrier(backend.processes, 'reading slots')
  return placementTrees.rebuild(placements, arrays) as Arrays<Tree>
}
