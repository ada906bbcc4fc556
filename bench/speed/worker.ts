/** Our side of the section on speed, in a process of its own: a request a line on stdin, an answer a line on stdout. */
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { DType } from '../../src/core/dtype.ts'
import { dims } from '../../src/core/dim.ts'
import { mesh } from '../../src/core/mesh.ts'
import { compile, full, input, openBackend, plan, type Backend, type Tree } from '../../src/engine/index.ts'
import { convNet } from '../../src/models/conv-net.ts'
import { gpt, llama, llamaSchema, type GptConfig } from '../../src/models/index.ts'
import type { Model } from '../../src/models/model.ts'
import { joinJob } from '../../src/runtime/job.ts'
import { choosePlugin } from '../../src/runtime/plugins/index.ts'
import { stateOf, trainStep } from '../../src/train/program.ts'
import { stepFlops } from '../../src/train/flops.ts'
import { optimizerOf, type PlainOptimizer } from '../../test/oracle/cases.ts'
import { answerLines } from '../answers.ts'
import { openStepper, type Stepper } from '../stepper.ts'
import { batches, type Configuration } from './configurations.ts'

export interface Opening { readonly of: Configuration; readonly compute: 'f32' | 'bf16'; readonly mesh: { readonly batch: number; readonly model: number }; readonly optimizer: PlainOptimizer; readonly folder: string; readonly plugin?: string }
/** Depths of a GPT whose stages are timed: `unrolled` layers are a chain of the same, written one after another. */
export interface Stages { readonly of: Configuration; readonly mesh: Opening['mesh']; readonly optimizer: PlainOptimizer }
export type Request =
  | { readonly do: 'open' } & Opening
  /** The plugin of this machine's best device. */
  | { readonly do: 'card' }
  | { readonly do: 'save' } | { readonly do: 'close' } | { readonly do: 'memory' }
  /** From here on the most that is resident is that of the steps: what compiling took does not count. */
  | { readonly do: 'forget' }
  | { readonly do: 'steps'; readonly count: number }
  /** Square matrices, multiplied once. */
  | { readonly do: 'roof'; readonly size: number; readonly dtype: 'float32' | 'bfloat16' }
  /** From the model to the executable, each stage timed: processor time, since others may use the machine. */
  | { readonly do: 'stages' } & Stages
export interface Answers {
  readonly open: { readonly runtime: string; readonly flops: number }
  readonly card: { readonly plugin: string; readonly why: string }
  readonly save: Record<string, never>
  readonly close: Record<string, never>
  readonly steps: { readonly ms: readonly number[]; readonly losses: readonly number[] }
  readonly forget: Record<string, never>
  /** Of the process at its most, since it began and since `forget`, and with its libraries alone, before there was a model; and of the program, as the compiler lays it. */
  readonly memory: { readonly peakMiB: number; readonly stepsMiB: number; readonly bareMiB: number; readonly programMiB: number }
  readonly roof: { readonly ms: number }
  readonly stages: { readonly traceMs: number; readonly partitionMs: number; readonly textMs: number; readonly compileMs: number; readonly programMiB: number }
}

const layout = { batch: 'batch', heads: 'model', kvHeads: 'model', hidden: 'model', vocab: 'model' } as const
const processes = await joinJob()
let opened: { readonly stepper: Stepper; readonly backend: Backend } | undefined
let backend: Backend | undefined
const backendFor = async (devices: number, plugin = 'cpu'): Promise<Backend> => backend ??= await openBackend({ devices, plugin, cache: false })

function modelOf({ kind, config, experts, batch }: Configuration, compute: DType): Model<Tree, Tree> {
  const precision = { params: 'f32', compute } as const
  if (kind === 'images') return convNet(config as Parameters<typeof convNet>[0], batch, precision) as unknown as Model<Tree, Tree>
  if (kind === 'gpt') return gpt(config as GptConfig, batch, precision) as unknown as Model<Tree, Tree>
  return llama(llamaSchema.parse({ ...config, tied: true, ...(experts === undefined ? {} : { experts: { ...experts, balance: 0 } }) }), batch, precision) as unknown as Model<Tree, Tree>
}

async function batchesIn(folder: string, images: boolean): Promise<unknown[]> {
  return Promise.all(Array.from({ length: batches }, async (_, i) => {
    const read = async (name: string): Promise<ArrayBuffer> => new Uint8Array(await readFile(join(folder, `${name}.${i}`))).buffer
    if (images) return { images: new Uint8Array(await read('images')), labels: new Int32Array(await read('labels')) }
    const ids = new Int32Array(await read('batch'))
    return { tokens: ids.subarray(0, ids.length / 2), targets: ids.subarray(ids.length / 2) }
  }))
}

/** Those rules that the model's dims fit: a net of convolutions has no heads. */
const rulesFor = (model: Model<Tree, Tree>): { readonly [dim: string]: string } => Object.fromEntries(Object.entries(layout).filter(([dim]) => dim in model.dims))

