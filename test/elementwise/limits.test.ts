/** Values and gradients where a formula alone would give NaN, and a limit or a convention says what they are (docs/language.md, At the edges). */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { compile, dims, expectDims, grad, input, mesh, openBackend, type AnyTensor, type Backend } from '../../src/engine/index.ts'
import { geluExact, gelu, logSigmoid, logsumexp, mish, silu, softplus } from '../../src/nn/index.ts'
import type { Tensor } from '../../src/graph/types.ts'
import { results } from './run.ts'

type T = Tensor<string>
const I = Infinity
const slope = (f: (x: T) => T) => (x: T): T => grad((p: T) => expectDims(f(p).sum(), []))(x)

/** Functions of one number: x, f(x), f′(x). */
const ones: readonly (readonly [string, (x: T) => T, readonly (readonly [number, number, number])[]])[] = [
  ['sqrt', x => x.sqrt(), [[0, 0, I], [I, I, 0]]], ['rsqrt', x => x.rsqrt(), [[0, I, -I], [I, 0, 0]]], ['cbrt', x => x.cbrt(), [[0, 0, I], [I, I, 0], [-I, -I, 0]]],
  ['abs', x => x.abs(), [[0, 0, 0], [-I, I, -1]]], ['log', x => x.log(), [[0, -I, I], [I, I, 0]]], ['log1p', x => x.log1p(), [[-1, -I, I], [I, I, 0]]],
  ['log2', x => x.log2(), [[0, -I, I], [I, I, 0]]], ['reciprocal', x => x.reciprocal(), [[0, I, -I], [I, 0, 0], [-I, 0, 0]]],
  ['exp', x => x.exp(), [[-I, 0, 0], [I, I, I]]], ['exp2', x => x.exp2(), [[-I, 0, 0], [I, I, I], [1e4, I, I], [-1e4, 0, 0]]], ['expm1', x => x.expm1(), [[-I, -1, 0], [I, I, I]]],
  ['asin', x => x.asin(), [[1, Math.fround(Math.PI / 2), I], [-1, Math.fround(-Math.PI / 2), I]]], ['acos', x => x.acos(), [[1, 0, -I], [-1, Math.fround(Math.PI), -I]]],
  ['atan', x => x.atan(), [[I, Math.fround(Math.PI / 2), 0], [-I, Math.fround(-Math.PI / 2), 0]]],
  ['acosh', x => x.acosh(), [[1, 0, I], [I, I, 0]]], ['atanh', x => x.atanh(), [[1, I, I], [-1, -I, I]]], ['asinh', x => x.asinh(), [[I, I, 0], [-I, -I, 0], [0, 0, 1]]],
  ['sinh', x => x.sinh(), [[I, I, I], [-I, -I, I], [0, 0, 1]]], ['cosh', x => x.cosh(), [[I, I, I], [-I, I, -I], [0, 1, 0]]], ['tanh', x => x.tanh(), [[I, 1, 0], [-I, -1, 0]]],
  ['erf', x => x.erf(), [[I, 1, 0], [-I, -1, 0]]], ['erfc', x => x.erfc(), [[I, 0, 0], [-I, 2, 0]]], ['erfInv', x => x.erfInv(), [[1, I, I], [-1, -I, I]]],
  ['sigmoid', x => x.sigmoid(), [[I, 1, 0], [-I, 0, 0]]], ['softplus', x => softplus(x), [[I, I, 1], [-I, 0, 0], [0, Math.fround(Math.LN2), 0.5]]],
  ['logSigmoid', x => logSigmoid(x), [[I, 0, 0], [-I, -I, 1], [0, -Math.fround(Math.LN2), 0.5]]],
  ...([['silu', silu], ['mish', mish], ['gelu', gelu], ['geluExact', geluExact]] as const).map(([name, f]) =>
    [name, (x: T) => f(x), [[I, I, 1], [-I, 0, 0], [1e30, Math.fround(1e30), 1], [-1e30, 0, 0]]] as const),
  ['x to the 0', x => x.pow(0), [[0, 1, 0], [I, 1, 0]]], ['x to the 2', x => x.pow(2), [[0, 0, 0]]], ['x to the 1', x => x.pow(1), [[0, 0, 1]]], ['x to the ½', x => x.pow(0.5), [[0, 0, I]]],
]
/** Functions of two: a, b, f, ∂f/∂a, ∂f/∂b. */
const twos: readonly (readonly [string, (a: T, b: T) => T, readonly (readonly number[])[]])[] = [
  ['pow', (a, b) => a.pow(b), [[0, 0, 1, 0, 0], [0, 1, 0, 1, 0], [0, 2, 0, 0, 0], [I, 0, 1, 0, I], [I, -1, 0, 0, 0], [2, 3, 8, 12, Math.fround(8 * Math.LN2)], [0, -1, I, -I, -I], [-2, 3, -8, 12, NaN]]],
  ['atan2', (a, b) => a.atan2(b), [[0, 0, 0, 0, 0], [0, 1, 0, 1, 0], [1, 0, Math.fround(Math.PI / 2), 0, -1], [1e30, 1e30, Math.fround(Math.PI / 4), Math.fround(0.5e-30), Math.fround(-0.5e-30)], [I, 1, Math.fround(Math.PI / 2), 0, 0]]],
  ['div', (a, b) => a.div(b), [[1, 1e-19, Math.fround(1e19), Math.fround(1e19), -Math.fround(1e38)], [0, 1, 0, 1, 0]]],
  ['mod', (a, b) => a.mod(b), [[7, 3, 1, 1, -2], [-7, 3, 2, 1, 3], [6, 3, 0, 1, -2], [1, I, 1, 1, 0]]],
  ['rem', (a, b) => a.rem(b), [[7, 3, 1, 1, -2], [-7, 3, -1, 1, 2], [1, I, 1, 1, 0]]],
  ['floorDiv', (a, b) => a.floorDiv(b), [[7, 3, 2, 0, 0], [1, 0, I, 0, 0]]],
]
const isClose = (got: number, want: number): boolean => got === want || (Number.isNaN(got) && Number.isNaN(want)) || Math.abs(got - want) <= Math.abs(want) * 2 ** -21

