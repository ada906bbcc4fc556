/** Programs drawn at random, laid out at random: whatever the layout, the simulated mesh computes what the reference does. */
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { LayoutError } from '../../src/core/errors.ts'
import { compile, dims, expectDims, full, grad, input, iota, loose, mesh, openBackend, param, scan, type Backend, type Layout, type Layouts, type Scalar, type Tensor, type Tree } from '../../src/engine/index.ts'
import type { Dim } from '../../src/core/dim.ts'
import { typeOf, type Node } from '../../src/graph/node.ts'
import { evaluate } from '../../src/graph/reference/evaluate.ts'
import { valueOf } from '../../src/graph/reference/values.ts'
import { softmax } from '../../src/nn/index.ts'
import { checkAddends } from '../support/addends.ts'
import { drawn, relativeError } from '../support/values.ts'

type T = Tensor<string>
const d = dims({ a: 4, b: 4, c: 4, e: 4, l: 4, rows: 4 })
const all = [d.a, d.b, d.c, d.e, d.l]
const { l } = d
const grid = mesh({ x: 2, y: 2 })

/** One step: numbers that pick operands and dims; each op takes what of them it can use. */
interface Step { readonly op: number; readonly left: number; readonly right: number; readonly dim: number; readonly to: Layout }
/** Where x, y and, now and then, x again lie; a dim that gets both has x as the major one. */
const place = fc.option(fc.constantFrom('a', 'b', 'c', 'e', 'l', 'rows'), { freq: 4 })
const layouts: fc.Arbitrary<Layout> = fc.tuple(place, place, fc.oneof({ weight: 6, arbitrary: fc.constant(null) }, { weight: 1, arbitrary: place }), fc.boolean()).map(([x, y, again, swapped]) => {
  const rules: { [dim: string]: readonly string[] | undefined } = Object.fromEntries(['a', 'b', 'c', 'e', 'l', 'rows'].map(name => [name, undefined]))
  const add = (dim: string | null, axis: string): void => { if (dim !== null && rules[dim]?.includes(axis) !== true) rules[dim] = [...(rules[dim] ?? []), axis] }
  add(x, swapped ? 'y' : 'x')
  add(y, swapped ? 'x' : 'y')
  if (again !== null) add(again, 'x')
  return rules
})
const small = fc.nat(1000)
const steps: fc.Arbitrary<readonly Step[]> = fc.array(fc.record({ op: small, left: small, right: small, dim: small, to: layouts }), { minLength: 3, maxLength: 10 })

const pick = <X>(from: readonly X[], n: number): X => {
  const found = from[n % from.length]
  if (found === undefined) throw new Error('nothing to pick from')
  return found
}
const has = (x: T, dim: Dim): boolean => x.shape.some(e => e.name === dim.name)
/** The rules of `to` for the dims of x, as far as no axis is used twice. */
const fitting = (x: T, to: Layout): Layout => {
  const taken = new Set<string>()
  return Object.fromEntries(x.shape.flatMap(e => {
    const rule = to[e.name]
    const wanted = rule === undefined ? [] : typeof rule === 'string' ? [rule] : rule
    if (wanted.length === 0 || wanted.some(a => taken.has(a))) return []
    for (const a of wanted) taken.add(a)
    return [[e.name, wanted]]
  }))
}
/** Both tensors, broadcast to the dims of both. */
const wide = (x: T, y: T): T => y.shape.every(e => has(x, e)) ? x : x.dot(full(1, y.shape.filter(e => !has(x, e))) as T)

type Op = (x: T, y: T, dim: Dim, s: Step) => T
const over = (x: T, dim: Dim): string => (has(x, dim) ? dim.name : x.shape[0]?.name ?? '')
const ops: readonly Op[] = [
  (x, y) => wide(x, y).add(wide(y, x)),
  (x, y) => wide(x, y).sub(wide(y, x).mul(0.5)),
  (x, y) => wide(x, y).mul(wide(y, x)),
  x => x.tanh(),
  x => x.mul(3).neg(),
  (x, _, dim) => (x.shape.length === 0 ? x : x.sum(over(x, dim))),
  (x, _, dim) => (x.shape.length === 0 ? x : x.max(over(x, dim))),
  (x, _, dim) => (x.shape.length === 0 ? x : loose(softmax(x, over(x, dim)))),
  (x, y, dim) => (has(x, dim) && has(y, dim) ? x.dot(y, dim.name) : x.dot(y)),
  (x, y) => x.dot(y, ...x.shape.filter(e => has(y, e)).slice(0, 2).map(e => e.name)),
  (x, _, dim) => (x.shape.length > 0 && !has(x, dim) ? x.rename(pick(x.shape, dim.size).name, dim.name) : x.neg()),
  (x, _, __, s) => x.relayout(fitting(x, s.to)),
  (x, _, __, s) => x.relayout(pick(['params', 'state', 'compute'] as const, s.dim)),
  x => expectDims(x, [...x.shape].reverse()),
  (x, _, dim) => (has(x, dim) && x.shape.length > 1 ? x.take(dim.name, (loose(iota(pick(x.shape, 0))).mul(3).add(1).rename(pick(x.shape, 0).name, 'rows'))).sum('rows') : x),
  (x, y, dim) => scan(l, has(x, l) ? x.sum('l') : x, has(y, l) ? { y } : { y: y.dot(full(1, [l]) as T) }, (carry: T, { y }) => {
    const z = loose(y)
    const lacks = z.shape.filter(e => !has(carry, e)).map(e => e.name)
    const same = lacks.length === 0 ? z : z.sum(...lacks)
    return [carry.add(dim.name < 'c' ? same.tanh() : same.mul(carry.mul(0.1))), {}]
  })[0],
  (x, y) => scan(l, full(0, x.shape) as T, has(y, l) ? { y } : { y: y.dot(full(1, [l]) as T) }, (sum: T, { y }) => {
    const lacks = loose(y).shape.filter(e => !has(sum, e)).map(e => e.name)
    return [sum.add(lacks.length === 0 ? loose(y) : loose(y).sum(...lacks)), {}]
  })[0],
]

