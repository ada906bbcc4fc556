/** How operands and results of our own calls lie, whoever reads them: XLA gives what does not say so the layout that its reader would like. */
import { describe, expect, test } from 'vitest'
import { ownCall, type OwnCall } from '../../src/stablehlo/own-call.ts'
import { typeText, Writer, type Ssa } from '../../src/stablehlo/writer.ts'
import { backendOfKernels, numbers } from '../support/kernels.ts'

const backend = backendOfKernels(2)

interface Called { readonly operands: readonly (readonly number[])[]; readonly result: readonly number[]; readonly more?: OwnCall }
const calls: { readonly [name: string]: Called } = {
  product: { operands: [[2, 24, 32], [2, 32, 40]], result: [2, 24, 40] },
  dot_rows: { operands: [[2, 24, 32], [2, 32, 40]], result: [2, 24, 40] },
  dot_columns: { operands: [[2, 24, 32], [2, 40, 32]], result: [2, 24, 40] },
  flash_forward: { operands: [[2, 16, 4, 2, 16], [2, 16, 4, 16], [2, 16, 4, 16]], result: [2, 16, 4, 2, 16], more: { config: 'causal = true' } },
  after: { operands: [[24, 40], [8]], result: [24, 40] },
}

/** What the call leaves, and then what `read` makes of it. */
function moduleOf(name: string, { operands, result, more }: Called, read: (made: Ssa, w: Writer) => Ssa): string {
  const w = new Writer()
  const args = operands.map((sizes, i): Ssa => ({ sizes, dtype: 'f32', name: `%arg${i}` }))
  const out = read(ownCall(w, name, args, { sizes: result, dtype: 'f32' }, more), w)
  return `module @call {\n  func.func public @main(${args.map(a => `${a.name}: ${typeText(a)}`).join(', ')}) -> (${typeText(out)}) {\n${w.text}\n    "func.return"(${out.name}) : (${typeText(out)}) -> ()\n  }\n}`
}
const asItIs = (made: Ssa): Ssa => made
const scatteredAlong = (dim: number) => (made: Ssa, w: Writer): Ssa =>
  w.op('reduce_scatter', [made], { sizes: made.sizes.map((s, i) => (i === dim ? s / 2 : s)), dtype: 'f32' }, `channel_handle = #stablehlo.channel_handle<handle = 1, type = 0>, replica_groups = dense<[[0, 1]]> : tensor<1x2xi64>, scatter_dimension = ${dim} : i64`, () => {
    const [a, b] = w.block([{ sizes: [], dtype: 'f32' }, { sizes: [], dtype: 'f32' }])
    if (a !== undefined && b !== undefined) w.return([w.op('add', [a, b], a)])
  })

/** Of each of two devices, which are given different numbers. */
async function ran(name: string, called: Called, read: (made: Ssa, w: Writer) => Ssa): Promise<Float32Array[]> {
  const on = backend()
  const program = await on.compile({ text: moduleOf(name, called, read), devices: 2, donated: [] })
  const put = (sizes: readonly number[], i: number, device: number) => on.put(numbers(sizes.reduce((a, b) => a * b, 1), 10 * device + i), { shape: sizes, dtype: 'f32' }, device)
  const given = await Promise.all([0, 1].map(device => Promise.all(called.operands.map((sizes, i) => put(sizes, i, device)))))
  const results = await program.execute(given)
  return Promise.all(results.map(async ([result]) => (await result?.read() as Float32Array).slice()))
}
const partOf = (x: Float32Array, sizes: readonly number[], dim: number, half: number): number[] => {
  const [size = 1] = sizes.slice(dim)
  const inner = sizes.slice(dim + 1).reduce((a, b) => a * b, 1)
  return [...x].filter((_, i) => Math.floor(Math.floor(i / inner) % size / (size / 2)) === half)
}

describe.each(Object.entries(calls))('the result of %s', (name, called) => {
  test.each(called.result.map((_, dim) => dim))('lies by rows where a reduce-scatter along dim %i reads it', async dim => {
    const [[one = new Float32Array(), other = new Float32Array()], parts] = [await ran(name, called, asItIs), await ran(name, called, scatteredAlong(dim))]
    const sums = one.map((x, i) => x + (other[i] ?? 0))
    parts.forEach((part, half) => expect([...part]).toEqual(partOf(sums, called.result, dim, half)))
  })
})
