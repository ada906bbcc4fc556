/** Steps of the section on foresight, predicted and measured, on virtual devices of one process or one on each rank: a request a line on stdin, an answer a line on stdout; rank 0 has both. */
import { hostArray, isFloat, type TypedArray } from '../../src/core/dtype.ts'
import { calibrate } from '../../src/calibrate/calibrate.ts'
import { stepTime } from '../../src/cost/time.ts'
import { compile, input, leavesOf, openBackend, type Given, type Tree } from '../../src/engine/index.ts'
import type { Machine } from '../../src/machine/machine.ts'
import { machineOf } from '../../src/machine/read.ts'
import { joinJob } from '../../src/runtime/job.ts'
import { planRun } from '../../src/train/planned.ts'
import { initialise, stateOf, trainStep } from '../../src/train/program.ts'
import { layoutsOf, meshOfRun, modelOf, type Run } from '../../src/train/run.ts'
import { trainerConfig } from '../../src/train/session.ts'
import { answerLines } from '../answers.ts'
import { isQuick, models } from './runs.ts'

export interface Named { readonly model: string; readonly layout: string }
export type Request = { readonly do: 'calibrate' } | ({ readonly do: 'open' } & Named) | ({ readonly do: 'steps'; readonly count: number } & Named) | { readonly do: 'close' }
export interface Predicted { readonly stepMs: number; readonly productMs: number; readonly memoryMs: number; readonly waitedMs: number; readonly overheadMs: number; readonly peakBytes: number; readonly collectives: number; readonly collectiveBytes: number }
export interface Answers {
  readonly calibrate: { readonly seconds: number; readonly machine: unknown }
  readonly open: { readonly predicted: Predicted; readonly peakBytes: number; readonly collectives: number; readonly collectiveBytes: number }
  readonly steps: { readonly ms: readonly number[] }
  readonly close: Record<string, never>
}

const processes = await joinJob()
const backend = await openBackend({ devices: 4, cache: false })

/** `MESHWORK_BENCH_CLOCK=cpu`: processor time instead of the wall's, in calibration and steps alike, where other work shares the machine. */
const clock = (process.env['MESHWORK_BENCH_CLOCK'] ?? '') === 'cpu' ? (): number => { const { user, system } = process.cpuUsage(); return (user + system) / 1000 } : (): number => performance.now()

let machine: Machine | undefined
async function opened(run: Run) {
  const [model, mesh, config] = [modelOf(run), meshOfRun(run), trainerConfig(run)]
  const { plan, step: { local } } = planRun(run)
  if (machine === undefined) throw new Error('nothing was calibrated')
  const { stepMs, productMs, memoryMs, waitedMs, overheadMs } = stepTime(local, machine)
  const totalOf = (list: readonly { readonly count: number; readonly bytes: number }[]) => ({ collectives: list.reduce((n, c) => n + c.count, 0), collectiveBytes: list.reduce((n, c) => n + c.count * c.bytes, 0) })
  const predicted: Predicted = { stepMs, productMs, memoryMs, waitedMs, overheadMs, peakBytes: plan.perDevice.peakBytes, ...totalOf(plan.collectives) }
  const where = { mesh, backend, dims: model.dims, ...layoutsOf(run, model) }
  const train = await compile(trainStep(model, config), [stateOf(model, config), model.batch] as const, { ...where, donate: [0] })
  using init = await compile(initialise(model, config), [input('seed', [], 'i32')] as const, where)
  const state = await init(1)
  // What is in a batch does not change the work.
  const batch = new Map<string, TypedArray>(leavesOf(model.batch).map(({ path, leaf }) => {
    const array = hostArray(leaf.dtype, leaf.shape.reduce((n, d) => n * d.size, 1))
    if (array instanceof BigInt64Array) return [path, array]
    for (let i = 0; i < array.length; i++) array[i] = isFloat(leaf.dtype) ? (i % 7) / 7 : i % 7
    return [path, array]
  }))
  const { memory } = train
  const peakBytes = memory === undefined ? NaN : memory.arguments + memory.outputs - memory.aliased + memory.temporaries
  return { answer: { predicted, peakBytes, ...totalOf(train.collectives) }, train, state: state as unknown, batch: treeOf(model.batch, batch) }
}
/** The tree with arrays in the place of its tensors. */
function treeOf(tree: Tree, arrays: ReadonlyMap<string, unknown>, path = ''): unknown {
  if (arrays.has(path)) return arrays.get(path)
  return Object.fromEntries(Object.entries(tree).map(([key, value]) => [key, treeOf(value as Tree, arrays, path === '' ? key : `${path}.${key}`)]))
}

const open = new Map<string, Awaited<ReturnType<typeof opened>>>()
const keyOf = ({ model, layout }: Named): string => `${model} ${layout}`

type Handlers = { readonly [K in keyof Answers]: (request: Extract<Request, { readonly do: K }>) => Promise<Answers[K]> }
const handlers: Handlers = {
  calibrate: async () => {
    const start = performance.now()
    const found = await calibrate({ backend, name: 'here', clock, quick: isQuick, onProgress: (what, done) => { if (processes.rank === 0) process.stderr.write(`calibrating ${(100 * done).toFixed(0)} % ${what}\n`) } })
    machine = machineOf(found, 'what was measured')
    return { seconds: (performance.now() - start) / 1000, machine: found }
  },
  open: async named => {
    const run = models[named.model]?.[named.layout]
    if (run === undefined) throw new Error(`there is no run ${keyOf(named)}`)
    const found = await opened(run)
    open.set(keyOf(named), found)
    return found.answer
  },
  steps: async ({ count, ...named }) => {
    const o = open.get(keyOf(named))
    if (o === undefined) throw new Error(`${keyOf(named)} is not open`)
    const ms: number[] = []
    for (let i = 0; i < count; i++) {
      const start = clock()
      const { state, metrics } = await o.train(o.state as never, o.batch as Given<Tree> as never)
      await metrics.loss.item()
      ms.push(clock() - start)
      o.state = state
    }
    return { ms }
  },
  close: async () => {
    for (const { train } of open.values()) train.dispose()
    open.clear()
    return {}
  },
}

await answerLines<Request>(processes, request => (handlers[request.do] as (r: Request) => Promise<unknown>)(request))
await backend.close()
await processes.end()
