/**
 * Every distribution on XLA, counted on the device: no draw lies where none may, and the shares are those of the law. `npm run test:deep` draws
 * 2²⁶ of each; the same draws come first, as they follow from the seed and the chunk alone.
 */
import { afterAll, beforeAll, expect, test } from 'vitest'
import {
  bernoulli, broadcast, categorical, compile, dim, dropout, exponential, fold, full, gumbel, input, iota, keyOf, loose, mesh, normal, openBackend, randomIntegers, scatter, stack, truncatedNormal, uniform, where, type AnyTensor, type Backend, type Key,
} from '../src/engine/index.ts'
import type { DType } from '../src/core/dtype.ts'
import { spacing } from '../src/core/neighbours.ts'
import { all } from './support/depth.ts'

type T = ReturnType<typeof loose>
const chunk = dim('chunk', 2 ** 18)
const draws = all ? 2 ** 26 : 2 ** 19
/** Of the law; the last is for what lies where nothing may. */
const cells = dim('cell', 17)
const count = (p: AnyTensor): T => loose(loose(p).cast('i32').sum())

/** What is counted of a draw: how many lie outside of [low, high) or are no numbers, and how many in each sixteenth of the law. */
interface Law { readonly draw: (key: Key) => AnyTensor; readonly low: number; readonly high: number; readonly law: (x: T) => T }
const wide = (x: T): T => (x.dtype === 'f64' ? x : x.cast('f32'))
// In f32: XLA compiles an erf of f64 for half a minute.
const bell = (x: T): T => loose(x.cast('f32')).mul(Math.SQRT1_2).erf().add(1).mul(0.5)
const between = (low: number, high: number) => (x: T): T => x.sub(low).div(high - low)
const drawn = (low: number, high: number, dtype: DType): Law => ({ draw: key => uniform(key, [chunk], { low, high, dtype }), low, high, law: between(low, high) })
const laws: { readonly [kind: string]: { readonly [name: string]: Law } } = {
  uniform: {
    'f32 in [0, 1)': drawn(0, 1, 'f32'), 'f32 in [1000, 1001)': drawn(1000, 1001, 'f32'), 'f64 in [0, 1)': drawn(0, 1, 'f64'), 'f64 in [1e6, 1e6 + 1)': drawn(1e6, 1e6 + 1, 'f64'),
    'bf16 in [0, 1)': drawn(0, 1, 'bf16'), 'bf16 in [-1, 1)': drawn(-1, 1, 'bf16'), 'f16 in [0, 1)': drawn(0, 1, 'f16'), 'f16 in [0, 48)': drawn(0, 48, 'f16'),
  },
  normal: {
    ...Object.fromEntries((['f32', 'f64', 'bf16', 'f16'] as const).map((dtype): [string, Law] => [dtype, { draw: key => normal(key, [chunk], dtype), low: -10, high: 10, law: bell }])),
    'truncated': { draw: key => truncatedNormal(key, [chunk]), low: -2, high: 2 + 1e-6, law: x => bell(x).sub(0.022750131948).mul(1 / 0.954499736104) },
    'above 1': { draw: key => truncatedNormal(key, [chunk], { low: 1, high: Infinity }), low: 1, high: 10, law: x => bell(x).sub(0.841344746069).mul(1 / 0.158655253931) },
  },
  others: {
    'exponential': { draw: key => exponential(key, [chunk]), low: 2 ** -26, high: 20, law: x => x.neg().expm1().neg() },
    'gumbel': { draw: key => gumbel(key, [chunk]), low: -4, high: 20, law: x => x.neg().exp().neg().exp() },
    'integers': { draw: key => randomIntegers(key, [chunk], -5, 11).cast('f32'), low: -5, high: 11, law: between(-5, 11) },
    'integers of no power of two': { draw: key => randomIntegers(key, [chunk], 0, 3 * 2 ** 29).cast('f64'), low: 0, high: 3 * 2 ** 29, law: between(0, 3 * 2 ** 29) },
    'integers of all of i32': { draw: key => randomIntegers(key, [chunk], -(2 ** 31), 2 ** 31).cast('f64'), low: -(2 ** 31), high: 2 ** 31, law: between(-(2 ** 31), 2 ** 31) },
  },
}
const seed = input('seed', [], 'i32')

