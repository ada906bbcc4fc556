/** What is kept for the gradient and what is computed again: the same numbers, less memory. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { DimError } from '../../src/core/errors.ts'
import { compile, cond, dims, expectDims, grad, input, loose, mesh, named, openBackend, param, plan, remat, scan, valueAndGrad, type AnyTensor, type Backend, type Remat, type Scalar } from '../../src/engine/index.ts'
import { emit } from '../../src/stablehlo/emit.ts'
import { bodiesOf, reachable, type NodeOf } from '../../src/graph/node.ts'
import { given, leafValues, type Operand, type T } from '../graph/support.ts'
import { draw } from '../support/values.ts'
import { gradientError } from './differences.ts'

const { l, batch, embed, hidden } = dims({ l: 3, batch: 2, embed: 4, hidden: 3 })
type Shape = Parameters<typeof given>[0]
const random = (shape: Shape, seed: number): Operand => given(shape, Array.from({ length: shape.reduce((n, e) => n * e.size, 1) }, (_, i) => 1.6 * draw(seed, i) - 0.8))
const scalar = (x: AnyTensor): Scalar => expectDims(x, [])
const count = <A>(roots: readonly NodeOf<A>[], op: string): number =>
  reachable(roots).reduce((n, m) => n + Number(m.op === op) + bodiesOf(m).reduce((k, b) => k + count<A>(b.outputs, op), 0), 0)

const policies: readonly Remat[] = ['everything', 'nothing', 'all-but-contractions', { keep: ['hidden'] }, { offload: ['hidden'] }]
const layer = (x: T, up: T, down: T): T => x.add(named(x.dot(up, embed).tanh(), 'hidden').exp().dot(down, hidden))
const operands = [random([batch, embed], 1), random([embed, hidden], 2), random([hidden, embed], 3)]

describe('as a function', () => {
  const twice = (policy: Remat) => ([x, up, down]: readonly T[]): T => {
    if (x === undefined || up === undefined || down === undefined) throw new Error('three operands')
    const f = remat((x: T, w: { up: T }) => layer(x, w.up, down), policy)
    return f(f(x, { up }).sin(), { up })
  }
  test.each(policies)('gradients are right, whatever is kept: %j', policy => {
    expect(gradientError(twice(policy), operands, 5)).toBeLessThan(1e-6)
  })
  test('numbers are the same to the last bit', () => {
    const all = policies.map(p => leafValues(grad((x: readonly T[]) => scalar(loose(twice(p)(x)).sum()))(operands.map(o => o.tensor)), ...operands))
    for (const one of all) expect(one).toEqual(all[0])
  })
  test('a gradient of a gradient goes through', () => {
    const slope = (x: readonly T[]): AnyTensor => grad((p: { x: T }) => scalar(twice('everything')([p.x, ...x.slice(1)]).square().sum()))({ x: x[0] ?? operands[0]?.tensor as T }).x
    expect(gradientError(slope, operands, 6)).toBeLessThan(1e-5)
  })
  test('in loops, in choices and around them', () => {
    const stacked = random([l, embed, hidden], 7)
    const f = ([x, up, down]: readonly T[]): T => {
      if (x === undefined || up === undefined || down === undefined) throw new Error('three operands')
      const block = remat((x: T, w: T) => layer(x, w, down))
      const loop = (x: T): T => scan(l, x, up, (c: T, w: T) => [block(c, w), {}])[0]
      return cond(scalar(loose(x.square().sum()).less(1e3)), () => remat(loop)(x), () => x)
    }
    expect(gradientError(f, [operands[0], stacked, operands[2]].flatMap(o => o ?? []), 8)).toBeLessThan(1e-6)
  })

  const planned = (policy: Remat) => plan((x: T, up: T, down: T) => valueAndGrad((p: readonly T[]) => scalar(loose(twice(policy)([x, ...p])).sum()))([up, down]), [input('x', [batch, embed]) as T, param('up', [embed, hidden]) as T, param('down', [hidden, embed]) as T],
    { mesh: mesh({ m: 2 }), layout: { embed: 'm' } })
  test('what is not kept is there twice, behind a barrier of several operands', () => {
    const exps = policies.map(p => count(planned(p).graph.outputs, 'unary'))
    const [everything = 0, nothing = 0, contractions = 0, byName = 0] = exps
    expect(nothing).toBeLessThan(byName)
    expect(byName).toBeLessThan(everything)
    expect(contractions).toBeGreaterThan(nothing)
    const barriers = reachable(planned('everything').local.outputs).filter(n => n.op === 'barrier')
    expect(barriers.length).toBe(2)
    for (const b of barriers) expect(b.inputs.length).toBeGreaterThan(1)
    expect(planned('everything').text).toContain('stablehlo.optimization_barrier')
  })
  test('only a policy that recomputes contractions repeats their collectives', () => {
    const sums = policies.map(p => planned(p).collectives.reduce((n, c) => n + c.count * c.bytes, 0))
    expect(sums[2]).toBe(sums[1])
    expect(sums[0]).toBeGreaterThan(sums[1] ?? NaN)
  })
})

describe('by name in loops', () => {
  const stacked = [random([batch, embed], 1), random([l, embed, hidden], 2), random([l, hidden, embed], 3)]
  const f = ([x, up, down]: readonly T[]): T => scan(l, x as T, { up: up as T, down: down as T }, (c: T, w) => [layer(c, w.up, w.down), {}])[0]
  test.each(policies)('%j', policy => { expect(gradientError(f, stacked, 5, { remat: policy })).toBeLessThan(1e-6) })
})

describe('of halves', () => {
  test('a product with a weight is stacked as it was narrowed, in half of the memory', () => {
    const args = [input('x', [batch, embed], 'bf16') as T, param('up', [l, embed, hidden]) as T, param('down', [l, hidden, embed]) as T] as const
    const wide = (c: T, w: { readonly up: T; readonly down: T }): T => layer(c, w.up.cast('bf16'), w.down.cast('bf16'))
    const loss = (p: readonly T[], x: T): Scalar => scalar(loose(scan(l, x, { up: p[0] as T, down: p[1] as T }, (c: T, w) => [wide(c, w), {}])[0]).cast('f32').sum())
    const { local } = plan((x: T, up: T, down: T) => valueAndGrad((p: readonly T[]) => loss(p, x))([up, down]), args, { mesh: mesh({ m: 1 }), layout: {} })
    const [forward] = reachable(local.outputs).flatMap(n => (n.op === 'scan' ? [n.attrs] : []))
    const stacked = forward?.body.outputs.slice(forward.carries).map(o => o.results[0]?.dtype) ?? []
    expect(stacked.length).toBeGreaterThan(0)
    expect(new Set(stacked)).toEqual(new Set(['bf16']))
  })
})

describe('what is offloaded', () => {
  const steps = (): ReturnType<typeof plan> => {
    const args = [input('x', [batch, embed]) as T, param('up', [l, embed, hidden]) as T, param('down', [l, hidden, embed]) as T] as const
    const loss = (p: readonly T[], x: T): Scalar => scalar(loose(scan(l, x, { up: p[0] as T, down: p[1] as T }, (c: T, w) => [layer(c, w.up, w.down), {}])[0]).sum())
    return plan((x: T, up: T, down: T) => valueAndGrad((p: readonly T[]) => loss(p, x), { remat: { offload: ['hidden'] } })([up, down]), args, { mesh: mesh({ m: 1 }), layout: {}, lowering: { platform: 'cuda', contractions: 'f32' } })
  }
  test('goes to the host in the loop that makes it, and comes back in the one that uses it', () => {
    const { local, text } = steps()
    const loops = reachable(local.outputs).flatMap(n => (n.op === 'scan' ? [n.attrs.body] : []))
    const moves = loops.map(body => reachable(body.outputs).flatMap(n => (n.op === 'stored' ? [n.attrs.in] : [])))
    expect(moves).toEqual([['host'], ['device']])
    // What goes is what is stacked, and what comes was cut out of a stack.
    const [forward, backward] = loops
    expect(forward?.outputs.filter(o => o.op === 'stored')).toHaveLength(1)
    expect(reachable(backward?.outputs ?? []).find(n => n.op === 'stored')?.inputs[0]?.op).toBe('input')
    const calls = text.split('\n').filter(line => line.includes('annotate_device_placement')).map(line => /_xla_buffer_placement = "(\w+)"/.exec(line)?.[1])
    expect(calls).toEqual(['pinned_host', 'device'])
  })
  test('stays where it is on a CPU, whose devices have the host\'s memory', () => {
    const { local } = steps()
    expect(emit(local)).not.toContain('annotate_device_placement')
  })
  test('is refused on a platform that gives programs no memory of the host', async () => {
    await using backend = await openBackend({ plugin: 'simulate', devices: 1 })
    const there = Object.assign(Object.create(backend) as Backend, { lowering: { platform: 'metal', contractions: 'f32' } })
    const run = remat((x: T) => named(x.exp(), 'hidden').sin(), { offload: ['hidden'] })
    await expect(compile((x: T) => grad((p: { x: T }) => scalar(loose(run(p.x)).sum()))({ x }), [input('x', [embed]) as T], { mesh: mesh({ m: 1 }), layout: {}, backend: there })).rejects.toMatchObject({ code: 'no-host-memory', exitCode: 2 })
  })
})

describe('errors', () => {
  const codeOf = (policy: Remat): string => {
    try { grad((p: { x: T }) => scalar(named(p.x, 'scores').sum()), { remat: policy })({ x: input('x', [embed]) as T }) } catch (e) { if (e instanceof DimError) return `${e.code}: ${e.problem.what} (${e.problem.fix})` }
    return 'none'
  }
  test('a name that no tensor has, and a policy that is none', () => {
    expect(codeOf({ keep: ['scores'] })).toBe('none')
    expect(codeOf({ keep: ['score'] })).toMatch(/^unknown-name: remat: no tensor is named "score" \(.*"scores"/)
    expect(codeOf({ offload: ['scores'] })).toBe('none')
    expect(codeOf({ offload: ['score'] })).toMatch(/^unknown-name: remat: no tensor is named "score" \(.*"scores"/)
    expect(codeOf({ throw: ['scores'] } as unknown as Remat)).toMatch(/^option: remat: there is no policy .*\{ offload: \[names\] \}/)
  })
})

describe('memory of the compiled program', () => {
  let backend: Backend
  beforeAll(async () => { backend = await openBackend({ plugin: 'cpu', devices: 1, cache: false }) })
  afterAll(async () => { await backend.close() })

  test('falls when blocks are computed again', async () => {
    const { rows, wide } = dims({ rows: 256, wide: 512 })
    const x = input('x', [rows, wide]) as T
    const block = (x: T): T => Array.from({ length: 4 }).reduce<T>(y => y.mul(y).sin().add(x.exp()).tanh().sub(y.cos()), x)
    const temporary = async (policy: Remat): Promise<number> => {
      const f = remat(block, policy)
      const program = await compile((x: T) => valueAndGrad((p: { x: T }) => scalar([1, 2, 3, 4].reduce<T>((y, k) => f(y.mul(k)), p.x).sum()))({ x }), [x], { mesh: mesh({ m: 1 }), layout: {}, backend })
      program.dispose()
      return program.memory?.temporaries ?? NaN
    }
    expect(await temporary('everything')).toBeLessThan(0.7 * await temporary('nothing'))
  })
})
