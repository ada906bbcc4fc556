/** What each op computes, in the plainest way: loops over indices, f64 throughout. */
import { names, sizeOf } from '../../core/dim.ts'
import { isFloat } from '../../core/dtype.ts'
import { typeOf, type Table } from '../node.ts'
import type { BinaryFn, Direction, ReduceKind, UnaryFn } from '../ops.ts'
import { threefry2x32 } from '../../core/threefry.ts'
import { empty, offsets, valueOf, type Value } from './values.ts'

export const unaryFns: { readonly [F in UnaryFn]: (x: number) => number } = {
  neg: x => -x, exp: Math.exp, log: Math.log, tanh: Math.tanh, sqrt: Math.sqrt, rsqrt: x => 1 / Math.sqrt(x),
  abs: Math.abs, sign: Math.sign, sin: Math.sin, cos: Math.cos, logistic: x => 1 / (1 + Math.exp(-x)), not: x => ~x,
}
export const binaryFns: { readonly [F in BinaryFn]: (a: number, b: number) => number } = {
  add: (a, b) => a + b, sub: (a, b) => a - b, mul: (a, b) => a * b, div: (a, b) => a / b, max: Math.max, min: Math.min, pow: Math.pow,
  and: (a, b) => a & b, or: (a, b) => a | b, xor: (a, b) => a ^ b,
  // Shifts by the width or more give 0, as StableHLO says.
  shiftLeft: (a, b) => (b > 31 ? 0 : a << b), shiftRight: (a, b) => (b > 31 ? 0 : a >>> b),
}
const directions: { readonly [D in Direction]: (a: number, b: number) => boolean } = {
  EQ: (a, b) => a === b, NE: (a, b) => a !== b, LT: (a, b) => a < b, LE: (a, b) => a <= b, GT: (a, b) => a > b, GE: (a, b) => a >= b,
}
const reducers: { readonly [K in ReduceKind]: { readonly start: number; readonly step: (a: number, b: number) => number } } = {
  sum: { start: 0, step: (a, b) => a + b }, max: { start: -Infinity, step: Math.max }, min: { start: Infinity, step: Math.min },
}
/** The identity of a reduction in a dtype, as the emitter writes it too. */
export const reduceStart = (kind: ReduceKind, float: boolean): number => {
  const { start } = reducers[kind]
  return float || Number.isFinite(start) ? start : start < 0 ? -(2 ** 31) : 2 ** 31 - 1
}

const at = (v: readonly Value[], i: number): Value => {
  const found = v[i]
  if (found === undefined) throw new Error(`operand ${i} is missing`)
  return found
}
const get = (v: Value, i: number): number => v.data[i] ?? Number.NaN

/** `run` evaluates a loop's body: graph inputs' values in, outputs' values out. */
export interface Context { readonly run: (graph: { readonly inputs: readonly object[]; readonly outputs: readonly object[] }, inputs: readonly Value[]) => Value[] }

