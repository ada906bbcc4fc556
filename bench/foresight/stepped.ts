/** Steps of runs, predicted and measured: what the sections on foresight share. */
import { hostArray, isFloat, type TypedArray } from '../../src/core/dtype.ts'
import { stepTime } from '../../src/cost/time.ts'
import { compile, input, leavesOf, type Backend, type Given, type Tree } from '../../src/engine/index.ts'
import type { Machine } from '../../src/machine/machine.ts'
import { disposeAll } from '../../src/train/evaluate.ts'
import { planRun } from '../../src/train/planned.ts'
import { initialise, stateOf, trainStep } from '../../src/train/program.ts'
import { layoutsOf, meshOfRun, modelOf, type Run } from '../../src/train/run.ts'
import { trainerConfig } from '../../src/train/session.ts'

export interface Predicted extends Collectives { readonly stepMs: number; readonly productMs: number; readonly memoryMs: number; readonly waitedMs: number; readonly overheadMs: number; readonly peakBytes: number }

/** `MESHWORK_BENCH_CLOCK=cpu`: processor time instead of the wall's, in calibration and steps alike, where other work shares the machine. */
export const clockOf = (): (() => number) => ((process.env['MESHWORK_BENCH_CLOCK'] ?? '') === 'cpu' ? () => { const { user, system } = process.cpuUsage(); return (user + system) / 1000 } : () => performance.now())

/** `MESHWORK_BENCH_CACHE=FOLDER`: programs that were compiled before, also beside other work, are not compiled again. */
export const cached = (): { readonly cache: string | false } => ({ cache: process.env['MESHWORK_BENCH_CACHE'] ?? false })

/** Each time that collectives run, and the bytes that enter on a device. */
export interface Collectives { readonly collectives: number; readonly collectiveBytes: number }
const totalOf = (list: readonly { readonly count: number; readonly bytes: number }[]): Collectives => ({ collectives: list.reduce((n, c) => n + c.count, 0), collectiveBytes: list.reduce((n, c) => n + c.count * c.bytes, 0) })

/** What a machine is expected to take for a run's step: nothing is compiled. */
export function predictedOf(run: Run, machine: Machine): Predicted {
  const { plan, step: { local } } = planRun(run)
  const { stepMs, productMs, memoryMs, waitedMs, overheadMs } = stepTime(local, machine)
  return { stepMs, productMs, memoryMs, waitedMs, overheadMs, peakBytes: plan.perDevice.peakBytes, ...totalOf(plan.collectives) }
}

/** A run's step, compiled and with a batch, ready to be measured. */
export async function compiled(run: Run, backend: Backend) {
  const [model, mesh, config] = [modelOf(run), meshOfRun(run), trainerConfig(run)]
  const where = { mesh, backend, dims: model.dims, ...layoutsOf(run, model) }
  const train = await compile(trainStep(model, config), [stateOf(model, config), model.batch] as const, { ...where, donate: [0] })
  const init = await compile(initialise(model, config), [input('seed', [], 'i32')] as const, where)
  // What is in a batch does not change the work.
  const batch = new Map<string, TypedArray>(leavesOf(model.batch).map(({ path, leaf }) => {
    const array = hostArray(leaf.dtype, leaf.shape.reduce((n, d) => n * d.size, 1))
    if (array instanceof BigInt64Array) return [path, array]
    for (let i = 0; i < array.length; i++) array[i] = isFloat(leaf.dtype) ? (i % 7) / 7 : i % 7
    return [path, array]
  }))
  const { memory } = train
  const peakBytes = memory === undefined ? NaN : memory.arguments + memory.outputs - memory.aliased + memory.temporaries
  const dispose = (): void => { train.dispose(); init.dispose() }
  return { found: { peakBytes, ...totalOf(train.collectives) }, train, begin: async (): Promise<unknown> => init(1), batch: treeOf(model.batch, batch), dispose }
}
/** The same, and what a machine is expected to take for it. */
export async function opened(run: Run, backend: Backend, machine: Machine) {
  const { found, ...open } = await compiled(run, backend)
  return { answer: { predicted: predictedOf(run, machine), ...found }, ...open }
}
/** The tree with arrays in the place of its tensors. */
function treeOf(tree: Tree, arrays: ReadonlyMap<string, unknown>, path = ''): unknown {
  if (arrays.has(path)) return arrays.get(path)
  return Object.fromEntries(Object.entries(tree).map(([key, value]) => [key, treeOf(value as Tree, arrays, path === '' ? key : `${path}.${key}`)]))
}

export interface Stepped extends Pick<Awaited<ReturnType<typeof compiled>>, 'train' | 'begin' | 'batch' | 'dispose'> { /** Weights and slots: from the first step on, until `rest`. */ state?: unknown }
/** Milliseconds of each of so many steps. */
export async function stepped(o: Stepped, count: number, clock: () => number): Promise<number[]> {
  const ms: number[] = []
  o.state ??= await o.begin()
  for (let i = 0; i < count; i++) {
    const start = clock()
    const { state, metrics } = await o.train(o.state as never, o.batch as Given<Tree> as never)
    await metrics.loss.item()
    ms.push(clock() - start)
    o.state = state
  }
  return ms
}
/** Gives memory back: the next step begins anew. */
export function rest(o: Stepped): void {
  if (o.state !== undefined) disposeAll(o.state)
  o.state = undefined
}
