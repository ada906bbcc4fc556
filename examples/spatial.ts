// Images in parts: a convolutional net of four devices, each of which has a quarter of every image, and of eight, whose channels are split besides. A window that reaches over the edge of a part takes from the neighbour
// just the rows or columns that it needs; gradients go the same way back. Windows without padding, and those with a stride, begin elsewhere than parts do: it is the same to the net.
import { compile, dims, initialise, initialisers, input, keyOf, mesh, openBackend, param, totals, valueAndGrad, zipTrees, type Scalar } from 'meshwork'
import { conv, crossEntropy, maxPool } from 'meshwork/nn'

const d = dims({ batch: 16, height: 16, width: 16, channels: 1, tall: 5, wide: 5, features: 8, third: 3, more: 8, row: 6, column: 6, classes: 4 })
const weights = {
  first: param('first', [d.tall, d.wide, d.channels, d.features], { init: initialisers.heNormal([d.tall, d.wide, d.channels]) }),
  second: param('second', [d.third, d.features, d.more], { init: initialisers.heNormal([d.third, d.features]) }),
  out: param('out', [d.row, d.column, d.more, d.classes], { init: initialisers.lecunNormal([d.row, d.column, d.more]) }),
}
const batch = { images: input('images', [d.batch, d.height, d.width, d.channels]), labels: input('labels', [d.batch], 'i32') }

const loss = (w: typeof weights, { images, labels }: typeof batch): Scalar => {
  // 16 × 16 → 12 × 12, pooled in twos to 6 × 6, then three rows at a time.
  const wide = conv(images, w.first, { over: [d.channels], windows: [{ dim: d.height, kernel: d.tall }, { dim: d.width, kernel: d.wide }] }).relu()
  const pooled = maxPool(wide, [{ dim: d.height, size: 2, stride: 2 }, { dim: d.width, size: 2, stride: 2 }])
  const found = conv(pooled, w.second, { over: [d.features], windows: [{ dim: d.height, kernel: d.third, padding: 'same' }] }).relu()
  return crossEntropy(found.rename(d.height, d.row).rename(d.width, d.column).dot(w.out, d.row, d.column, d.more), d.classes, labels).mean()
}
const step = (w: typeof weights, b: typeof batch) => {
  const { value, grads } = valueAndGrad((p: typeof weights) => loss(p, b))(w)
  return { loss: value, weights: zipTrees(w, grads, (p, g) => p.sub(g.mul(0.1))) }
}

// In one quarter of each image, which is its class, is a bright spot.
const labels = Int32Array.from({ length: 16 }, (_, i) => (7 * i) % 4)
const images = Float32Array.from({ length: 16 * 16 * 16 }, (_, i) => {
  const [image, y, x] = [i >> 8, (i >> 4) & 15, i & 15]
  const label = labels[image] ?? 0
  return (Math.hypot(y - 4 - 8 * (label >> 1), x - 4 - 8 * (label & 1)) < 3 ? 1 : 0) + Math.sin(i * i) / 4
})

const backend = await openBackend({ devices: 8 })
async function train(name: string, axes: { readonly [axis: string]: number }, layout: { readonly [dim: string]: string }) {
  const where = { mesh: mesh(axes), layout, dims: d, backend }
  const begin = await compile((seed: Scalar) => initialise(weights, keyOf(seed)), [input('seed', [], 'i32')], where)
  const run = await compile(step, [weights, batch], { ...where, donate: [0] })
  console.log(name)
  for (const c of totals(run.collectives)) console.log(`  ${c.count} × ${c.kind} along ${c.axes.join(', ')}, ${c.bytes} bytes`)
  let now = await begin(1)
  const losses: number[] = []
  for (let i = 0; i < 20; i++) {
    const { loss, weights: next } = await run(now, { images, labels })
    now = next
    losses.push(await loss.item())
  }
  console.log(`  loss ${losses[0]?.toFixed(5)} to ${losses.at(-1)?.toFixed(5)}`)
  return losses
}

const alone = await train('one device', {}, {})
const others = [
  await train('by height and width', { down: 2, across: 2 }, { height: 'down', width: 'across' }),
  await train('by height, width and features', { down: 2, across: 2, model: 2 }, { height: 'down', width: 'across', features: 'model' }),
]
if (others.some(losses => alone.some((loss, i) => !(Math.abs(loss - (losses[i] ?? NaN)) <= 1e-4 * loss)))) throw new Error('the parts have changed the numbers')
await backend.close()
