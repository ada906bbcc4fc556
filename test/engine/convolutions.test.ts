/** Convolutions of halves by our own kernel: windows of every size, stride, dilation and padding, forward and back. */
import { expect, test } from 'vitest'
import { roundBf16, roundF16 } from '../../src/core/half-precision.ts'
import { compile, grad, input, loose, mesh, plan, type AnyTensor, type MeshArray, type Tree } from '../../src/engine/index.ts'
import { conv } from '../../src/nn/convolution.ts'
import { backendOfKernels, numbers, taken } from '../support/kernels.ts'
import { relativeError } from '../support/values.ts'

const backend = backendOfKernels(1)
const where = { mesh: mesh({}), layout: {} }

interface Case { readonly batch: number; readonly sizes: readonly [number, number]; readonly channels: number; readonly features: number; readonly taps: readonly [number, number]; readonly stride: readonly [number, number]; readonly dilation: readonly [number, number]; readonly padding: readonly [number, number] }
const dims = (c: Case) => ({
  batch: { name: 'batch', size: c.batch }, height: { name: 'height', size: c.sizes[0] }, width: { name: 'width', size: c.sizes[1] }, channels: { name: 'channels', size: c.channels },
  rows: { name: 'rows', size: c.taps[0] }, columns: { name: 'columns', size: c.taps[1] }, features: { name: 'features', size: c.features },
})
const given = (c: Case): readonly [AnyTensor, AnyTensor] => { const d = dims(c); return [input('x', [d.batch, d.height, d.width, d.channels]), input('w', [d.rows, d.columns, d.channels, d.features])] }
const made = (c: Case, dtype: 'f32' | 'bf16' | 'f16') => (x: AnyTensor, w: AnyTensor): AnyTensor => {
  const d = dims(c)
  const windows = [d.height, d.width].map((dim, i) => ({ dim: dim.name, kernel: [d.rows, d.columns][i]?.name ?? '', padding: [c.padding[i] ?? 0, c.padding[i] ?? 0] as const, stride: c.stride[i] ?? 1, dilation: c.dilation[i] ?? 1 }))
  return loose(conv(loose(loose(x).cast(dtype)) as never, loose(loose(w).cast(dtype)) as never, { over: ['channels'], windows } as never) as AnyTensor).cast('f32')
}
const data = (c: Case): readonly [Float32Array<ArrayBuffer>, Float32Array<ArrayBuffer>] => [
  numbers(c.batch * c.sizes[0] * c.sizes[1] * c.channels, 1).map(roundBf16), numbers(c.taps[0] * c.taps[1] * c.channels * c.features, 2).map(roundBf16),
]

/** In f64, tap by tap. */
function expected(c: Case, x: Float32Array, w: Float32Array): number[] {
  const [height, width] = c.sizes
  const [tall, wide] = [0, 1].map(i => Math.floor(((c.sizes[i] ?? 0) + 2 * (c.padding[i] ?? 0) - ((c.taps[i] ?? 0) - 1) * (c.dilation[i] ?? 1) - 1) / (c.stride[i] ?? 1)) + 1) as [number, number]
  const out: number[] = []
  for (let b = 0; b < c.batch; b++) for (let y = 0; y < tall; y++) for (let z = 0; z < wide; z++) for (let f = 0; f < c.features; f++) {
    let sum = 0
    for (let i = 0; i < c.taps[0]; i++) for (let j = 0; j < c.taps[1]; j++) {
      const [row, column] = [y * c.stride[0] - c.padding[0] + i * c.dilation[0], z * c.stride[1] - c.padding[1] + j * c.dilation[1]]
      if (row < 0 || row >= height || column < 0 || column >= width) continue
      for (let k = 0; k < c.channels; k++) sum += (x[((b * height + row) * width + column) * c.channels + k] ?? NaN) * (w[((i * c.taps[1] + j) * c.channels + k) * c.features + f] ?? NaN)
    }
    out.push(sum)
  }
  return out
}

const plain = { stride: [1, 1], dilation: [1, 1], padding: [1, 1] } as const
const cases: readonly Case[] = [
  { batch: 3, sizes: [16, 16], channels: 32, features: 40, taps: [3, 3], ...plain },
  // Three channels, more than one part of what is contracted, windows that reach far beyond the image, an odd number under a window.
  { batch: 4, sizes: [32, 20], channels: 3, features: 16, taps: [3, 3], ...plain },
  { batch: 2, sizes: [17, 19], channels: 70, features: 33, taps: [3, 3], ...plain },
  { batch: 2, sizes: [13, 12], channels: 17, features: 20, taps: [5, 3], stride: [1, 1], dilation: [1, 1], padding: [4, 2] },
  { batch: 5, sizes: [24, 24], channels: 24, features: 18, taps: [2, 3], stride: [2, 1], dilation: [1, 2], padding: [0, 3] },
  { batch: 3, sizes: [30, 31], channels: 16, features: 20, taps: [3, 4], stride: [2, 3], dilation: [2, 1], padding: [1, 2] },
  { batch: 1, sizes: [1, 900], channels: 40, features: 24, taps: [1, 5], stride: [1, 1], dilation: [1, 1], padding: [0, 2] },
]
const named = cases.map(c => [JSON.stringify(c), c] as const)

// Those of f16 are widened as they are packed on every machine, those of bf16 where pairs are not multiplied.
test.each(named.flatMap(([name, c]) => (['bf16', 'f16'] as const).map(dtype => [dtype, name, c] as const)))('%s: %s', async (dtype, _, c) => {
  const [args, f] = [given(c), made(c, dtype)]
  expect(plan(f as (...args: readonly Tree[]) => AnyTensor, args, { ...where, kernels: true }).text).toContain('meshwork.conv')
  using program = await compile(f as (...args: readonly Tree[]) => AnyTensor, args, { ...where, backend: backend() })
  const [x, w] = data(c)
  expect(relativeError([...await taken(await program(x as never, w as never) as MeshArray)], expected(c, x, w).map(dtype === 'bf16' ? roundBf16 : roundF16))).toBeLessThan(dtype === 'bf16' ? 4e-3 : 1e-3)
})

test.each(named)('gradients: %s', async (_, c) => {
  // Those of f32, whose convolutions are XLA's.
  const slopes = async (dtype: 'f32' | 'bf16'): Promise<readonly Float32Array[]> => {
    const f = made(c, dtype)
    const g = (x: AnyTensor, w: AnyTensor): Tree => grad((both: { readonly x: AnyTensor; readonly w: AnyTensor }) => { const y = loose(f(both.x, both.w)); return y.mul(y).mul(0.5).sum() as never })({ x, w }) as unknown as Tree
    using program = await compile(g as (...args: readonly Tree[]) => Tree, given(c), { ...where, backend: backend() })
    const found = await program(...data(c) as unknown as readonly [never, never]) as unknown as { readonly x: MeshArray; readonly w: MeshArray }
    return [await taken(found.x), await taken(found.w)]
  }
  const [halves, whole] = [await slopes('bf16'), await slopes('f32')]
  for (const i of [0, 1]) expect(relativeError([...halves[i] ?? []], [...whole[i] ?? []])).toBeLessThan(1e-2)
})

test('a profile tells its arithmetic', async () => {
  const c = cases[0] as Case
  const { text } = plan(made(c, 'bf16') as (...args: readonly Tree[]) => AnyTensor, given(c), { ...where, kernels: true })
  const traced = await backend().traced?.({ text, devices: 1, donated: [] })
  expect(traced?.parts.filter(p => p.flops > 0).map(p => p.flops)).toEqual([2 * 3 * 16 * 16 * 40 * 9 * 32])
})
