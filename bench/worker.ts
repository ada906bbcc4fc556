/** Our side, in a process of its own or one on each rank: a request a line on stdin, an answer a line on stdout; rank 0 has both. */
import { readFileSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { mesh } from '../src/core/mesh.ts'
import { treeOps } from '../src/core/tree.ts'
import { compile, input, MeshArray, openBackend, type Backend, type Given } from '../src/engine/index.ts'
import { gpt, type GptBatch, type GptParams } from '../src/models/index.ts'
import { joinJob } from '../src/runtime/job.ts'
import { initialise, stateOf, trainStep, type TrainState } from '../src/train/program.ts'
import { optimizerOf } from '../test/oracle/cases.ts'
import { writeArrays } from '../test/oracle/exchange.ts'
import { Collectives } from './mpi/collectives.ts'
import type { Answers, Request, Task } from './task.ts'
import { answerLines } from './answers.ts'

type State = Given<TrainState<GptParams>>
const arrays = treeOps((x): x is MeshArray => x instanceof MeshArray, 'an array')
const layout = { batch: 'batch', heads: 'model', hidden: 'model', vocab: 'model' } as const

const processes = await joinJob()

/** One backend a process: a plugin is loaded once, with as many devices as the first request needs. */
let backend: Backend | undefined
async function backendFor(task: Task): Promise<Backend> {
  backend ??= await openBackend({ devices: task.mesh.batch * task.mesh.model, cache: false })
  return backend
}

async function programs(task: Task) {
  const model = gpt(task.config, task.batch)
  const where = { mesh: mesh(task.mesh), layout, backend: await backendFor(task), dims: model.dims }
  const config = { optimizer: optimizerOf(task.optimizer), seed: 0, remat: task.remat ?? 'all-but-contractions' } as const
  return {
    step: () => compile(trainStep(model, config), [stateOf(model, config), model.batch] as const, { ...where, donate: [0] }),
    init: () => compile(initialise(model, config), [input('seed', [], 'i32')] as const, where),
  }
}

async function open(task: Task) {
  const { step, init } = await programs(task)
  const [train, start] = [await step(), await init()]
  const state: State = await start(1)
  start.dispose()
  const batches = await Promise.all(Array.from({ length: task.batches }, async (_, i) => {
    const bytes = await readFile(join(task.folder, `batch.${i}`))
    const half = bytes.byteLength / 2
    const ids = (from: number): Int32Array => new Int32Array(bytes.buffer.slice(bytes.byteOffset + from, bytes.byteOffset + from + half))
    return { tokens: ids(0), targets: ids(half) } as Given<GptBatch>
  }))
  return { task, train, state, batches, at: 0 }
}
let opened: Awaited<ReturnType<typeof open>> | undefined
function current(): Awaited<ReturnType<typeof open>> {
  if (opened === undefined) throw new Error('nothing is open')
  return opened
}

let collectives: Collectives | undefined

/** Processor time of the thread that runs our JavaScript, in milliseconds: Linux counts it by thread. */
const hostMs = (): number => Number(readFileSync(`/proc/self/task/${process.pid}/schedstat`, 'utf8').split(' ')[0]) / 1e6

type Handlers = { readonly [K in keyof Answers]: (request: Extract<Request, { readonly do: K }>) => Promise<Answers[K]> }
const handlers: Handlers = {
  open: async ({ task }) => {
    opened = await open(task)
    return { runtime: (await backendFor(task)).description }
  },
  save: async () => {
    const { state, task } = current()
    const leaves = arrays.flatten((state as { readonly params: unknown }).params)
    const read = await Promise.all(leaves.map(async ({ path, leaf }) =>
      [path, { shape: leaf.shape.map(d => d.size), data: await leaf.read() as Float32Array }] as const))
    if (processes.rank === 0) await writeFile(join(task.folder, 'weights.json'), JSON.stringify(await writeArrays(task.folder, new Map(read))))
    return {}
  },
  steps: async ({ count }) => {
    const o = current()
    const [ms, losses]: [number[], number[]] = [[], []]
    for (let i = 0; i < count; i++) {
      const batch = o.batches[o.at++ % o.batches.length]
      if (batch === undefined) throw new Error('there are no batches')
      const start = performance.now()
      const { state, metrics } = await o.train(o.state, batch)
      losses.push(await metrics.loss.item())
      ms.push(performance.now() - start)
      for (const m of Object.values(metrics)) m.dispose()
      o.state = state
    }
    return { ms, losses }
  },
  loop: async ({ count }) => {
    const o = current()
    const losses: number[] = []
    const [start, host] = [performance.now(), hostMs()]
    let before: Awaited<ReturnType<typeof o.train>>['metrics'] | undefined
    const read = async (metrics: typeof before): Promise<void> => {
      if (metrics === undefined) return
      losses.push(await metrics.loss.item())
      for (const m of Object.values(metrics)) m.dispose()
    }
    for (let i = 0; i < count; i++) {
      const batch = o.batches[o.at++ % o.batches.length]
      if (batch === undefined) throw new Error('there are no batches')
      const { state, metrics } = await o.train(o.state, batch)
      o.state = state
      await read(before)
      before = metrics
    }
    await read(before)
    return { ms: (performance.now() - start) / count, hostMs: (hostMs() - host) / count, losses }
  },
  collective: async request => {
    backend ??= await openBackend({ cache: false })
    collectives ??= new Collectives(backend)
    return { us: await collectives.time(request) }
  },
  compile: async ({ task }) => {
    const { step } = await programs(task)
    const start = performance.now()
    const made = await step()
    const ms = performance.now() - start
    made.dispose()
    return { ms }
  },
  memory: () => {
    // What Node has not collected yet is no leak.
    globalThis.gc?.()
    return Promise.resolve({ residentBytes: process.memoryUsage.rss(), liveBuffers: backend?.liveBuffers() ?? 0 })
  },
  close: async () => {
    if (opened !== undefined) {
      for (const { leaf } of arrays.flatten(opened.state)) leaf.dispose()
      opened.train.dispose()
      opened = undefined
    }
    return Promise.resolve({ liveBuffers: backend?.liveBuffers() ?? 0 })
  },
}
const answer = <K extends keyof Answers>(request: Extract<Request, { readonly do: K }>): Promise<Answers[K]> =>
  (handlers[request.do as K] as (r: typeof request) => Promise<Answers[K]>)(request)

await answerLines<Request>(processes, answer)
collectives?.dispose()
await backend?.close()
