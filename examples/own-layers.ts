// Layers of one's own over tensors of any dims, without a cast: an RMS norm, a rotary embedding and a low-rank adapter, which is trained.
import {
  broadcast, compile, concat, decaysOf, dims, initialise, initialisers, input, iota, keyOf, mesh, openBackend, param, parts, valueAndGrad, zipTrees, type Dim, type Scalar, type Tensor,
} from 'meshwork'

/** x / √(mean x²) along a dim, times a gain. */
function norm<D extends string, R extends D>(x: Tensor<D>, over: Dim<R>, gain: Tensor<R>): Tensor<D> {
  return x.mul(x.square().mean(over).add(1e-6).rsqrt()).mul(gain)
}
/** The two halves of a dim as pairs, turned by their position. */
function rotated<D extends string, S extends D, H extends D>(x: Tensor<D>, seq: Dim<S>, over: Dim<H>): Tensor<D> {
  const half: Dim<H> = { name: over.name, size: over.size / 2 }
  const [a, b] = parts(x, over, 2)
  const angle = broadcast(iota(seq).cast('f32'), [half]).mul(iota(half).cast('f32').mul(-Math.log(10000) / half.size).exp())
  return concat([a.mul(angle.cos()).sub(b.mul(angle.sin())), b.mul(angle.cos()).add(a.mul(angle.sin()))], over)
}
/** A contraction with a weight that stays as it is, and with a change to it of small rank. Its dims are found at each call. */
function adapted<D extends string, I extends D, O extends string, K extends string>(
  x: Tensor<D>, w: { whole: Tensor<I | O>; down: Tensor<I | K>; up: Tensor<K | O> }, d: { in: Dim<I>; out: Dim<O>; rank: Dim<K> },
) {
  return x.dot(w.whole, d.in).add(x.dot(w.down, d.in).dot(w.up, d.rank))
}

const d = dims({ batch: 8, seq: 4, embed: 8, hidden: 16, rank: 2 })
const frozen = { gain: param('gain', [d.embed], { init: 1 }), whole: param('whole', [d.embed, d.hidden], { init: initialisers.lecunNormal([d.embed]) }) }
// The adapter changes nothing at first: one of its two halves is 0.
const adapter = { down: param('down', [d.embed, d.rank], { init: initialisers.normal(0.1), decays: true }), up: param('up', [d.rank, d.hidden], { init: 0 }) }
const examples = input('x', [d.batch, d.seq, d.embed])

const step = (learned: typeof adapter, rest: typeof frozen, x: typeof examples) => {
  const loss = ({ down, up }: typeof adapter): Scalar => {
    const stream = rotated(norm(x, d.embed, rest.gain), d.seq, d.embed)
    return adapted(stream, { whole: rest.whole, down, up }, { in: d.embed, out: d.hidden, rank: d.rank }).square().mean()
  }
  const { value, grads } = valueAndGrad(loss)(learned)
  return { loss: value, learned: zipTrees(learned, grads, (p, g) => p.sub(g.mul(0.5))) }
}

const backend = await openBackend({ plugin: 'simulate', devices: 4 })
const last: number[] = []
for (const [sizes, layout] of [[{ batch: 1, model: 1 }, {}], [{ batch: 2, model: 2 }, { batch: 'batch', hidden: 'model' }]] as const) {
  const where = { mesh: mesh(sizes), layout, backend, dims: d }
  const begin = await compile((seed: Scalar) => initialise({ adapter, frozen }, keyOf(seed)), [input('seed', [], 'i32')], where)
  const train = await compile(step, [adapter, frozen, examples], where)
  const first = await begin(1)
  const x = Float32Array.from({ length: 8 * 4 * 8 }, (_, i) => Math.sin(i * i))
  const losses: number[] = []
  let learned = first.adapter
  for (let i = 0; i < 5; i++) {
    const result = await train(learned, first.frozen, x)
    losses.push(await result.loss.item())
    learned = result.learned
  }
  console.log(JSON.stringify(sizes), 'losses', losses.map(l => l.toFixed(4)).join(' '))
  if ((losses.at(-1) ?? 1) >= (losses[0] ?? 0)) throw new Error('nothing was learned')
  last.push(losses.at(-1) ?? NaN)
}
await backend.close()
console.log('decay', Object.keys(adapter).filter(decaysOf(adapter)).join())
if (Math.abs((last[0] ?? 0) - (last[1] ?? 1)) > 1e-5) throw new Error('the mesh changed the numbers')
