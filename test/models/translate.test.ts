/** A T5 that has learned pairs by heart writes them: token by token, each chosen by the logits of those before it. On a mesh, as its recipe in examples/ has it. */
import { expect, test } from 'vitest'
import { compile, input, mesh as meshOf, openBackend, type Arrays, type Tree } from '../../src/engine/index.ts'
import { t5Model, type T5Params } from '../../src/models/index.ts'
import { disposeAll } from '../../src/train/evaluate.ts'
import { adamwCosine } from '../../src/train/optimizers.ts'
import { initialise as initialState, stateOf, trainStep } from '../../src/train/program.ts'
import { draw } from '../support/values.ts'

const [pairs, length, vocab, padding, end] = [4, 4, 8, 0, 1]
const text = (seed: number): number[] => [...Array.from({ length: length - 1 }, (_, i) => 2 + Math.floor(draw(seed, i) * (vocab - 2))), end]
const [sources, labels] = [0, 100].map(seed => Array.from({ length: pairs }, (_, row) => text(seed + row))) as [number[][], number[][]]
const flat = (rows: readonly (readonly number[])[]): Int32Array => Int32Array.from(rows.flat())

test('writes what it has learned, and nothing else', async () => {
  const backend = await openBackend({ plugin: 'simulate', devices: 4 })
  const model = t5Model({ vocab, source: length, target: length, encoderLayers: 1, decoderLayers: 1, embed: 8, heads: 2, headDim: 4, hidden: 16, padding }).build({ batch: pairs })
  const where = { mesh: meshOf({ batch: 2, model: 2 }), layout: { batch: 'batch', heads: 'model', hidden: 'model' }, backend, dims: model.dims, ...(model.layouts === undefined ? {} : { uses: model.layouts }) } as const
  const config = { optimizer: adamwCosine({ rate: 2e-2, warmup: 10 }).build({ steps: 60 }), seed: 1, remat: 'all-but-contractions' } as const
  const init = await compile(initialState(model as never, config), [input('seed', [], 'i32')] as const, where)
  const step = await compile(trainStep(model as never, config), [stateOf(model as never, config), model.batch] as const, { ...where, donate: [0] })
  const { source, target } = model.batch
  const likeliest = await compile((params: T5Params, batch: { source: typeof source; target: typeof target }) => model.logits(params, batch).argmax(model.dims.vocab), [model.params, { source, target }] as const, where)

  const learned = { source: flat(sources), target: flat(labels.map(row => [padding, ...row.slice(0, -1)])), labels: flat(labels) }
  const written = async (state: Arrays<Tree>): Promise<number[][]> => {
    const target = labels.map(() => Array.from({ length }, () => padding))
    const found = labels.map((): number[] => [])
    for (let at = 0; at < length; at++) {
      const next = await likeliest((state as unknown as { readonly params: Arrays<T5Params> }).params as never, { source: learned.source, target: flat(target) })
      const ids = Array.from(await next.read(), Number)
      next.dispose()
      found.forEach((row, i) => {
        row.push(ids[i * length + at] ?? NaN)
        if (at + 1 < length) target[i]![at + 1] = row[at]!
      })
    }
    return found
  }
  let state: Arrays<Tree> = await init(7)
  expect(await written(state)).not.toEqual(labels)
  for (let i = 0; i < 60; i++) {
    const result = await step(state as never, learned as never)
    disposeAll(result.metrics)
    state = result.state as never
  }
  expect(await written(state)).toEqual(labels)
  disposeAll(state)
  expect(backend.liveBuffers()).toBe(0)
  await backend.close()
})
