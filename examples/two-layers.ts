// The two-layer network of the Mesh-TensorFlow paper, trained on four devices: two ways over the batch, two over the hidden dim.
import { compile, dims, input, layout, mesh, openBackend, param, printLocal, valueAndGrad, zipTrees } from 'meshwork'

const d = dims({ batch: 32, io: 16, hidden: 64 })
const weights = { w: param('w', [d.io, d.hidden]), bias: param('bias', [d.hidden]), v: param('v', [d.hidden, d.io]) }
const examples = input('x', [d.batch, d.io])

const step = (weights_: typeof weights, x: typeof examples) => {
  const { value, grads } = valueAndGrad((p: typeof weights) =>
    x.dot(p.w, d.io).add(p.bias).relu().dot(p.v, d.hidden).sub(x).square().mean())(weights_)
  return { loss: value, weights: zipTrees(weights_, grads, (p, g) => p.sub(g.mul(0.3))) }
}

const devices = mesh({ batch: 2, model: 2 })
const backend = await openBackend({ devices: devices.size })
const train = await compile(step, [weights, examples], { mesh: devices, backend, donate: [0], layout: layout(devices, d, { batch: 'batch', hidden: 'model' }) })
console.log(printLocal(train.local))

const random = (n: number) => Float32Array.from({ length: n }, () => Math.random() - 0.5)
const x = random(32 * 16)
let result = await train({ w: random(16 * 64), bias: random(64), v: random(64 * 16) }, x)
for (let i = 0; i < 200; i++) result = await train(result.weights, x) // queued; old weights are donated, their memory is the new ones'
console.log('loss', await result.loss.item())
await backend.close()
