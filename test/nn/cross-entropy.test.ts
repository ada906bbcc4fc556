/** crossEntropy where targets do not count, or are no classes: on every mesh the same numbers, worked out by hand here. */
import { expect, test } from 'vitest'
import { compile, dims, input, layout, mesh, openBackend, valueAndGrad, type Tensor } from '../../src/engine/index.ts'
import { crossEntropy, maskedMean } from '../../src/nn/index.ts'

const d = dims({ batch: 4, seq: 2, vocab: 8 })
type Logits = Tensor<'batch' | 'seq' | 'vocab'>
const logits = Float32Array.from({ length: 64 }, (_, i) => Math.sin(i * 1.7) * 3)
const args = [input('logits', [d.batch, d.seq, d.vocab]), input('targets', [d.batch, d.seq], 'i32')] as const

/** Losses and their mean's gradient in f64; `counts` says which targets do. */
function byHand(targets: Int32Array, counts: (t: number) => boolean): { losses: number[]; mean: number; grad: number[] } {
  const n = targets.filter(counts).length
  const rows = Array.from(targets, (t, row) => {
    const x = Array.from(logits.subarray(8 * row, 8 * row + 8))
    const total = x.reduce((sum, v) => sum + Math.exp(v), 0)
    return { loss: counts(t) ? Math.log(total) - (x[t] ?? NaN) : 0, grad: x.map((v, i) => (counts(t) ? (Math.exp(v) / total - (i === t ? 1 : 0)) / n : 0)) }
  })
  return { losses: rows.map(r => r.loss), mean: rows.reduce((sum, r) => sum + r.loss, 0) / n, grad: rows.flatMap(r => r.grad) }
}

const close = (found: ArrayLike<number | bigint>, wanted: readonly number[]): void => {
  expect(found.length).toBe(wanted.length)
  wanted.forEach((w, i) => { expect(Number(found[i])).toBeCloseTo(w, 5) })
}

test.each([[{}], [{ batch: 4 }], [{ batch: 2, model: 2 }], [{ model: 4 }]])('targets of -100 do not count, on mesh %j', async sizes => {
  const devices = mesh(sizes as { batch: number; model: number })
  const backend = await openBackend({ plugin: 'simulate', devices: devices.size })
  const rules = { ...'batch' in sizes && { batch: 'batch' as const }, ...'model' in sizes && { vocab: 'model' as const } }
  const program = await compile((x: Logits, t: (typeof args)[1]) => {
    const losses = crossEntropy(x, d.vocab, t, { ignore: -100 })
    const { value, grads } = valueAndGrad((x: Logits) => maskedMean(crossEntropy(x, d.vocab, t, { ignore: -100 }), t.notEqual(-100)))(x)
    return { losses, value, grads }
  }, args, { mesh: devices, backend, layout: layout(devices, d, rules) })
  // One device's part of the batch does not count at all.
  const targets = Int32Array.of(0, 7, -100, -100, 3, -100, 5, 0)
  const { losses, value, grads } = await program(logits, targets)
  const wanted = byHand(targets, t => t >= 0)
  close(await losses.read(), wanted.losses)
  expect(await value.item()).toBeCloseTo(wanted.mean, 5)
  close(await grads.read(), wanted.grad)
  await backend.close()
})

test('a class can be ignored; garbage where nothing counts leaks nowhere; where none counts there is no mean', async () => {
  const backend = await openBackend({ plugin: 'simulate', devices: 1 })
  const program = await compile((x: Logits, t: (typeof args)[1]) => valueAndGrad((x: Logits) => maskedMean(crossEntropy(x, d.vocab, t, { ignore: 0 }), t.notEqual(0)))(x), args, { mesh: mesh({}), backend, layout: {} })
  const targets = Int32Array.of(0, 7, 0, 1, 3, 0, 5, 0)
  const garbage = logits.slice()
  targets.forEach((t, row) => { if (t === 0) garbage.fill(row % 2 === 0 ? NaN : Infinity, 8 * row, 8 * row + 8) })
  const { value, grads } = await program(garbage, targets)
  const wanted = byHand(targets, t => t !== 0)
  expect(await value.item()).toBeCloseTo(wanted.mean, 5)
  close(await grads.read(), wanted.grad)
  expect(await (await program(logits, new Int32Array(8))).value.item()).toBeNaN()
  await backend.close()
})

test.each([
  ['simulate', undefined, [-100, -1, 8, 2 ** 31 - 1, -(2 ** 31)]], ['simulate', -100, [-1, 8, -99]], ['cpu', -100, [-1, 8, -99]],
])('on %s, with ignore %s, targets %j are NaN, and so is their gradient; the others are what they are', async (plugin, ignore, odd) => {
  const backend = await openBackend({ plugin, devices: 1 })
  const program = await compile((x: Logits, t: (typeof args)[1]) => {
    const loss = (x: Logits): Tensor<'batch' | 'seq'> => crossEntropy(x, d.vocab, t, ignore === undefined ? {} : { ignore })
    return { losses: loss(x), ...valueAndGrad((x: Logits) => loss(x).sum())(x) }
  }, args, { mesh: mesh({}), backend, layout: {} })
  const targets = Int32Array.from({ length: 8 }, (_, i) => odd[i] ?? i)
  const { losses, grads } = await program(logits, targets)
  const isOdd = Array.from(targets, t => t < 0 || t >= 8)
  expect([...await losses.read()].map(x => Number.isNaN(Number(x)))).toEqual(isOdd)
  expect([...await grads.read()].map(x => Number.isNaN(Number(x)))).toEqual(isOdd.flatMap(x => Array<boolean>(8).fill(x)))
  await backend.close()
})

test('an ignore that no target can have', () => {
  const [x, t] = args
  for (const ignore of [0.5, NaN, 2 ** 31, -(2 ** 31) - 1]) expect(() => crossEntropy(x, d.vocab, t, { ignore })).toThrow(/DimError\[option\] crossEntropy: ignore is /)
  expect(() => maskedMean(x, t.notEqual(0) as never)).toThrow(/DimError/)
})
