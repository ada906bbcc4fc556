// A model, its data, its optimizer and a hook of one's own, in one file: which arm of a spiral does a point of the plane lie on? The model has a schema, so that the
// command line can set its fields.
//
//   npx meshwork train examples/own-model.ts
//   npx meshwork train examples/own-model.ts --set model.width=128 model.depth=6 --mesh batch=1,model=4
import { dims, fold, initialisers, input, iota, param, scan, type Key, type Outcome } from 'meshwork'
import { hash, type DataSource } from 'meshwork/data'
import { configurable, z, type Model, type Precision } from 'meshwork/models'
import { crossEntropy, dropout, gelu, rmsNorm } from 'meshwork/nn'
import { addDecayedWeights, chain, clipByGlobalNorm, scaleByAdam, scaleByRate, warmupStableDecay } from 'meshwork/optim'
import { defineRun, type Hook, type Run } from 'meshwork/train'

// The model: what there is to set, dims, parameters, a batch, and the loss.
const schema = z.strictObject({
  arms: z.int().min(2).default(3), width: z.int().min(1).default(64), depth: z.int().min(1).default(4), dropout: z.number().min(0).max(0.9).default(0.05),
})

function spirals({ arms, width, depth, dropout: share }: z.infer<typeof schema>, batch: number, { params: dtype, compute }: Precision = { params: 'f32', compute: 'f32' }) {
  const d = dims({ batch, plane: 2, embed: width, hidden: 2 * width, layers: depth, arms })
  // Each parameter says what it is at first, and whether it decays. Layers are stacked along a dim of theirs, and scanned.
  const params = {
    place: param('place', [d.plane, d.embed], { dtype, init: initialisers.normal(1) }),
    layers: {
      norm: param('norm', [d.layers, d.embed], { dtype, init: 1 }),
      up: param('up', [d.layers, d.embed, d.hidden], { dtype, init: initialisers.heNormal([d.embed]), decays: true }),
      down: param('down', [d.layers, d.hidden, d.embed], { dtype, init: initialisers.lecunNormal([d.hidden]), decays: true }),
    },
    out: param('out', [d.embed, d.arms], { dtype, init: initialisers.lecunNormal([d.embed]), decays: true }),
  }
  const inputs = { points: input('points', [d.batch, d.plane]), labels: input('labels', [d.batch], 'i32') }

  const logits = (p: typeof params, { points }: Pick<typeof inputs, 'points'>, key?: Key) => {
    const first = points.cast(compute).dot(p.place.cast(compute), d.plane).sin()
    const [last] = scan(d.layers, first, { w: p.layers, layer: iota(d.layers) }, (x, { w, layer }) => {
      const h = gelu(rmsNorm(x, d.embed, w.norm).dot(w.up.cast(compute), d.embed))
      // With a key, as in training, part of it is dropped: by global places, so that no mesh changes which.
      return [x.add((key === undefined ? h : dropout(fold(key, layer), h, share)).dot(w.down.cast(compute), d.hidden)), {}] as const
    })
    return last.dot(p.out.cast(compute), d.embed)
  }
  const loss = (p: typeof params, given: typeof inputs, key?: Key): Outcome => {
    const found = logits(p, given, key)
    return { loss: crossEntropy(found, d.arms, given.labels).mean(), metrics: { accuracy: { value: found.argmax(d.arms).equal(given.labels).cast('f32').mean() } } }
  }
  return { dims: d, params, batch: inputs, itemsPerBatch: batch, logits, loss } satisfies Model<typeof params, typeof inputs, keyof typeof d>
}
const spiralModel = configurable({ name: 'spirals', schema, build: (config: z.infer<typeof schema>, { batch, precision }) => spirals(config, batch, precision) })

// The data: any object with batch(step, rows). What a row holds hangs on step and row alone.
const arms = 3
const points = (seed: number): DataSource<{ points: Float32Array; labels: Int32Array }> => ({
  batch(step, { from, to }) {
    const labels = new Int32Array(to - from)
    const points = new Float32Array(2 * (to - from))
    for (let row = from; row < to; row++) {
      const draw = (use: number): number => hash(seed, step, row, use) / 2 ** 32
      const arm = Math.floor(arms * draw(0))
      const radius = Math.sqrt(draw(1))
      const angle = 2 * Math.PI * (arm / arms + 2.5 * radius) + 1.2 * (draw(2) + draw(3) - 1)
      labels[row - from] = arm
      points.set([3 * radius * Math.cos(angle), 3 * radius * Math.sin(angle)], 2 * (row - from))
    }
    return { points, labels }
  },
})

// A hook hears all that the run tells. What it throws would end the run.
let best = 0
const telling: Hook = event => {
  const accuracy = event.type === 'eval' ? event.metrics['accuracy'] : undefined
  if (accuracy === undefined || accuracy <= best) return
  best = accuracy
  console.error(`the best so far: ${(100 * accuracy).toFixed(1)} % of the points`)
}

const steps = 1000
const run: Run = defineRun({
  name: 'own-model',
  model: spiralModel({ arms }),
  data: points(1),
  heldOut: points(2),
  // Small transformations, one after another; the last one says how large the step is.
  optimizer: chain(clipByGlobalNorm(1), scaleByAdam({ beta2: 0.99 }), addDecayedWeights(0.01), scaleByRate(warmupStableDecay({ peak: 3e-3, warmup: 50, tail: 0.3, steps }))),
  batch: 128,
  steps,
  mesh: { batch: 2, model: 2 },
  layout: { batch: 'batch', hidden: 'model' },
  evaluation: { every: 250, batches: 16 },
  hooks: [telling],
})
export default run