export const reference: Table<readonly Value[], [readonly Value[], Context]> = {
  input: n => { throw new Error(`input "${n.attrs.name}" was given no value`) },
  constant: n => [valueOf(typeOf(n), [n.attrs.value])],
  iota: n => [valueOf(typeOf(n), Array.from({ length: n.attrs.dim.size }, (_, i) => i))],
  unary: (n, [x]) => {
    const [out, f, a] = [empty(typeOf(n)), unaryFns[n.attrs.fn], at([x as Value], 0)]
    const bool = a.dtype === 'bool'
    for (let i = 0; i < out.data.length; i++) out.data[i] = bool ? 1 - get(a, i) : f(get(a, i))
    return [out]
  },
  binary: (n, v) => {
    const [out, f, a, b] = [empty(typeOf(n)), binaryFns[n.attrs.fn], at(v, 0), at(v, 1)]
    // Integer products need all 32 low bits, which a double cannot hold.
    const g = n.attrs.fn === 'mul' && !isFloat(out.dtype) ? Math.imul : n.attrs.fn === 'div' && !isFloat(out.dtype) ? (p: number, q: number) => Math.trunc(p / q) : f
    for (let i = 0; i < out.data.length; i++) out.data[i] = g(get(a, i), get(b, i))
    return [out]
  },
  compare: (n, v) => {
    const [out, f, a, b] = [empty(typeOf(n)), directions[n.attrs.direction], at(v, 0), at(v, 1)]
    for (let i = 0; i < out.data.length; i++) out.data[i] = f(get(a, i), get(b, i)) ? 1 : 0
    return [out]
  },
  select: (n, v) => {
    const [out, p, a, b] = [empty(typeOf(n)), at(v, 0), at(v, 1), at(v, 2)]
    for (let i = 0; i < out.data.length; i++) out.data[i] = get(p, i) !== 0 ? get(a, i) : get(b, i)
    return [out]
  },
  convert: (n, v) => {
    const [out, a] = [empty(typeOf(n)), at(v, 0)]
    const cut = isFloat(a.dtype) && !isFloat(out.dtype)
    for (let i = 0; i < out.data.length; i++) out.data[i] = out.dtype === 'bool' ? Number(get(a, i) !== 0) : cut ? Math.trunc(get(a, i)) : get(a, i)
    return [out]
  },
  broadcast: (n, v) => {
    const [out, a] = [empty(typeOf(n)), at(v, 0)]
    const from = offsets(out.shape, a.shape)
    for (let i = 0; i < out.data.length; i++) out.data[i] = get(a, from[i] ?? 0)
    return [out]
  },
  dot: (n, v) => {
    const [out, a, b] = [empty(typeOf(n)), at(v, 0), at(v, 1)]
    const walked = [...out.shape, ...a.shape.filter(d => n.attrs.over.includes(d.name))]
    const [to, left, right] = [offsets(walked, out.shape), offsets(walked, a.shape), offsets(walked, b.shape)]
    for (let i = 0; i < to.length; i++) out.data[to[i] ?? 0] = (out.data[to[i] ?? 0] ?? 0) + get(a, left[i] ?? 0) * get(b, right[i] ?? 0)
    return [out]
  },
  reduce: (n, v) => {
    const [out, a, { step }] = [empty(typeOf(n)), at(v, 0), reducers[n.attrs.kind]]
    out.data.fill(reduceStart(n.attrs.kind, isFloat(out.dtype)))
    const to = offsets(a.shape, out.shape)
    for (let i = 0; i < to.length; i++) out.data[to[i] ?? 0] = step(out.data[to[i] ?? 0] ?? 0, get(a, i))
    return [out]
  },
  rename: (n, v) => [{ ...typeOf(n), data: at(v, 0).data }],
  take: (n, v) => {
    const [out, table, indices] = [empty(typeOf(n)), at(v, 0), at(v, 1)]
    const size = table.shape.find(d => d.name === n.attrs.dim)?.size ?? 0
    const stride = sizeOf(table.shape.slice(names(table.shape).indexOf(n.attrs.dim) + 1))
    const [rest, which] = [offsets(out.shape, table.shape.map(d => (d.name === n.attrs.dim ? { name: '', size: d.size } : d))), offsets(out.shape, indices.shape)]
    for (let i = 0; i < out.data.length; i++) {
      const row = Math.min(Math.max(get(indices, which[i] ?? 0), 0), size - 1)
      out.data[i] = get(table, (rest[i] ?? 0) + row * stride)
    }
    return [out]
  },
  scatterAdd: (n, v) => {
    const [out, indices, updates] = [empty(typeOf(n)), at(v, 0), at(v, 1)]
    const stride = sizeOf(out.shape.slice(1))
    const [rest, which] = [offsets(updates.shape, out.shape.slice(1)), offsets(updates.shape, indices.shape)]
    for (let i = 0; i < updates.data.length; i++) {
      const row = get(indices, which[i] ?? 0)
      if (row < 0 || row >= n.attrs.dim.size) continue
      const to = (rest[i] ?? 0) + row * stride
      out.data[to] = (out.data[to] ?? 0) + get(updates, i)
    }
    return [out]
  },
  threefry: (n, v) => {
    const out = empty(typeOf(n))
    const [k0, k1, c0, c1] = [at(v, 0), at(v, 1), at(v, 2), at(v, 3)]
    for (let i = 0; i < out.data.length; i++) out.data[i] = threefry2x32(get(k0, i), get(k1, i), get(c0, i), get(c1, i))
    return [out]
  },
  scan: (n, v, context) => {
    const { over, carries, xs, body, reverse } = n.attrs
    const results = n.results.map(empty)
    let carried = v.slice(0, carries)
    const slice = (x: Value, i: number, shape: Value['shape']): Value => {
      const length = x.data.length / over.size
      return { shape, dtype: x.dtype, data: x.data.slice(i * length, (i + 1) * length) }
    }
    for (let step = 0; step < over.size; step++) {
      const i = reverse ? over.size - 1 - step : step
      const walked = v.slice(carries, carries + xs).map(x => slice(x, i, x.shape.slice(1)))
      const out = context.run(body, [...carried, ...walked, ...v.slice(carries + xs)])
      carried = out.slice(0, carries)
      out.slice(carries).forEach((y, k) => results[carries + k]?.data.set(y.data as never, i * y.data.length))
    }
    return [...carried, ...results.slice(carries)]
  },
  project: () => { throw new Error('a projection has no values of its own') },
  relayout: (_, v) => [at(v, 0)],
  stopGradient: (_, v) => [at(v, 0)],
  customGradient: (_, v) => [at(v, 0)],
}
