/** Collectives that a loop's gradient would repeat are read from what the loop has stacked; and so where that gradient is itself followed by its own. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { compile, dims, grad, input, lossAndGrads, mesh, openBackend, param, scan, type Backend, type Layout, type Tensor } from '../../src/index.ts'
import { drawn, relativeError } from '../support/values.ts'

const d = dims({ batch: 4, embed: 4, hidden: 8, layers: 3 })
const w = param('w', [d.layers, d.embed])
const x = input('x', [d.batch, d.embed])
type Rows = Tensor<'batch' | 'embed'>

/** A loss of a loop over layers, with that of a gradient: three loops, each of which walks over the stacks of the one before. */
const second = (w_: typeof w, x_: Rows): typeof w => grad((r: typeof w) => {
  const { value, grads } = lossAndGrads((s: typeof w) => ({ loss: scan(d.layers, x_, s, (c: Rows, own) => [c.sub(c.sin().mean(d.embed)).mul(own.cos()).sin(), {}] as const)[0].square().mean() }))(r)
  return grads.sin().sum().add(value.sin())
})(w_)

let backend: Backend
beforeAll(async () => { backend = await openBackend({ plugin: 'simulate', devices: 2, cache: false }) })
afterAll(async () => { await backend.close() })

async function numbers(layout: Layout): Promise<readonly number[]> {
  using program = await compile(second, [w, x] as const, { mesh: mesh({ model: 2 }), layout, backend })
  const found = await program(drawn(w, 1), drawn(x, 2))
  const values = Array.from(await found.read(), Number)
  found.dispose()
  return values
}

test('a loop that follows one and is followed by another keeps what both need', async () => {
  expect(relativeError(await numbers({ embed: 'model' }), await numbers({}))).toBeLessThan(1e-5)
})
