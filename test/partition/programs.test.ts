/** Programs drawn at random, laid out at random: whatever the layout, the simulated mesh computes what the reference does. */
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { LayoutError } from '../../src/core/errors.ts'
import { compile, dims, expectDims, full, grad, input, iota, loose, mesh, openBackend, param, scan, type Backend, type Layout, type Tensor, type Tree } from '../../src/engine/index.ts'
import type { Dim } from '../../src/core/dim.ts'
import { typeOf, type Node } from '../../src/graph/node.ts'
import { evaluate } from '../../src/graph/reference/evaluate.ts'
import { valueOf } from '../../src/graph/reference/values.ts'
import { softmax } from '../../src/nn/index.ts'
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
/** Both with the dims of both. */
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

test('values and gradients', async () => {
  let legal = 0
  await fc.assert(fc.asyncProperty(steps, layouts, layouts, layouts, async (program, layout, params, state) => {
    const given = [input('p', [d.a, d.b]), param('q', [d.b, d.c]), param('r', [d.l, d.c, d.e])] as readonly T[]
    const f = (...given: readonly T[]): Tree => {
      const made = build(given, program)
      const loss = (p: readonly T[]) => expectDims(build([given[0] as T, ...p], program).reduce((sum, t) => sum.add(t.tanh().mean()), loose(full(0, []))), [])
      return [...made, ...grad(loss)(given.slice(1)).map(g => loose(g).relayout('params'))]
    }
    const data = given.map((g, i) => drawn(typeOf(g.node), 7 + i))
    const outputs = f(...given) as readonly T[]
    let compiled
    try {
      compiled = await compile(f, given, { mesh: grid, backend, dims: d, layout, params, state })
    } catch (e) {
      if (!(e instanceof LayoutError)) throw e
      // Whatever is refused is refused with the line it stands on.
      expect(e.problem.at).toBeDefined()
      return
    }
    legal++
    const nodes = given.map(g => g.node).filter((n): n is Node<'input'> => n.op === 'input')
    const expected = evaluate({ inputs: nodes, outputs: outputs.map(o => o.node) }, nodes.map((n, i) => valueOf(typeOf(n), data[i] ?? [])))
    const results = await compiled(...data) as readonly { readonly read: () => Promise<ArrayLike<number | bigint>>; readonly dispose: () => void }[]
    for (const [i, r] of results.entries()) {
      expect(relativeError(Array.from(await r.read(), Number), expected[i]?.data ?? [])).toBeLessThan(1e-3)
      r.dispose()
    }
    compiled.dispose()
  }), { numRuns: Number(process.env['RUNS'] ?? 150), seed: Number(process.env['SEED'] ?? 1) })
  console.log(legal)
})
