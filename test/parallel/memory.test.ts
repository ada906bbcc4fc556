/** What the compiled step holds on a device: parameters and slots shrink by the axis that they rest on, and of gathered weights and gradients no more is there at once than a layer's. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { compile, leavesOf, mesh as meshOf, openBackend, type Backend, type Layouts } from '../../src/engine/index.ts'
import { sizeOf } from '../../src/core/dim.ts'
import { gpt } from '../../src/models/index.ts'
import { adamw } from '../../src/optim/index.ts'
import type { MemoryStats } from '../../src/runtime/backend.ts'
import { all } from '../support/depth.ts'
import { stateOf, trainStep } from '../../src/train/program.ts'

const [layers, n] = [8, 4]
// Many weights and few tokens, so that what is seen is weights.
const model = gpt({ vocab: 64, seq: 16, layers, embed: 128, heads: 4, headDim: 32, hidden: 512, dropout: 0 }, 8)
const optimizer = adamw({ rate: 1e-3 })
const held = leavesOf(model.params).map(({ path, leaf }) => ({ layered: path.startsWith('blocks.'), split: leaf.shape.some(d => d.name === 'embed'), bytes: 4 * sizeOf(leaf.shape) }))
const sum = (keep: (p: (typeof held)[number]) => boolean): number => held.filter(keep).reduce((all, p) => all + p.bytes, 0)
/** Bytes of one layer's parameters. */
const P = sum(p => p.layered) / layers
/** Tokens and targets of a device, and the step. */
const batch = 2 * 4 * 8 * 16 / n + 4

let backend: Backend
beforeAll(async () => { backend = await openBackend({ plugin: 'cpu', devices: n, cache: false }) })
afterAll(async () => { await backend.close() })
async function memoryOf(layouts: Omit<Layouts, 'layout'>, microbatches = 1): Promise<MemoryStats> {
  using step = await compile(trainStep(model, { seed: 0, remat: 'all-but-contractions', optimizer, microbatches }), [stateOf(model, { optimizer }), model.batch] as const, { mesh: meshOf({ data: n }), layout: { batch: 'data' }, ...layouts, dims: model.dims, backend, donate: [0] })
  if (step.memory === undefined) throw new Error('the plugin says nothing of memory')
  return step.memory
}

const deep = 'a program more that takes seconds to compile; npm run test:deep does'
describe('bytes of a device', () => {
  test('ZeRO-1: parameters whole, both moments over the axis size; shares of gradients and of new parameters, and one layer\'s gradient', async () => {
    const { arguments: args, temporaries } = await memoryOf({ state: { embed: 'data' } })
    const rest = sum(p => p.split) / n + sum(p => !p.split)
    expect(args).toBe(sum(() => true) + 2 * rest + batch)
    expect(temporaries).toBeLessThan(1.15 * (P + 2 * layers * P / n))
  })
  test('FSDP: everything over the axis size; two gathered layers, one gradient, and the shares of the others', async () => {
    const { arguments: args, temporaries } = await memoryOf({ params: { embed: 'data' } })
    const rest = sum(p => p.split) / n + sum(p => !p.split)
    expect(args).toBe(3 * rest + batch)
    expect(temporaries).toBeLessThan(1.15 * (2 * P + P + layers * P / n))
  })
  test('of microbatches the sums are shares, too', async ({ skip }) => {
    if (!all) return skip(deep)
    const { temporaries } = await memoryOf({ params: { embed: 'data' } }, 2)
    expect(temporaries).toBeLessThan(1.15 * (2 * P + P + 2 * layers * P / n))
  })
  test('what that saves: data parallel holds every gradient', async ({ skip }) => {
    if (!all) return skip(deep)
    const { arguments: args, temporaries } = await memoryOf({})
    expect(args).toBe(3 * sum(() => true) + batch)
    expect(temporaries).toBeGreaterThan(layers * P)
  })
})
