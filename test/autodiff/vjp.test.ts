/** Vector-Jacobian products: against finite differences, in loops, of each other; and gradients of one's own for any number of inputs. */
import { describe, expect, test } from 'vitest'
import { DimError } from '../../src/core/errors.ts'
import { cond, dims, expectDims, full, grad, index, input, leavesOf, loose, mapTree, named, scan, vjp, where, withGradient, type AnyTensor, type Remat, type Scalar, type Tree } from '../../src/engine/index.ts'
import { given, leafValues, valueOfTensor, valuesOf, type Operand, type T } from '../graph/support.ts'
import { draw } from '../support/values.ts'
import { gradientError } from './differences.ts'

const { a, b, c, steps } = dims({ a: 2, b: 3, c: 4, steps: 3 })
const scalar = (x: AnyTensor): Scalar => expectDims(x, [])
const random = (shape: Parameters<typeof given>[0], seed: number): Operand => given(shape, Array.from({ length: shape.reduce((n, d) => n * d.size, 1) }, (_, i) => 2 * draw(seed, i) - 1))
const [x, w, v] = [random([a, b], 1), random([b, c], 2), random([c], 3)]
const ones = (...shape: Parameters<typeof given>[0]): T => loose(full(1, shape))
const problem = (f: () => unknown): string => { try { f(); return 'none' } catch (e) { return e instanceof DimError ? `${e.code}: ${e.problem.what}` : String(e) } }

/** f's directional derivatives by pulling cotangents back, against central differences: Σ cotangent · f(x + h·direction). */
function pullError(f: (...x: T[]) => Tree, operands: readonly Operand[], remat?: Remat): number {
  const { value, pull } = vjp(f, remat === undefined ? {} : { remat })(...operands.map(o => o.tensor))
  const outputs = leavesOf(value).map(l => l.leaf)
  const weights = outputs.map((y, i) => ({ tensor: input('g', y.shape, y.dtype) as T, data: Array.from({ length: y.shape.reduce((n, d) => n * d.size, 1) }, (_, k) => 2 * draw(50 + i, k) - 1) }))
  let next = 0
  const found = valuesOf(pull(mapTree(value, () => weights[next++]?.tensor ?? full(0, []))), [...operands, ...weights])
  const total = (moved: readonly Operand[]): number => {
    const values = valuesOf(outputs, [...moved, ...weights])
    return values.reduce((s, y, i) => y.reduce((t, n, k) => t + n * (weights[i]?.data[k] ?? NaN), s), 0)
  }
  return Math.max(...operands.map((o, i) => {
    const direction = Array.from(o.data, (_, k) => 2 * draw(90 + i, k) - 1)
    const at = (h: number): number => total(operands.map((p, j) => (i === j ? { ...p, data: Array.from(p.data, (n, k) => n + h * (direction[k] ?? 0)) } : p)))
    const slope = (at(1e-5) - at(-1e-5)) / 2e-5
    return Math.abs(slope - direction.reduce((s, n, k) => s + n * (found[i]?.[k] ?? NaN), 0)) / Math.max(Math.abs(slope), 1e-2)
  }))
}