const spent = (since: NodeJS.CpuUsage): number => { const { user, system } = process.cpuUsage(since); return (user + system) / 1000 }
const current = (): Stepper => { if (opened === undefined) throw new Error('nothing is open'); return opened.stepper }

/** Resident at most, since the process began or it was forgotten; and before that. */
const peak = async (): Promise<number> => Number(/VmHWM:\s+(\d+)/.exec(await readFile('/proc/self/status', 'utf8'))?.[1] ?? NaN) / 1024
let [begun, bare] = [0, 0]

type Handlers = { readonly [K in keyof Answers]: (request: Extract<Request, { readonly do: K }>) => Promise<Answers[K]> }
const handlers: Handlers = {
  open: async ({ of, compute, mesh: axes, optimizer, folder, plugin }) => {
    const model = modelOf(of, compute)
    const own = await backendFor(axes.batch * axes.model, plugin)
    bare ||= await peak()
    const where = { mesh: mesh(axes), layout: rulesFor(model), backend: own, dims: model.dims }
    opened = { backend: own, stepper: await openStepper({ model, where, optimizer, folder, batches: await batchesIn(folder, of.kind === 'images'), remat: 'all-but-contractions' }) }
    return { runtime: own.description, flops: stepFlops(model) }
  },
  card: async () => {
    const { plugin, note } = await choosePlugin()
    return { plugin, why: note ?? '' }
  },
  save: async () => {
    await current().save()
    // The weights as they were read would count as memory of the steps until V8 happened to look.
    globalThis.gc?.()
    return {}
  },
  steps: ({ count }) => current().steps(count),
  memory: async () => {
    const { memory } = current()
    const stepsMiB = await peak()
    const own = memory === undefined ? 0 : memory.arguments + memory.temporaries + memory.outputs - memory.aliased
    return { peakMiB: Math.max(begun, stepsMiB), stepsMiB, bareMiB: bare, programMiB: own / 2 ** 20 }
  },
  forget: async () => {
    begun = Math.max(begun, await peak())
    await writeFile('/proc/self/clear_refs', '5')
    return {}
  },
  close: () => {
    current().close()
    opened = undefined
    return Promise.resolve({})
  },
  roof: async ({ size: n, dtype: name }) => {
    const [own, dtype] = [await backendFor(1), name === 'float32' ? 'f32' : 'bf16'] as const
    const d = dims({ rows: n, inner: n, columns: n })
    const [left, right] = [input('left', [d.rows, d.inner], dtype), input('right', [d.inner, d.columns], dtype)]
    const where = { mesh: mesh({ devices: 1 }), backend: own, layout: {} }
    using program = await compile((x: typeof left, y: typeof right) => x.dot(y, d.inner).cast('f32').max(d.rows, d.columns), [left, right] as const, where)
    using filled = await compile(() => ({ x: full(0.5, [d.rows, d.inner], dtype), y: full(0.25, [d.inner, d.columns], dtype) }), [] as const, where)
    const { x, y } = await filled()
    let ms = Infinity
    for (let round = 0; round < 5; round++) {
      const start = performance.now()
      using largest = await program(x, y)
      await largest.read()
      ms = Math.min(ms, performance.now() - start)
    }
    for (const array of [x, y]) array.dispose()
    return { ms }
  },
  stages: async ({ of, mesh: axes, optimizer }) => {
    const model = modelOf(of, 'f32')
    const config = { optimizer: optimizerOf(optimizer), seed: 0, remat: 'all-but-contractions' } as const
    let traced = process.cpuUsage()
    const began = process.cpuUsage()
    let traceMs = 0
    // Once the function has returned, what is left of planning is its partition.
    const step: ReturnType<typeof trainStep<Tree, Tree>> = (state, batch) => {
      const result = trainStep(model, config)(state, batch)
      traceMs = spent(began)
      traced = process.cpuUsage()
      return result
    }
    const planned = plan(step, [stateOf(model, config), model.batch] as const, { mesh: mesh(axes), layout: rulesFor(model), dims: model.dims, donate: [0] })
    const partitionMs = spent(traced)
    const writing = process.cpuUsage()
    const { text } = planned
    const textMs = spent(writing)
    const own = await backendFor(axes.batch * axes.model)
    const compiling = process.cpuUsage()
    const made = await own.compile({ text, devices: axes.batch * axes.model, donated: [...planned.donations.keys()] })
    const compileMs = spent(compiling)
    const { memory } = made
    made.dispose()
    return { traceMs, partitionMs, textMs, compileMs, programMiB: memory === undefined ? NaN : (memory.arguments + memory.temporaries + memory.outputs - memory.aliased) / 2 ** 20 }
  },
}
const answer = <K extends keyof Answers>(request: Extract<Request, { readonly do: K }>): Promise<Answers[K]> =>
  (handlers[request.do as K] as (r: typeof request) => Promise<Answers[K]>)(request)

await answerLines<Request>(processes, answer)
await backend?.close()