let backend: Backend
beforeAll(async () => { backend = await openBackend({ plugin: 'cpu', devices: 1 }) })
afterAll(async () => { await backend.close() })

/** Sums of what a program counts in each chunk. */
async function counted(f: (key: Key) => { readonly [name: string]: AnyTensor }): Promise<{ readonly [name: string]: number[] }> {
  const program = await compile((s: typeof seed) => f(fold(keyOf(full(26, [], 'i32')), s)), [seed] as const, { mesh: mesh({}), layout: {}, backend })
  const sums: { [name: string]: number[] } = {}
  for (let i = 0; i < draws / chunk.size; i++) {
    for (const [name, result] of Object.entries(await program(i))) {
      const found = [...await result.read()].map(Number)
      sums[name] = found.map((x, k) => x + (sums[name]?.[k] ?? 0))
      result.dispose()
    }
  }
  program.dispose()
  return sums
}

test.each(Object.entries(laws))('%s: no draw lies where none may, and as many as should in each share of the law', async (kind, some) => {
  const found = await counted(key => Object.fromEntries(Object.entries(some).map(([name, { draw, low, high, law }], i) => {
    const x = loose(draw(fold(key, i)))
    const inside = wide(x).greaterEqual(low).and(loose(wide(x).less(high)))
    const cell = where(inside, law(wide(x)).mul(16).floor().cast('i32').maximum(0).minimum(15), 16)
    return [name, scatter(full(0, [cells], 'i32'), 'cell', cell, full(1, [chunk], 'i32') as never, 'add')]
  })))
  for (const [name, counts] of Object.entries(found)) {
    const shares = counts.slice(0, 16)
    expect([name, counts[16], shares.reduce((a, b) => a + b, 0)]).toEqual([name, 0, draws])
    // Halves are cut or rounded between the shares where they are not exact: a normal's share may be off by the chance of one number.
    const off = kind === 'normal' && (name === 'bf16' || name === 'f16') ? name : undefined
    const slack = off === undefined ? 0 : spacing(1, off) * draws / 2
    const squares = shares.map(n => Math.max(0, Math.abs(n - draws / 16) - slack) ** 2 / (draws / 16))
    // χ² of 15 degrees of freedom passes 60 less than once in a million draws.
    expect([name, squares.reduce((a, b) => a + b, 0) < 60, shares]).toEqual([name, true, shares])
  }
})

test('classes and coins', async () => {
  const classes = dim('class', 4)
  const none = loose(full(-Infinity, [classes]))
  const weights = where(loose(iota(classes)).equal(1), none, where(loose(iota(classes)).equal(2), loose(full(Math.log(2), [classes])), 0))
  const found = await counted(key => {
    const which = loose(categorical(key, broadcast(weights, [chunk, classes]) as never, 'class'))
    const each = (p: T): AnyTensor => count(p)
    return {
      classes: stack<never, 'class'>([0, 1, 2, 3].map(c => each(which.equal(c))) as never, classes),
      never: each(loose(bernoulli(fold(key, 1), 0, [chunk]))), always: each(loose(bernoulli(fold(key, 1), 1, [chunk]))), third: each(loose(bernoulli(fold(key, 2), 1 / 3, [chunk]))),
      dropped: each(loose(dropout(fold(key, 3), full(1, [chunk]), 0.25)).equal(0)), rare: each(loose(bernoulli(fold(key, 4), 2 ** -30, [chunk]))),
    }
  })
  const near = (n: number | undefined, p: number): boolean => Math.abs((n ?? NaN) - p * draws) <= 5 * Math.sqrt(draws * p * (1 - p))
  expect([found['never'], found['always']]).toEqual([[0], [draws]])
  expect(found['classes']?.[1]).toBe(0)
  expect([[0, 0.25], [2, 0.5], [3, 0.25]].map(([c = 0, p = 0]) => near(found['classes']?.[c], p))).toEqual([true, true, true])
  expect([near(found['third']?.[0], 1 / 3), near(found['dropped']?.[0], 0.25), (found['rare']?.[0] ?? NaN) <= 3]).toEqual([true, true, true])
})