describe('a vector-Jacobian product', () => {
  test('of one result with dims, and of a tree of them', () => {
    expect(pullError((x, w) => x.dot(w, b).tanh(), [x, w])).toBeLessThan(1e-6)
    expect(pullError((x, w, v) => ({ y: x.dot(w, b).tanh(), norms: [x.square().sum(b), { total: w.mul(v).exp().sum() }] }), [x, w, v])).toBeLessThan(1e-6)
  })
  test.each(['everything', 'nothing', 'all-but-contractions'] as const)('of a loop that recomputes %s', remat => {
    const layers = random([steps, b], 7)
    expect(pullError((x, w) => { const [last, all] = scan(steps, x, w, (carry: T, w: T) => { const y: T = carry.mul(w).sin(); return [y, { y: y.square() }] }); return { last, all } }, [x, layers], remat)).toBeLessThan(1e-6)
  })
  test('has the value as f gives it, and cotangents like the arguments', () => {
    const f = (p: { readonly w: T; readonly unused: readonly T[] }, x: T): T => x.dot(p.w, b)
    const back = vjp(f)({ w: w.tensor, unused: [v.tensor] }, x.tensor)
    expect(valueOfTensor(back.value, x, w)).toEqual(valueOfTensor(x.tensor.dot(w.tensor, b), x, w))
    const [params, dx] = back.pull(ones(a, c))
    expect([params.w, dx, ...params.unused].map(t => t.shape.map(d => d.name).join(' '))).toEqual(['b c', 'a b', 'c'])
    expect(leafValues(params.unused, v)).toEqual([[0, 0, 0, 0]])
  })
  test('takes the dims of a cotangent in any order', () => {
    const { pull } = vjp((x: T) => x.dot(w.tensor, b))(x.tensor)
    const [one, other] = [random([a, c], 4), random([c, a], 4)]
    const turned = { ...other, data: Array.from({ length: 8 }, (_, i) => one.data[(i % 2) * 4 + Math.floor(i / 2)] ?? NaN) }
    expect(leafValues(pull(other.tensor), x, w, turned)).toEqual(leafValues(pull(one.tensor), x, w, one))
  })
  test('undefined is no cotangent, for a leaf and for a part of the tree', () => {
    const { pull } = vjp((x: T) => ({ y: x.mul(2), more: { count: x.greater(0).cast('i32').sum(), z: x.mul(5) } }))(x.tensor)
    expect(leafValues(pull({ y: ones(a, b), more: undefined }), x)).toEqual([[2, 2, 2, 2, 2, 2]])
    expect(leafValues(pull({ y: undefined, more: { count: undefined, z: ones(a, b) } }), x)).toEqual([[5, 5, 5, 5, 5, 5]])
    expect(leafValues(pull(undefined), x)).toEqual([[0, 0, 0, 0, 0, 0]])
  })
  test('can be taken again and again: a Jacobian row by row', () => {
    const y = given([b], [1, 2, 3])
    const { pull } = vjp((y: T) => y.square().mul(y))(y.tensor)
    const basis = [0, 1, 2].map(i => given([b], [0, 1, 2].map(k => Number(k === i))))
    expect(basis.map(e => leafValues(pull(e.tensor), y, e)[0])).toEqual([[3, 0, 0], [0, 12, 0], [0, 0, 27]])
  })
  test('of functions that are differentiated themselves', () => {
    // Σ (Jᵀ u)², whose gradient needs second derivatives.
    const second = ([x, u, w]: readonly T[]): AnyTensor => {
      if (x === undefined || u === undefined || w === undefined) throw new Error('three operands')
      const [dx] = vjp((x: T) => x.dot(w, b).tanh())(x).pull(u)
      return dx.square().sum()
    }
    expect(gradientError(second, [x, random([a, c], 5), w], 6)).toBeLessThan(1e-6)
    const third = (x: T): T => grad((x: T) => scalar(vjp((x: T) => x.square().square())(x).pull(loose(full(1, x.shape)))[0].sum()))(x)
    const at = given([b], [1, 2, 3])
    expect(valueOfTensor(third(at.tensor), at)).toEqual([12, 48, 108])
  })

  test('knows its arguments apart, though they be one tensor or made of each other', () => {
    const at = given([b], [1, 2, 3])
    const { pull } = vjp((x: T, y: T) => x.mul(y).mul(y))(at.tensor, at.tensor)
    expect(leafValues(pull(ones(b)), at)).toEqual([[1, 4, 9], [2, 8, 18]])
    const made = vjp((x: T, y: T) => x.mul(y))(at.tensor, at.tensor.exp())
    const [dx, dy] = made.pull(ones(b))
    expect(valueOfTensor(dx, at)).toEqual([1, 2, 3].map(Math.exp))
    expect(valueOfTensor(dy, at)).toEqual([1, 2, 3])
    expect(leafValues(grad(({ x, y }: { x: T; y: T }) => scalar(x.mul(y).mul(y).sum()))({ x: at.tensor, y: at.tensor }), at)).toEqual([[1, 4, 9], [2, 8, 18]])
  })
  test('holds what the function uses beside its arguments constant', () => {
    const at = given([b], [1, 2, 3])
    const scale = at.tensor.square()
    expect(leafValues(grad((x: T) => scalar(x.mul(scale).sum()))(at.tensor), at)).toEqual([[1, 4, 9]])
    expect(leafValues(vjp((x: T) => x.mul(scale))(at.tensor).pull(ones(b)), at)).toEqual([[1, 4, 9]])
  })

  test('in the body of a loop: one turn\'s forward pass, and the backward pass of another', () => {
    // A pipeline in small: each turn computes f of its x, and pulls back what the turn before computed, from a carry.
    const xs = random([steps, b], 8)
    const weight = random([b], 9)
    const f = (w: T, x: T): T => w.mul(x).sin()
    const [carried] = scan(steps, { before: full(0, [b]) as T, sum: full(0, [b]) as T }, xs.tensor, ({ before, sum }, x: T) => {
      const { value } = vjp(f)(weight.tensor, x)
      const [dw] = vjp(f)(weight.tensor, before).pull(ones(b))
      return [{ before: x.add(value.mul(0)), sum: loose(sum).add(dw) }, {}]
    })
    const [last] = vjp(f)(weight.tensor, carried.before).pull(ones(b))
    const whole = grad((w: T) => scalar(f(w, xs.tensor).sum()))(weight.tensor)
    const [found, expected] = [valueOfTensor(loose(carried.sum).add(last), xs, weight), valueOfTensor(whole, xs, weight)]
    found.forEach((n, i) => expect(n).toBeCloseTo(expected[i] ?? NaN, 12))
  })
  test('pulled back in the turns of a loop, of a value from outside of it', () => {
    const at = random([b], 10)
    const gs = random([steps, b], 11)
    const { pull } = vjp((x: T) => x.tanh().mul(x))(at.tensor)
    const [sum] = scan(steps, full(0, [b]) as T, gs.tensor, (sum, g: T) => [loose(sum).add(pull(g)[0]), {}])
    const expected = pull(gs.tensor.sum(steps))[0]
    valueOfTensor(sum, at, gs).forEach((n, i) => expect(n).toBeCloseTo(valueOfTensor(expected, at, gs)[i] ?? NaN, 12))
  })
  test('in a branch that is chosen as the program runs', () => {
    const at = given([b], [1, 2, 3])
    const y = cond(scalar(at.tensor.sum().greater(0)), () => vjp((x: T) => x.square())(at.tensor).pull(ones(b))[0], () => at.tensor)
    expect(valueOfTensor(y, at)).toEqual([2, 4, 6])
  })

  test('says what is wrong with arguments, cotangents and policies', () => {
    const ids = input('ids', [b], 'i32')
    expect(problem(() => vjp((x: T, i: typeof ids) => x.take(b, i))(x.tensor, ids))).toBe('dtype: vjp: argument 1 is i32; only floats have gradients')
    expect(problem(() => vjp((p: { readonly deep: { readonly ids: typeof ids } }) => p.deep.ids.cast('f32'))({ deep: { ids } }))).toBe('dtype: vjp: argument 0.deep.ids is i32; only floats have gradients')
    const { pull } = vjp((x: T) => ({ y: x.mul(2), n: x.greater(0) }))(x.tensor)
    const wrong = (g: unknown): string => problem(() => pull(g as never))
    expect(wrong({ y: ones(a), n: undefined })).toBe('cotangent: vjp: the cotangent of "y" has other dims')
    expect(wrong({ y: full(1, [a, { name: 'b', size: 4 }]), n: undefined })).toBe('cotangent: vjp: the cotangent of "y" has other dims')
    expect(wrong({ y: full(1, [a, b], 'f64'), n: undefined })).toBe('cotangent: vjp: the cotangent of "y" has another dtype')
    expect(wrong({ y: undefined, n: ones(a, b) })).toBe('cotangent: vjp: the cotangent of "n" is given, and only floats have cotangents')
    expect(wrong({ y: 1, n: undefined })).toBe('cotangent: vjp: the cotangent of "y" is no tensor')
    for (const form of [{ y: undefined }, { y: undefined, n: undefined, more: undefined }, { y: undefined, m: undefined }, ones(a, b), [ones(a, b)], null, 3]) expect(wrong(form)).toBe('cotangent: vjp: the cotangent has another form')
    expect(problem(() => vjp((x: T) => named(x, 'x'), { remat: { keep: ['y'] } })(x.tensor))).toContain('unknown-name')
  })
  test('an error names the line of the call that it is about', () => {
    const { pull } = vjp((x: T) => x.mul(2))(x.tensor)
    const at = (f: () => unknown): string | undefined => { try { f(); return undefined } catch (e) { return e instanceof DimError ? e.problem.at?.file : undefined } }
    expect(at(() => pull(ones(a)))).toMatch(/test\/autodiff\/vjp\.test\.ts$/)
    expect(at(() => grad((x: T) => scalar(withGradient([x], ([x]) => x.exp(), g => [loose(g.sum(a))]).sum()))(x.tensor))).toMatch(/test\/autodiff\/vjp\.test\.ts$/)
  })
})

