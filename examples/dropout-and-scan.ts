// Layers stacked along a dim and scanned, with dropout that is the same on every mesh: one program, two layouts, one result.
import { compile, dims, input, keyOf, mapTree, mesh, normal, openBackend, param, scan, valueAndGrad, fold } from 'meshwork'
import { dropout, gelu, layerNorm } from 'meshwork/nn'

const d = dims({ batch: 8, embed: 32, hidden: 64, layers: 6 })
const blocks = {
  gain: param('gain', [d.layers, d.embed]), bias: param('bias', [d.layers, d.embed]),
  up: param('up', [d.layers, d.embed, d.hidden]), down: param('down', [d.layers, d.hidden, d.embed]),
}
const examples = input('x', [d.batch, d.embed])
const seed = input('seed', [], 'i32')

const step = (given: typeof blocks, x: typeof examples, seed_: typeof seed) => {
  const key = keyOf(seed_)
  const loss = (p: typeof blocks) => scan(d.layers, x, p, (stream, p) => {
    const h = dropout(key, gelu(layerNorm(stream, d.embed, p.gain, p.bias).dot(p.up, d.embed)), 0.1)
    return [stream.add(h.dot(p.down, d.hidden)), {}] as const
  })[0].square().mean()
  const { value, grads } = valueAndGrad(loss)(given)
  return { loss: value, grads }
}
const init = (seed_: typeof seed) => {
  let use = 0
  return mapTree(blocks, p => normal(fold(keyOf(seed_), use++), p.shape).mul(0.1))
}

const backend = await openBackend({ devices: 4 })
const losses: number[] = []
for (const [sizes, layout] of [
  [{ batch: 1, model: 1 }, {}], [{ batch: 2, model: 2 }, { batch: 'batch', hidden: 'model' }], [{ batch: 4, model: 1 }, { batch: 'batch' }],
] as const) {
  const where = { mesh: mesh(sizes), layout, backend, dims: d }
  const [begin, run] = [await compile(init, [seed], where), await compile(step, [blocks, examples, seed], where)]
  const x = Float32Array.from({ length: 8 * 32 }, (_, i) => Math.sin(i))
  const result = await run(await begin(7), x, 3)
  losses.push(await result.loss.item())
  console.log(JSON.stringify(sizes), 'loss', losses.at(-1))
}
await backend.close()
if (Math.max(...losses) - Math.min(...losses) > 1e-6 * Math.max(...losses)) throw new Error('the mesh changed the numbers')
