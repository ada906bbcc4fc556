/** What a run starts from that has not begun: another run's checkpoint, or weights of any kind. */
import { checkInitial, checkWeights, loadInitial, newestIn, restoreFrom } from '../checkpoint/index.ts'
import { UsageError } from '../core/errors.ts'
import { compile, fromFirst, leavesOf, mapTree, placementTrees, trainedOf, type Tree } from '../engine/index.ts'
import { disk } from '../io/files.ts'
import { disposeAll, namedArrays } from './evaluate.ts'
import type { TrainEvent } from './events.ts'
import { firstState } from './fit.ts'
import { wantedOf, whole } from './keep.ts'
import type { Point } from './loop.ts'
import { beginning, parseProgress } from './progress.ts'
import type { StateArrays } from './program.ts'
import { filesOfRun, layoutsOf, modelOf, optimizerOf, type Run } from './run.ts'
import type { Session } from './session.ts'

/** Where a run begins that has no checkpoint of its own: at another's, at the weights that it says it starts from, or at its seed. */
export async function beginningOf(session: Session, resume: string | undefined, tell: (event: TrainEvent) => void): Promise<{ readonly point: Point; readonly from: string | undefined }> {
  if (resume !== undefined) return resumed(resume, session)
  const { initFrom } = session.run
  return { point: initFrom === null ? { state: await firstState(session), progress: beginning } : await initialised(initFrom, session, tell), from: undefined }
}

/** Whether there is what a run is to start from, and whether it fits: told before anything long is done. @throws UsageError, FileError */
export async function checkBeginning(run: Run, resume: string | undefined): Promise<void> {
  const { initFrom } = run
  if (resume === undefined && initFrom === null) return
  const model = modelOf(run)
  const naming = filesOfRun(run, model)?.naming
  const wanted = leavesOf(model.params).map(({ path, leaf }) => ({ path, value: { shape: leaf.shape, dtype: leaf.dtype } }))
  if (resume !== undefined) await checkWeights(await checkpointAt(resume), wanted, naming)
  else if (initFrom !== null) await checkInitial(initFrom.path, wanted, initFrom, naming)
}

async function checkpointAt(path: string): Promise<string> {
  const newest = await newestIn(path)
  if (newest === undefined) throw new UsageError({ code: 'no-checkpoint', what: `there is no checkpoint at ${path}`, fix: 'give a checkpoint\'s folder, or that of a run that has one; for weights alone: --init-from' })
  return newest.path
}

async function resumed(path: string, { backend, mesh, trainer, files }: Session): Promise<{ readonly point: Point; readonly from: string }> {
  const newest = await fromFirst(backend.processes, 'the checkpoint', () => checkpointAt(path))
  const restored = await restoreFrom(newest, wantedOf(trainer.step.placements[0], files), { files: disk, folder: newest, backend, mesh })
  return { point: { state: whole(restored.weights, restored.state), progress: { ...parseProgress(restored.host, restored.path), metricsBytes: 0, eventsBytes: 0 } }, from: restored.path }
}

/** Weights from elsewhere; what they lack is drawn from the seed, and the optimizer's slots begin anew, as averages of the weights do. */
async function initialised({ path, ...choice }: NonNullable<Run['initFrom']>, session: Session, tell: (event: TrainEvent) => void): Promise<Point> {
  const { backend, mesh, trainer, model, run, files } = session
  const placements = trainer.step.placements[0] as unknown as { readonly params: unknown }
  const wanted = placementTrees.flatten(placements.params).map(({ path: name, leaf }) => ({ path: name, value: leaf }))
  const state = await firstState(session)
  const drawn = new Map(namedArrays(state.params).map(({ path: name, value }) => [name, value]))
  // What is loaded takes the place of what was drawn: devices need not hold both.
  for (const name of (await checkInitial(path, wanted, choice, files?.naming)).loaded) drawn.get(name)?.dispose()
  const { arrays, loaded, unexpected } = await loadInitial(path, wanted, choice, backend, mesh, files?.naming)
  const some = (names: readonly string[]): string => (names.length > 8 ? `${names.slice(0, 8).join(', ')} and ${names.length - 8} more` : names.join(', '))
  const others = wanted.map(w => w.path).filter(name => !arrays.has(name))
  tell({ type: 'note', text: `from ${path}: ${loaded.length} of ${wanted.length} parameters loaded${others.length > 0 ? `; drawn from the seed: ${some(others)}` : ''}${unexpected.length > 0 ? `; left there: ${some(unexpected)}` : ''}` })
  const params = placementTrees.rebuild(placements.params, wanted.map(w => arrays.get(w.path) ?? drawn.get(w.path)))
  disposeAll(state.slots)
  const slots = await compile((p: Tree) => optimizerOf(run).init(trainedOf(model.params).of(mapTree(p, x => x))), [model.params] as const, { mesh, backend, dims: model.dims, ...layoutsOf(run, model) })
  try {
    return { state: { ...state, params, slots: await slots(params as never) } as StateArrays<Tree>, progress: beginning }
  } finally {
    slots.dispose()
  }
}
