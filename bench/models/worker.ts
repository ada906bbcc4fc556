/** Our side of the section on models: a request a line on stdin, an answer a line on stdout. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { loadInitial, weightsIn } from '../../src/checkpoint/index.ts'
import { convertSource } from '../../src/checkpoint/convert.ts'
import { checkModel, openModel } from '../../src/cli/model-source.ts'
import { sizeOf } from '../../src/core/dim.ts'
import { dtypes } from '../../src/core/dtype.ts'
import { localShape, shardingOf } from '../../src/core/layout.ts'
import { compile, dim, input, leavesOf, loose, mapTree, mesh, openBackend, place, placementTrees, trainedOf, valueAndGrad, type AnyTensor, type Backend, type MeshArray, type Tree } from '../../src/engine/index.ts'
import { filesOf, loraModel, splitOfHeads, type AnyModel, type LlamaDims, type Model } from '../../src/models/index.ts'
import { attention } from '../../src/nn/attention.ts'
import { seeing } from '../../src/nn/visible.ts'
import { adamw, clipByGlobalNorm, chain } from '../../src/optim/index.ts'
import { partOf, readPretrained } from '../../src/pretrained/pretrained.ts'
import { trainStep, stateOf } from '../../src/train/program.ts'
import { forgetPeak, resident } from './resident.ts'
import type { Answers, Request } from './task.ts'

type Ask<K extends Request['do']> = Extract<Request, { readonly do: K }>
/** As a recipe of theirs has it. */
const optimizer = chain(clipByGlobalNorm(1), adamw({ rate: 1e-3, weightDecay: 0 }))

let backend: Backend | undefined
const open = async (devices = 1): Promise<Backend> => (backend ??= await openBackend({ devices, cache: false }))
const numbers = async (path: string): Promise<Float32Array> => { const b = await readFile(path); return new Float32Array(b.buffer, b.byteOffset, b.byteLength / 4) }
const integers = async (path: string): Promise<Int32Array> => { const b = await readFile(path); return new Int32Array(b.buffer, b.byteOffset, b.byteLength / 4) }
const timed = async <T>(work: () => Promise<T>): Promise<{ readonly ms: number; readonly result: T }> => {
  const start = performance.now()
  const result = await work()
  return { ms: performance.now() - start, result }
}
function present<T>(x: T | undefined): T {
  if (x === undefined) throw new Error('nothing is open')
  return x
}

async function openAttention({ folder, heads, seq, size }: Ask<'attention'>) {
  const devices = await open()
  const d = { heads: dim('heads', heads), seq: dim('seq', seq), kvSeq: dim('kvSeq', seq), headDim: dim('headDim', size) }
  const [q, g] = [input('q', [d.heads, d.seq, d.headDim]), input('g', [d.heads, d.seq, d.headDim])]
  const [k, v] = [input('k', [d.heads, d.kvSeq, d.headDim]), input('v', [d.heads, d.kvSeq, d.headDim])]
  type Q = typeof q
  type K = typeof k
  // In blocks of what models take.
  const f = (q: Q, k: K, v: K) => attention(q, k, v, d, { visible: seeing(d.seq, d.kvSeq), block: 256 })
  const where = { mesh: mesh({}), layout: {}, backend: devices }
  const magnitude = (x: AnyTensor) => loose(x).abs().sum()
  const forward = await compile((q: Q, k: K, v: K) => ({ sums: [magnitude(f(q, k, v))] }), [q, k, v] as const, where)
  const both = await compile((q: Q, k: K, v: K, g: Q) => {
    const { grads } = valueAndGrad((p: { readonly q: Q; readonly k: K; readonly v: K }) => f(p.q, p.k, p.v).mul(g).sum())({ q, k, v })
    return { sums: [magnitude(grads.q), magnitude(grads.k), magnitude(grads.v)] }
  }, [q, k, v, g] as const, where)
  const arrays: MeshArray[] = []
  for (const [name, t] of [['q', q], ['k', k], ['v', v], ['g', g]] as const) arrays.push(await place(devices, where.mesh, { shape: t.shape, dtype: 'f32', sharding: new Map() }, await numbers(join(folder, name)), name))
  const run = async (program: (...args: never[]) => Promise<unknown>, count: number) => timed(async () => {
    const { sums } = await program(...arrays.slice(0, count) as never[]) as { readonly sums: readonly MeshArray[] }
    const read = await Promise.all(sums.map(async s => await s.item()))
    for (const s of sums) s.dispose()
    return read
  })
  return { forward: () => run(forward as never, 3), both: () => run(both as never, 4), runtime: devices.description }
}