describe.each(['cpu', 'simulate'])('%s', plugin => {
  let backend: Backend
  beforeAll(async () => { backend = await openBackend({ plugin, devices: 2, cache: false }) })
  afterAll(async () => { await backend.close() })

  test('functions of one number', async () => {
    const xs = Float32Array.from([...new Set(ones.flatMap(([, , rows]) => rows.map(r => r[0])))])
    const found = await results(['f32'], [xs], x => Object.fromEntries(ones.flatMap(([name, f]): [string, T][] => [[name, f(x)], [`${name} slope`, slope(f)(x)]])), backend)
    const wrong = ones.flatMap(([name, , rows]) => rows.flatMap(([x, y, d]) => {
      const i = xs.indexOf(Math.fround(x))
      const [value, slope] = [Number(found[name]?.[i]), Number(found[`${name} slope`]?.[i])]
      return isClose(value, y) && isClose(slope, d) ? [] : [`${name} of ${x}: ${value} and ${slope}, not ${y} and ${d}`]
    }))
    expect(wrong).toEqual([])
  })

  test('functions of two numbers', async () => {
    const rows = twos.flatMap(([name, , rows]) => rows.map(r => ({ name, r })))
    const column = (k: number): Float32Array => Float32Array.from(rows, ({ r }) => r[k] ?? 0)
    const found = await results(['f32', 'f32'], [column(0), column(1)], (a, b) => Object.fromEntries(twos.flatMap(([name, f]): [string, AnyTensor][] => {
      const { a: da, b: db } = grad((p: { a: T; b: T }) => expectDims(f(p.a, p.b).sum(), []))({ a, b })
      return [[`${name} 2`, f(a, b)], [`${name} 3`, da], [`${name} 4`, db]]
    })), backend)
    const wrong = rows.flatMap(({ name, r }, i) => [2, 3, 4].flatMap(k => {
      const got = Number(found[`${name} ${k}`]?.[i])
      return isClose(got, r[k] ?? 0) ? [] : [`${name} of ${r[0]}, ${r[1]}: ${['value', 'first slope', 'second slope'][k - 2]} ${got}, not ${r[k]}`]
    }))
    expect(wrong).toEqual([])
  })

  test.each(['f16', 'bf16', 'f64'] as const)('%s: activations far from 0', async dtype => {
    const xs = Float32Array.of(-65000, -1000, 256, 65000)
    const fs = { silu, mish, gelu, geluExact, softplus }
    const found = await results([dtype], [dtype === 'f64' ? Float64Array.from(xs) : xs], x => Object.fromEntries(Object.entries(fs).map(([k, f]) => [k, slope(f)(x)])), backend)
    for (const name of Object.keys(fs)) expect([name, ...(found[name] ?? []).map(x => Number(x) + 0)]).toEqual([name, 0, 0, 1, 1])
  })

  test.each([
    ['norm', (x: T) => x.norm(), [0, 0, 0]], ['std', (x: T) => x.std(), [2, 2, 2]], ['std of what is no multiple', (x: T) => x.std(), [0.1, 0.1, 0.1]],
    ['std of many', (x: T) => x.std(), Array.from({ length: 7 }, () => 1.7)], ['std of large ones', (x: T) => x.std(), [1e6 + 0.3, 1e6 + 0.3, 1e6 + 0.3]],
  ] as const)('the gradient of %s is 0', async (_, f, data) => {
    for (const dtype of ['f32', 'f64', 'bf16', 'f16'] as const) {
      const xs = dtype === 'f64' ? Float64Array.from(data) : Float32Array.from(data, x => (dtype === 'f16' ? x % 1000 : x))
      const { g } = await results([dtype], [xs], x => ({ g: grad((p: T) => expectDims(f(p), []))(x) }), backend)
      expect([dtype, ...g.map(x => Number(x) + 0)]).toEqual([dtype, ...data.map(() => 0)])
    }
  })

  test('elsewhere norm and std have theirs', async () => {
    const { n, s } = await results(['f32'], [Float32Array.of(3, -4)], x => ({ n: grad((p: T) => expectDims(p.norm(), []))(x), s: grad((p: T) => expectDims(p.std(), []))(x) }), backend)
    ;[[n, [0.6, -0.8]], [s, [0.5, -0.5]]].forEach(([got = [], want = []]) => { want.forEach((y, i) => { expect(Number(got[i])).toBeCloseTo(Number(y), 6) }) })
  })

  test('a product with zeros in it', async () => {
    const d = dims({ row: 3, n: 3 })
    const x = input('x', [d.row, d.n])
    const program = await compile((p: typeof x) => grad((q: typeof x) => q.prod(d.n).sum())(p), [x], { mesh: mesh({}), layout: {}, backend })
    const out = await program(Float32Array.of(0, 2, 3, 0, 0, 5, 2, 3, 4))
    expect([...await out.read()]).toEqual([6, 0, 0, 0, 0, 0, 12, 8, 6])
    out.dispose()
    program.dispose()
  })

  test.each(['f32', 'f64', 'bf16', 'f16'] as const)('%s logsumexp with infinities, on every mesh', async dtype => {
    const d = dims({ row: 5, n: 2 })
    const x = input('x', [d.row, d.n], dtype)
    const data = [-I, -I, I, 0, -I, 1, I, -I, 0, 0]
    for (const [sizes, layout] of [[{}, {}], [{ m: 2 }, { n: 'm' }]] as const) {
      const program = await compile((p: typeof x) => ({ y: logsumexp(p, d.n), g: grad((q: typeof x) => logsumexp(q, d.n).sum())(p) }), [x], { mesh: mesh(sizes), layout, backend })
      const { y, g } = await program(dtype === 'f64' ? Float64Array.from(data) : Float32Array.from(data))
      expect([...await y.read()].map(Number).slice(0, 4)).toEqual([-I, I, 1, I])
      expect([...await g.read()].map(v => Number(Number(v).toFixed(2)))).toEqual([0, 0, 1, 0, 0, 1, 1, 0, 0.5, 0.5])
      y.dispose()
      g.dispose()
      program.dispose()
    }
  })
})
