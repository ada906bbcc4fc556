/** The frequencies of rotary embeddings: those of transformers, whatever scales them; and turning a part of a head by them. */
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { DimError } from '../../src/core/errors.ts'
import { dims, expectDims, iota, type AnyTensor } from '../../src/engine/index.ts'
import { rotary, rotaryFrequencies, type RotaryConfig } from '../../src/nn/index.ts'
import { gradientError } from '../autodiff/differences.ts'
import { given, valueOfTensor, type T } from '../graph/support.ts'
import { draw } from '../support/values.ts'

interface Judged { readonly config: RotaryConfig; readonly values: readonly number[]; readonly scale: number }
const judged = JSON.parse(readFileSync(new URL('golden/rotary-frequencies.json', import.meta.url), 'utf8')) as readonly Judged[]

test('every scaling is judged', () => {
  expect(new Set(judged.map(j => j.config.scaling?.type ?? 'none'))).toEqual(new Set(['none', 'linear', 'dynamic', 'yarn', 'longrope', 'llama3']))
})
test.each(judged.map(j => [JSON.stringify(j.config), j] as const))('%s', (_, { config, values, scale }) => {
  const found = rotaryFrequencies(config)
  expect(found.values.length).toBe(values.length)
  // transformers computes in f32.
  found.values.forEach((f, i) => { expect(Math.abs(f / (values[i] ?? NaN) - 1)).toBeLessThan(1e-6) })
  expect(found.scale).toBeCloseTo(scale, 12)
})

const d = dims({ batch: 2, seq: 5, headDim: 6 })
const x = given([d.batch, d.seq, d.headDim], Array.from({ length: 60 }, (_, i) => 2 * draw(3, i) - 1))
const code = (f: () => unknown): string => { try { f(); return 'none' } catch (e) { return e instanceof DimError ? `${e.code}: ${e.problem.what}` : String(e) } }
test.each([[6, [1, 0.3, 0.01]], [4, [0.7, 0.1]], [2, [0.5]]] as const)('the first %i elements are turned, the others stay; what is scaled grows', (size, values) => {
  const turn = (t: T): AnyTensor => expectDims(rotary(t, 'headDim' as string, iota(d.seq) as AnyTensor as T, { frequencies: { values, scale: 1.25 } }), x.tensor.shape)
  const expected = Array.from(x.data, (value, i) => {
    const [j, position, half] = [i % 6, Math.floor(i / 6) % 5, size / 2]
    if (j >= size) return value
    const angle = position * (values[j % half] ?? NaN)
    return 1.25 * (value * Math.cos(angle) + (j < half ? -1 : 1) * (x.data[i - j + (j + half) % size] ?? NaN) * Math.sin(angle))
  })
  valueOfTensor(turn(x.tensor), x).forEach((n, i) => { expect(n).toBeCloseTo(expected[i] ?? NaN, 12) })
  expect(gradientError(([t]) => turn(t ?? x.tensor), [x], 4)).toBeLessThan(1e-6)
})
test('refuses what is none', () => {
  const f = (c: Partial<RotaryConfig>): string => code(() => rotaryFrequencies({ size: 4, base: 10000, seq: 8, ...c }))
  expect(f({ size: 3 })).toBe('option: rotary: 3 elements have no pairs')
  expect(f({ base: 0 })).toBe('option: rotary: base is 0')
  expect(f({ scaling: { type: 'ntk', factor: 2 } as never })).toBe('option: rotary: there is no scaling "ntk"')
  expect(f({ scaling: { type: 'linear', factor: 0 } })).toBe('option: rotary: the factor of linear is 0')
  expect(f({ scaling: { type: 'longrope', factor: 2, original: 8, short: [1], long: [1] } })).toBe('option: rotary: longrope has 1 divisors for 2 frequencies')
  const of = (options: object): string => code(() => rotary(x.tensor, 'headDim' as string, iota(d.seq) as AnyTensor as T, options))
  expect(of({ frequencies: { values: [1, 1, 1, 1], scale: 1 } })).toBe('option: rotary: 8 elements are to be turned along "headDim" of size 6')
  expect(of({ pairs: 'neighbours', frequencies: { values: [1], scale: 1 } })).toBe('option: rotary: frequencies are given for neighbours')
})
