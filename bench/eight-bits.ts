/** What contractions of 8 bits cost in accuracy: one product and its gradients beside f32's, and the losses of a small GPT. `npx tsx bench/eight-bits.ts` */
import { fileURLToPath } from 'node:url'
import { compile, dims, fp8, input, mesh, openBackend, param, valueAndGrad, type MeshArray } from '../src/engine/index.ts'
import { textData } from '../src/data/index.ts'
import { gptModel } from '../src/models/index.ts'
import { adamwCosine, defineRun, train } from '../src/train/index.ts'
import { draw, relativeError } from '../test/support/values.ts'

const normal = (seed: number, n: number): Float32Array => Float32Array.from({ length: n }, (_, i) => Math.sqrt(-2 * Math.log(1 - draw(seed, 2 * i))) * Math.cos(2 * Math.PI * draw(seed, 2 * i + 1)))

await using backend = await openBackend({ devices: 1 })
for (const size of [64, 256, 1024]) {
  const d = dims({ rows: size, in: size, out: size })
  const [x, w] = [input('x', [d.rows, d.in]), param('w', [d.in, d.out])]
  const product = (y: typeof x, v: typeof w) => y.dot(v, d.in)
  const results = await Promise.all([product, fp8(product)].map(async f => {
    const program = await compile((p: { x: typeof x; w: typeof w }) => ({ y: f(p.x, p.w), ...valueAndGrad((q: { x: typeof x; w: typeof w }) => f(q.x, q.w).tanh().square().sum())(p).grads }), [{ x, w }], { mesh: mesh({ one: 1 }), layout: {}, backend })
    const found = await program({ x: normal(1, size * size), w: normal(2, size * size).map(v => v / Math.sqrt(size)) }) as { readonly [name: string]: MeshArray }
    return Object.fromEntries(await Promise.all(Object.entries(found).map(async ([name, a]) => [name, await a.read()] as const)))
  }))
  const [full, eight] = results
  console.log(`${size} × ${size}: relative error of the product, of the gradients of both factors:`, ['y', 'x', 'w'].map(name => relativeError(eight?.[name] ?? [], full?.[name] ?? []).toFixed(4)).join(', '))
}

const losses = await Promise.all((['compute', 'fp8'] as const).map(async contractions => (await train(defineRun({
  name: 'small', batch: 8, steps: 60, seed: 3, evaluation: { every: 60, batches: 4 }, data: textData({ files: [fileURLToPath(new URL('../LICENSE', import.meta.url))] }), precision: { contractions },
  model: gptModel({ vocab: 272, seq: 32, layers: 2, embed: 64, heads: 4, headDim: 16, hidden: 256, dropout: 0 }), mesh: { batch: 1, model: 1 }, optimizer: adamwCosine({ rate: 3e-3, warmup: 5 }),
}), { backend })).losses))
for (const step of [0, 19, 39, 59]) console.log(`loss at step ${step + 1}: f32 ${losses[0]?.[step]?.toFixed(4)}, 8 bits ${losses[1]?.[step]?.toFixed(4)}`)
