/** What contractions of 8 bits cost in accuracy, beside f32: one product and the gradients of its factors, and the losses of a small GPT. Ours against ours, so that it needs no peer. */
import { fileURLToPath } from 'node:url'
import { textData } from '../src/data/index.ts'
import { compile, dims, fp8, input, mesh, openBackend, param, valueAndGrad, type Backend } from '../src/engine/index.ts'
import { gptModel } from '../src/models/index.ts'
import { adamwCosine, defineRun, train } from '../src/train/index.ts'
import { draw, relativeError } from '../test/support/values.ts'
import { row, type Row, type Section } from './measure.ts'

/** From a normal distribution (Box and Muller). */
const normal = (seed: number, n: number, deviation = 1): Float32Array =>
  Float32Array.from({ length: n }, (_, i) => deviation * Math.sqrt(-2 * Math.log(1 - draw(seed, 2 * i))) * Math.cos(2 * Math.PI * draw(seed, 2 * i + 1)))

/** y = x · w of normal numbers, with the gradients of Σ tanh(y)²: relative errors ‖a − b‖ / ‖b‖. */
async function product(size: number, backend: Backend): Promise<Row[]> {
  const d = dims({ rows: size, in: size, out: size })
  const [x, w] = [input('x', [d.rows, d.in]), param('w', [d.in, d.out])]
  type Factors = { readonly x: typeof x; readonly w: typeof w }
  const multiply = (a: typeof x, b: typeof w) => a.dot(b, d.in)
  const values = await Promise.all([multiply, fp8(multiply)].map(async f => {
    const program = await compile((p: Factors) => ({ y: f(p.x, p.w), ...valueAndGrad((q: Factors) => f(q.x, q.w).tanh().square().sum())(p).grads }), [{ x, w }], { mesh: mesh({ one: 1 }), layout: {}, backend })
    const result = await program({ x: normal(1, size * size), w: normal(2, size * size, size ** -0.5) })
    return { y: await result.y.read(), x: await result.x.read(), w: await result.w.read() }
  }))
  const [full, eight] = values
  return (['y', 'x', 'w'] as const).map(name => row(`${size}×${size}: ${name === 'y' ? 'the product' : `the gradient of ${name}`}`, 100 * relativeError(eight?.[name] ?? [], full?.[name] ?? []), '%'))
}

const steps = 60
const one = { batch: 1, model: 1 }

/** The same weights and windows each time. */
async function losses(precision: { readonly contractions?: 'fp8'; readonly compute?: 'bf16' }, backend: Backend, devices: { readonly batch: number; readonly model: number } = one): Promise<readonly number[]> {
  const data = textData({ files: [fileURLToPath(new URL('../LICENSE', import.meta.url))] })
  const model = gptModel({ vocab: 272, seq: 32, layers: 2, embed: 64, heads: 4, headDim: 16, hidden: 256, dropout: 0 })
  const run = defineRun({
    name: 'small', batch: 8, steps, seed: 3, data, model, precision, mesh: devices, layout: { batch: 'batch', heads: 'model', hidden: 'model', vocab: 'model' }, optimizer: adamwCosine({ rate: 1e-3, warmup: 5 }),
  })
  return (await train(run, { backend })).losses
}

/** Of the losses to a step, the largest difference from others. */
const largest = (these: readonly number[], those: readonly number[], step: number): number => Math.max(...these.slice(0, step).map((loss, i) => Math.abs(loss / (those[i] ?? NaN) - 1)))

export async function eightBitsSection(_rounds: number, say: (line: string) => void): Promise<Section> {
  await using backend = await openBackend({ devices: 4 })
  const rows: Row[] = []
  for (const size of [64, 256, 1024]) {
    say(`a product of ${size}×${size}`)
    rows.push(...await product(size, backend))
  }
  say(`${steps} steps of a GPT, six times`)
  const precisions = [['f32', {}], ['8 bits', { contractions: 'fp8' }], ['bf16', { compute: 'bf16' }]] as const
  const found: { readonly name: string; readonly whole: readonly number[]; readonly parts: readonly number[] }[] = []
  for (const [name, precision] of precisions) found.push({ name, whole: await losses(precision, backend), parts: await losses(precision, backend, { batch: 2, model: 2 }) })
  const full = found[0]?.whole ?? []
  for (const step of [20, 30, steps]) {
    rows.push(...found.slice(1).map(({ name, whole }) => row(`losses to step ${step}, ${name} from f32, 1e-6`, 1e6 * largest(whole, full, step))))
    // Roundings that fall the other way add up with the steps, as those of halves do: the first twenty are held to a thousandth.
    rows.push(...found.map(({ name, whole, parts }) => row(`losses to step ${step}, ${name} at 2×2 from 1×1, 1e-6`, 1e6 * largest(parts, whole, step), '', step === 20 ? 1000 : undefined)))
  }
  const mean = (list: readonly number[]): number => list.slice(-10).reduce((a, b) => a + b, 0) / 10
  rows.push(...found.map(({ name, whole }) => row(`mean loss of the last ten steps, ${name}`, mean(whole))))
  return { name: 'eight-bits', notes: ['f8e4m3fn and f8e5m2 with one scale a tensor, multiplied as f32: errors of what a card would round, not its time'], rows }
}