describe('gradients of one\'s own', () => {
  test('of a tree of five inputs, one of them of integers, some without', () => {
    const at = [1, 2, 3, 4].map(n => given([b], [n, n + 1, n + 2]))
    const ids = given([b], [2, 1, 0], 'i32')
    const [p, q, r, s] = at.map(o => o.tensor) as [T, T, T, T]
    const f = (p: T, q: T, r: T, s: T): T => withGradient({ pair: [p, q], ids: ids.tensor, more: { r, s } }, ({ pair: [p, q], more: { r, s } }) => p.mul(q).add(r).add(s),
      (g, y, { pair: [p] }) => ({ pair: [g.mul(10), g.mul(p)], ids: undefined, more: { r: g.mul(y).mul(0).add(7), s: undefined } }))
    const { value, pull } = vjp(f)(p, q, r, s)
    expect(valueOfTensor(value, ...at, ids)).toEqual([1 * 2 + 3 + 4, 2 * 3 + 4 + 5, 3 * 4 + 5 + 6])
    expect(leafValues(pull(ones(b)), ...at, ids)).toEqual([[10, 10, 10], [1, 2, 3], [7, 7, 7], [0, 0, 0]])
  })
  test('of one tensor, given as itself', () => {
    const at = given([b], [1, 2, 3])
    expect(leafValues(grad((x: T) => scalar(withGradient(x, x => x.exp(), g => g.mul(3)).sum()))(at.tensor), at)).toEqual([[3, 3, 3]])
  })
  test('may be differentiated again, through the inputs and the result', () => {
    const slopes = (x: T): T => withGradient([x], ([x]) => x.exp(), (g, y) => [g.mul(y)])
    const second = ([x]: readonly T[]): AnyTensor => grad((p: { x: T }) => scalar(slopes(p.x).sum()))({ x: x ?? loose(full(0, [])) }).x.square().sum()
    expect(gradientError(second, [random([a, b], 12)], 13)).toBeLessThan(1e-6)
  })
  test('what does not fit is said: form, dims, dtype, integers, no tensor', () => {
    const ids = input('ids', [b], 'i32')
    const wrong = (cotangents: (g: T) => unknown): string => problem(() => grad((x: T) => scalar(withGradient([x, ids], ([x]) => x.exp(), g => cotangents(g) as never).sum()))(x.tensor))
    expect(wrong(g => [g])).toBe('cotangent: withGradient: the cotangent has another form')
    expect(wrong(g => g)).toBe('cotangent: withGradient: the cotangent has another form')
    expect(wrong(g => [loose(g.sum(a)), undefined])).toBe('cotangent: withGradient: the cotangent of "0" has other dims')
    expect(wrong(g => [g.cast('f64'), undefined])).toBe('cotangent: withGradient: the cotangent of "0" has another dtype')
    expect(wrong(g => [g, index(g, a, 0)])).toBe('cotangent: withGradient: the cotangent of "1" is given, and only floats have cotangents')
    expect(problem(() => withGradient([x.tensor], () => 3 as never, () => [undefined]))).toBe('not-a-tensor: withGradient: the function returns no tensor')
  })
  test('of what is chosen leaks nothing', () => {
    const at = given([b], [0, 1, 4])
    const f = (x: T): T => where(x.greater(0), withGradient([x], ([x]) => x.sqrt(), (g, y) => [g.div(y).mul(0.5)]), loose(full(0, x.shape)))
    expect(leafValues(grad((x: T) => scalar(f(x).sum()))(at.tensor), at)[0]?.slice(1)).toEqual([0.5, 0.25])
  })
})
