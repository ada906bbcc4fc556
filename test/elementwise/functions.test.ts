/**
 * Elementwise functions over the whole range of each dtype, values and slopes, on both backends: within 4 last places, or as docs/numerics.md
 * says. `npm run test:deep` sweeps all 65,536 halves, every function in every dtype on both backends; else a share of them is swept, and of the functions.
 */
import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openBackend, type Backend } from '../../src/engine/index.ts'
import { all } from '../support/depth.ts'
import { functions, type Function1 } from '../support/functions.ts'
import { halvesBy, singles, swept, worstOf, type Swept } from '../support/sweep.ts'
import { boundOf, exceptions } from './bounds.ts'

const share = all ? 1 : 1 / 61
type Row = readonly [x: number, value: number, slope: number]
/** By mpmath, in 700 digits: golden/make.py. */
const golden = JSON.parse(readFileSync(new URL('golden/f64.json', import.meta.url), 'utf8')) as { readonly [name: string]: readonly Row[] }
const doubles = functions.filter(f => golden[f.name] !== undefined)
/** Compiling is what takes long. All are compiled in f32, which halves are computed in, too; in each of the others a third of them, another one each. */
const sampled = (fs: readonly Function1[], which: number): readonly Function1[] => (all ? fs : fs.filter((_, i) => i % 3 === which))

interface Numbers { readonly of: readonly Function1[]; readonly xs: (f: Function1) => Float32Array | Float64Array; readonly exact: (f: Function1, of: 'value' | 'slope', x: number, i: number) => number }
const computed = (fs: readonly Function1[], xs: Float32Array): Numbers => ({ of: fs, xs: () => xs, exact: (f, of, x) => f[of](x) })
const numbers: { readonly [D in Swept]: () => Numbers } = {
  f64: () => ({
    of: sampled(doubles, 0), xs: f => Float64Array.from(golden[f.name] ?? [], r => r[0]),
    exact: (f, of, _, i) => golden[f.name]?.[i]?.[of === 'value' ? 1 : 2] ?? NaN,
  }),
  f32: () => computed(functions, singles(Math.max(1, Math.round(share * 16)), 1)),
  bf16: () => computed(sampled(functions, 1), halvesBy('bf16', Math.round(1 / share), 1)),
  f16: () => computed(sampled(functions, 2), halvesBy('f16', Math.round(1 / share), 2)),
}

test('the exceptions are of functions and dtypes that there are', () => {
  expect(exceptions.length).toBeGreaterThan(0)
  expect(exceptions.filter(e => !functions.some(f => f.name === e.name) || !Object.keys(numbers).includes(e.dtype ?? ''))).toEqual([])
  expect(doubles.length).toBeGreaterThan(30)
})

describe.each(['cpu', 'simulate'])('%s', plugin => {
  let backend: Backend
  beforeAll(async () => { backend = await openBackend({ plugin, devices: 1, cache: false }) })
  afterAll(async () => { await backend.close() })

  test.each(['f64', 'f32', 'bf16', 'f16'] as const)('%s', async dtype => {
    const { of: fs, xs, exact } = numbers[dtype]()
    const inputs = fs.map(xs)
    const found = await swept(fs, dtype, inputs, backend)
    const wrong = fs.flatMap((f, k) => (['value', 'slope'] as const).flatMap(of => {
      const x = inputs[k] ?? new Float32Array()
      const worst = worstOf(f, of, dtype, x, found[k]?.[of] ?? [], i => exact(f, of, x[i] ?? NaN, i))
      return worst.ulps <= boundOf(f.name, dtype, of) ? [] : [`${f.name} ${of} at ${worst.x}: ${worst.got}, exactly ${worst.exact}, ${worst.ulps} last places off`]
    }))
    expect(wrong).toEqual([])
  })
})
