// Eight layers as a pipeline of four stages, each on a device of its own, the batch split between two such pipelines: eight devices. A microbatch goes back as soon as its loss is known (1F1B).
import { compile, dim, dims, initialise, initialisers, input, keyOf, lossAndGrads, mesh, openBackend, param, scan, totals, zipTrees, type Outcome, type Scalar, type Tensor } from 'meshwork'
import { gelu, layerNorm } from 'meshwork/nn'
import { drawSchedule, pipelineLoss, type LossOptions } from 'meshwork/parallel'

const d = dims({ batch: 64, embed: 16, hidden: 64, layers: 8 })
const weights = {
  layers: {
    gain: param('gain', [d.layers, d.embed], { init: 1 }),
    bias: param('bias', [d.layers, d.embed], { init: 0 }),
    up: param('up', [d.layers, d.embed, d.hidden], { init: initialisers.lecunNormal([d.embed]) }),
    down: param('down', [d.layers, d.hidden, d.embed], { init: initialisers.normal(0.02) }),
  },
  out: param('out', [d.embed], { init: initialisers.lecunNormal([d.embed]) }),
}
const batch = { x: input('x', [d.batch, d.embed]), wanted: input('wanted', [d.batch]) }
type Stream = Tensor<'batch' | 'embed'>
type Layer = { gain: Tensor<'embed'>; bias: Tensor<'embed'>; up: Tensor<'embed' | 'hidden'>; down: Tensor<'hidden' | 'embed'> }

// What a layer does, and what is made of the last one's result. Neither knows of stages or microbatches.
const block = (x: Stream, w: Layer): Stream => x.add(gelu(layerNorm(x, d.embed, w.gain, w.bias).dot(w.up, d.embed)).dot(w.down, d.hidden))
const end = (out: Tensor<'embed'>) => (y: Stream, { wanted }: { wanted: Tensor<'batch'> }): Outcome => ({ loss: y.dot(out, d.embed).sub(wanted).square().mean() })

const step = (how: LossOptions | undefined) => (w: typeof weights, { x, wanted }: typeof batch) => {
  const { value, grads } = lossAndGrads((p: typeof weights): Outcome => (how === undefined
    ? end(p.out)(scan(d.layers, x, p.layers, (x, layer) => [block(x, layer), {}] as const)[0], { wanted })
    : pipelineLoss(d.layers, x, p.layers, block, { wanted }, end(p.out), how)))(w)
  return { loss: value, weights: zipTrees(w, grads, (p, g) => p.sub(g.mul(0.05))) }
}

const how = { stages: 4, microbatches: 8, schedule: '1f1b' } as const
console.log(drawSchedule(how))

const backend = await openBackend({ devices: 8 })
const data = { x: Float32Array.from({ length: 64 * 16 }, (_, i) => Math.sin(i * i)), wanted: Float32Array.from({ length: 64 }, (_, i) => Math.sin((i * 16) ** 2) * Math.cos(i)) }

/** Trains on a mesh; the losses are the same on each. */
async function train(how: LossOptions | undefined, sizes: { [axis: string]: number }, layout: { [dim: string]: string }) {
  const where = { mesh: mesh(sizes), layout, dims: { ...d, stage: dim('stage', 4) }, backend }
  const begin = await compile((seed: Scalar) => initialise(weights, keyOf(seed)), [input('seed', [], 'i32')], where)
  const run = await compile(step(how), [weights, batch], { ...where, donate: [0] })
  for (const c of totals(run.collectives)) console.log(`  ${c.count} × ${c.kind} along ${c.axes.join(', ')}, ${c.bytes} bytes`)
  let now = await begin(1)
  const losses: number[] = []
  for (let i = 0; i < 20; i++) {
    const { loss, weights: next } = await run(now, data)
    now = next
    losses.push(await loss.item())
  }
  return losses
}

console.log('one device')
const alone = await train(undefined, {}, {})
console.log('two pipelines of four stages')
const piped = await train(how, { data: 2, stage: 4 }, { batch: 'data', stage: 'stage', layers: 'stage' })
console.log('loss', alone.at(-1)?.toFixed(5), piped.at(-1)?.toFixed(5))
if (alone.some((loss, i) => Math.abs(loss - (piped[i] ?? NaN)) > 1e-4 * loss)) throw new Error('the mesh has changed the numbers')
await backend.close()