function build(given: readonly T[], program: readonly Step[]): T[] {
  const made = [...given]
  for (const s of program) {
    const next = pick(ops, s.op)(pick(made, s.left), pick(made, s.right), pick(all, s.dim), s)
    if (next.shape.length <= 3) made.push(next)
  }
  return made.slice(given.length)
}

let backend: Backend
beforeAll(async () => { backend = await openBackend({ plugin: 'simulate', devices: 4 }) })
afterAll(async () => { await backend.close() })

interface Readable { readonly read: () => Promise<ArrayLike<number | bigint>>; readonly dispose: () => void }
/** The largest relative error of a program's results on the simulated mesh. */
async function errorOf(f: (...given: readonly T[]) => readonly T[], given: readonly T[], layouts: Layouts): Promise<number> {
  const compiled = await compile(f as (...given: readonly T[]) => Tree, given, { mesh: grid, backend, dims: d, ...layouts })
  checkAddends(compiled.local)
  const data = given.map((g, i) => drawn(typeOf(g.node), 7 + i))
  const nodes = given.map(g => g.node).filter((n): n is Node<'input'> => n.op === 'input')
  const expected = evaluate({ inputs: nodes, outputs: f(...given).map(o => o.node) }, nodes.map((n, i) => valueOf(typeOf(n), data[i] ?? [])))
  const results = await compiled(...data) as readonly Readable[]
  const errors = await Promise.all(results.map(async (r, i) => relativeError(Array.from(await r.read(), Number), expected[i]?.data ?? [])))
  for (const r of results) r.dispose()
  compiled.dispose()
  expect(backend.liveBuffers()).toBe(0)
  return Math.max(...errors)
}

const perTest = Number(process.env['RUNS'] ?? 20)
const firstSeed = Number(process.env['SEED'] ?? 1)
test.each([0, 1, 2, 3])('values and gradients of random programs, %i', async i => {
  let legal = 0
  const given = [input('p', [d.a, d.b]), param('q', [d.b, d.c]), param('r', [d.l, d.c, d.e])] as readonly T[]
  await fc.assert(fc.asyncProperty(steps, layouts, layouts, layouts, async (program, layout, params, state) => {
    const loss = (p: readonly T[]): Scalar => expectDims(build(p, program).reduce((sum, t) => sum.add(t.tanh().mean()), loose(full(0, []))), [])
    const f = (...given: readonly T[]): readonly T[] => {
      const [p, ...weights] = given
      const gradients = grad((w: readonly T[]) => loss(p === undefined ? w : [p, ...w]))(weights)
      return [...build(given, program), ...gradients.map(g => loose(g).relayout('params'))]
    }
    try {
      // f32 loses digits where tanh is flat; what is wrong is wrong by far more.
      expect(await errorOf(f, given, { layout, params, state })).toBeLessThan(1e-3)
      legal++
    } catch (e) {
      if (!(e instanceof LayoutError)) throw e
      // Whatever is refused is refused with the line it stands on.
      expect(e.problem.at).toBeDefined()
    }
  }), { numRuns: perTest, seed: firstSeed + i })
  expect(legal).toBeGreaterThan(perTest / 3)
})

const { a, b, c } = d
const found: { readonly [what: string]: readonly [f: (x: T) => T, layout: Layout] } = {
  'indices beyond a sharding table take its edge, and their gradient flows there': [x => x.take(b, iota(c).mul(3).sub(2)), { b: 'x' }],
  'rows and indices along one axis': [x => x.take(b, iota(c)), { b: 'x', c: 'x' }],
  'two partial sums, one of which moves before they are added': [
    x => scan(l, full(0, [l, a]) as T, { y: x.rename(b, l) }, (sum: T, { y }) => [sum.add(y), {}])[0].mul(x.rename(b, l)), { l: 'x' }],
  'addends scaled and reordered': [x => loose(expectDims(x.dot(x.rename(a, c), b), [c, a]).mul(3).add(full(1, [a]))), { b: 'y' }],
}
test.each(Object.entries(found))('%s', async (_, [f, layout]) => {
  const x = input('x', [a, b]) as T
  const both = (...given: readonly T[]): readonly T[] => [f(given[0] ?? x), ...Object.values(grad((p: { x: T }) => expectDims(f(p.x).square().sum(), []))({ x: given[0] ?? x }))]
  expect(await errorOf(both, [x], { layout })).toBeLessThan(1e-5)
})