async function openLora({ folder, data, compute, batch, seq, rank, on, batches }: Ask<'lora'>) {
  const devices = await open()
  const found = await readPretrained(folder)
  const part = loraModel(partOf(found, { seq }) as never, { rank, on })
  const model = part.build({ batch, precision: { params: compute, compute } }) as unknown as Model<Tree, Tree>
  const where = { mesh: mesh({}), backend: devices, dims: model.dims, layout: {} }
  const config = { optimizer, seed: 0, remat: 'all-but-contractions' } as const
  const step = await compile(trainStep(model, config), [stateOf(model, config), model.batch] as const, { ...where, donate: [0] })
  const lies = step.placements[0] as unknown as { readonly params: unknown }
  const wanted = placementTrees.flatten(lies.params).map(({ path, leaf }) => ({ path, value: leaf }))
  const { arrays } = await loadInitial(await weightsIn(folder), wanted, {}, devices, where.mesh, filesOf(part, model)?.naming)
  const params: MeshArray[] = []
  for (const { path, value } of wanted) {
    const start = async (): Promise<Float32Array> => (path.endsWith('.down') ? numbers(join(data, path)) : new Float32Array(sizeOf(value.shape)))
    params.push(arrays.get(path) ?? await place(devices, where.mesh, value, await start(), path))
  }
  const tree = placementTrees.rebuild(lies.params, params)
  const slots = await compile((p: Tree) => optimizer.init(trainedOf(model.params).of(mapTree(p, x => x))), [model.params] as const, where)
  let state = { params: tree, slots: await slots(tree as never), step: await place(devices, where.mesh, { shape: [], dtype: 'i32', sharding: new Map() }, Int32Array.of(0), 'step') } as never
  slots.dispose()
  const fed = await Promise.all(Array.from({ length: batches }, async (_, i) => ({ tokens: await integers(join(data, `tokens.${i}`)), targets: await integers(join(data, `targets.${i}`)) })))
  let at = 0
  const next = async (): Promise<number> => {
    const { state: after, metrics } = await step(state, fed[at++ % fed.length] as never)
    state = after as never
    const loss = await metrics.loss.item()
    for (const m of Object.values(metrics)) m.dispose()
    return loss
  }
  return { next, runtime: devices.description }
}

/** Loads a folder as `train --init-from` and `generate` do. */
async function load({ folder, batch, model: parts }: Ask<'load'>): Promise<Answers['load']> {
  const devices = await open(batch * parts)
  const found = await readPretrained(folder)
  const part = partOf(found, { seq: 512 })
  const model = part.build({ batch }) as AnyModel
  const on = mesh({ batch, model: parts })
  const heads = splitOfHeads(model.dims as unknown as LlamaDims, parts)
  const rules: { readonly [name: string]: string } = { batch: 'batch', vocab: 'model', hidden: 'model', ...(heads === undefined ? {} : { [heads]: 'model' }) }
  const wanted = leavesOf(model.params).map(({ path, leaf: { shape, dtype } }) => ({ path, value: { shape, dtype, sharding: shardingOf(rules, on, shape, path) } }))
  const pieces = wanted.map(({ value: { shape, dtype, sharding } }) => localShape(shape, sharding, on).reduce((n, d) => n * d.size, 1) * dtypes[dtype].bytes)
  const deviceBytes = pieces.reduce((a, b) => a + b, 0) * on.size
  globalThis.gc?.()
  const before = resident().bytes
  forgetPeak()
  const { ms, result } = await timed(async () => loadInitial(await weightsIn(folder), wanted, {}, devices, on, filesOf(part, model)?.naming))
  const beyondBytes = resident().peakBytes - before - deviceBytes
  for (const array of result.arrays.values()) array.dispose()
  return { ms, beyondBytes, deviceBytes, pieceBytes: Math.max(...pieces) }
}

let attended: Awaited<ReturnType<typeof openAttention>> | undefined
let tuned: Awaited<ReturnType<typeof openLora>> | undefined
type Handlers = { readonly [K in keyof Answers]: (request: Ask<K>) => Promise<Answers[K]> }
const handlers: Handlers = {
  attention: async request => ({ runtime: (attended = await openAttention(request)).runtime }),
  forward: async () => { const { ms, result } = await present(attended).forward(); return { ms, sums: result } },
  both: async () => { const { ms, result } = await present(attended).both(); return { ms, sums: result } },
  lora: async request => ({ runtime: (tuned = await openLora(request)).runtime }),
  steps: async ({ count }) => {
    const [ms, losses]: [number[], number[]] = [[], []]
    for (let i = 0; i < count; i++) {
      const done = await timed(present(tuned).next)
      ms.push(done.ms)
      losses.push(done.result)
    }
    return { ms, losses }
  },
  import: async ({ from, to }) => {
    const { ms } = await timed(async () => {
      await using model = await openModel(from)
      await checkModel(model)
      await convertSource(model.weights, to, model.beside)
    })
    return { ms }
  },
  load,
  memory: () => Promise.resolve(resident()),
}

for await (const line of createInterface(process.stdin)) {
  const request = JSON.parse(line) as Request
  process.stdout.write(`${JSON.stringify(await (handlers[request.do] as (r: Request) => Promise<unknown>)(request))}\n`)
}
await backend?.close()
