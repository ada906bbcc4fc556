/** Adapters: what they change, what they leave bit for bit as it was, and what is trained of them. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { compile, dims, initialisers, input, leavesOf, mesh, openBackend, param, scan, trainedOf, type Arrays, type Backend, type Outcome, type Tensor } from '../../src/engine/index.ts'
import { weightedMean } from '../../src/nn/index.ts'
import { linear, type LinearWeight } from '../../src/nn/linear.ts'
import { adaptedPaths, withLora, type LoraParams, type Model } from '../../src/models/index.ts'
import { adamw } from '../../src/optim/index.ts'
import { initialise as initialState, stateOf, trainStep } from '../../src/train/program.ts'

const d = dims({ batch: 4, layers: 2, embed: 8, heads: 2, headDim: 4, out: 3 })
type Params = { readonly blocks: { readonly up: Tensor<'layers' | 'heads' | 'headDim' | 'embed'>; readonly down: Tensor<'layers' | 'embed' | 'heads' | 'headDim'> }; readonly head: Tensor<'out' | 'embed'> }
type Batch = { readonly x: Tensor<'batch' | 'embed'>; readonly y: Tensor<'batch' | 'out'> }
const normal = { init: initialisers.normal(0.4), decays: true }
const logits = (p: Params, { x }: Batch): Tensor<'batch' | 'out'> => {
  const [hidden] = scan(d.layers, x, p.blocks, (h, b) => {
    const wide = linear(h, b.up as LinearWeight<'heads' | 'headDim' | 'embed'>, d.embed).relu()
    return [h.add(linear(wide, b.down as LinearWeight<'embed' | 'heads' | 'headDim'>, d.heads, d.headDim)), {}] as const
  })
  return linear(hidden, p.head as LinearWeight<'out' | 'embed'>, d.embed)
}
const model: Model<Params, Batch, keyof typeof d> = {
  dims: d, itemsPerBatch: 4, linear: { 'blocks.up': ['embed'], 'blocks.down': ['heads', 'headDim'], head: ['embed'] },
  params: { blocks: { up: param('up', [d.layers, d.heads, d.headDim, d.embed], normal), down: param('down', [d.layers, d.embed, d.heads, d.headDim], normal) }, head: param('head', [d.out, d.embed], normal) },
  batch: { x: input('x', [d.batch, d.embed]), y: input('y', [d.batch, d.out]) },
  logits,
  loss: (p, b): Outcome => {
    const { value: loss, weight } = weightedMean(logits(p, b).sub(b.y).square(), b.y.mul(0).add(1))
    return { loss, weight }
  },
}
const adapted = withLora(model, { rank: 2, alpha: 3, on: ['up', 'blocks.down'] })
const batch = { x: Float32Array.from({ length: 32 }, (_, i) => Math.sin(i)), y: Float32Array.from({ length: 12 }, (_, i) => Math.cos(i)) }

let backend: Backend
beforeAll(async () => { backend = await openBackend({ plugin: 'simulate', devices: 4 }) })
afterAll(() => backend.close())
const bits = async (tree: Arrays<Params>): Promise<string[]> => [await tree.blocks.up.read(), await tree.blocks.down.read(), await tree.head.read()].map(a => Buffer.from(a.buffer, a.byteOffset, a.byteLength).toString('hex'))

describe.each([[{ batch: 1, model: 1 }], [{ batch: 2, model: 2 }]])('on %j', sizes => {
  const where = { mesh: mesh(sizes), dims: adapted.dims, layout: { batch: 'batch', heads: 'model' } as const }
  test('nothing is changed at first, the base never, and the merged weights answer as base and adapters do', async () => {
    const config = { optimizer: adamw({ rate: 0.05 }), seed: 3, remat: 'nothing' as const, norms: true }
    const at = { ...where, backend }
    const init = await compile(initialState(adapted, config), [input('seed', [], 'i32')] as const, at)
    const step = await compile(trainStep(adapted, config), [stateOf(adapted, config), adapted.batch] as const, { ...at, donate: [] })
    const answer = await compile((p: LoraParams<Params>, b: Batch) => adapted.logits?.(p, b) as Tensor<'batch' | 'out'>, [adapted.params, adapted.batch] as const, at)
    const plain = await compile(logits, [model.params, model.batch] as const, at)
    const merge = await compile((p: LoraParams<Params>) => adapted.merged(p), [adapted.params] as const, at)
    let state = await init(7)
    const before = await bits(state.params.base)
    expect(await (await answer(state.params, batch)).read()).toEqual(await (await plain(state.params.base, batch)).read())
    const losses: number[] = []
    for (let i = 0; i < 30; i++) {
      const next = await step(state, batch)
      state = next.state
      losses.push(await next.metrics.loss.item())
    }
    expect(losses.at(-1)).toBeLessThan((losses[0] ?? 0) * 0.7)
    expect(await bits(state.params.base)).toEqual(before)
    const [found, merged] = [await (await answer(state.params, batch)).read(), await (await plain(await merge(state.params), batch)).read()]
    found.forEach((x, i) => { expect(Math.abs(Number(x) - Number(merged[i]))).toBeLessThan(1e-5) })
  })
})

test('what is trained is the adapters, and optimizers keep slots for nothing else', () => {
  const trained = trainedOf(adapted.params)
  expect(leavesOf(trained.of(adapted.params)).map(l => [l.path, l.leaf.shape.map(s => s.name).join(' ')])).toEqual([
    ['lora.blocks.up.down', 'layers rank embed'], ['lora.blocks.up.up', 'layers heads headDim rank'], ['lora.blocks.down.down', 'layers rank heads headDim'], ['lora.blocks.down.up', 'layers embed rank'],
  ])
  expect(leavesOf(stateOf(adapted, { optimizer: adamw({ rate: 1 }) }).slots).every(l => l.path.includes('lora'))).toBe(true)
})

test('patterns that mean nothing', () => {
  expect(adaptedPaths(model.linear)).toEqual(['blocks.up', 'blocks.down', 'head'])
  expect(adaptedPaths(model.linear, ['blocks.*'])).toEqual(['blocks.up', 'blocks.down'])
  expect(() => adaptedPaths(model.linear, ['upp'])).toThrow(/no linear layer is called "upp"[^]*up/)
  expect(() => withLora({ ...model, linear: {} }, { rank: 1 })).toThrow(/does not say which of its layers are linear/)
})
