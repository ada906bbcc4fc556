/** What differs from parameter to parameter: decay, rates, optimizers, freezing; averages; and trees of any form. */
import { describe, expect, test } from 'vitest'
import { compile, dims, full, input, leavesOf, mesh, openBackend, param, plan, totals, type Tensor, type Tree } from '../../src/engine/index.ts'
import {
  adafactor, addDecayedWeights, adamw, applyUpdates, averageParameters, averagesIn, byParameter, chain, clipByGlobalNorm, freeze, globalNorm, lamb, lion, muon, scaleByRate, sgd, under, withStateDtype, type Optimizer,
} from '../../src/optim/index.ts'
import { steps, valuesIn } from './support.ts'

const d = dims({ layers: 2, in: 4, out: 6, wide: 2 })
const tree = {
  tokens: param('tokens', [d.out, d.in], { decays: true }),
  blocks: { w: param('w', [d.layers, d.in, d.wide], { decays: true }), bias: param('bias', [d.layers, d.wide]) },
}
const gradient = (_: string, step: number, i: number): number => Math.cos(1 + 0.7 * i + step)
const paths = (x: Tree): string[] => leavesOf(x).map(l => l.path)
const last = (optimizer: Optimizer, params: Tree = tree, count = 3): ReadonlyMap<string, readonly number[]> => steps(optimizer, params, count, gradient).at(-1) ?? new Map<string, readonly number[]>()
const of = (found: ReadonlyMap<string, readonly number[]>, path: string): readonly number[] => found.get(path) ?? []
const near = (x: readonly number[], digits = 12): unknown[] => x.map(n => expect.closeTo(n, digits) as unknown)

describe('decay', () => {
  test('is for what was declared to decay, or what a function says', () => {
    const moved = (weightDecay: Parameters<typeof addDecayedWeights>[0]): readonly number[] => {
      const found = steps(chain(addDecayedWeights(weightDecay), scaleByRate(1)), tree, 1, () => 0)[0] ?? new Map<string, readonly number[]>()
      return ['tokens', 'blocks.w', 'blocks.bias'].map(path => 1 - (of(found, `params.${path}`)[0] ?? 0) / 0.1)
    }
    expect(moved(0.25)).toEqual(near([0.25, 0.25, 0]))
    expect(moved(p => (p.path === 'blocks.bias' ? 0.5 : p.shape.length === 2 ? 0.125 : 0))).toEqual(near([0.125, 0, 0.5]))
  })

  test('joins the update before the one subtraction: with rate · λ of 1e-8 the drift of 1,000 steps is that of f64', async () => {
    // Rounded by itself, 1 − 1e-8 is 1 in f32.
    const optimizer = sgd({ rate: 1e-3, weightDecay: 1e-5 })
    const w = { w: param('w', [d.in], { decays: true }) }
    await using backend = await openBackend({ plugin: 'simulate', devices: 1 })
    using program = await compile((p: typeof w, g: Tensor<'in'>, step: Tensor<never>) => applyUpdates(p, optimizer.update({ w: g }, optimizer.slots(p), p, step).updates), [w, input('g', [d.in]), input('step', [], 'i32')] as const, { mesh: mesh({}), layout: {}, backend })
    let state = await program({ w: Float32Array.of(1, 1, 1, 1) }, Float32Array.of(0, 0, 0, 0), 0)
    let exact = [1, 1, 1, 1]
    const g = (i: number, step: number): number => Math.fround(0.01 * Math.cos(i + step))
    for (let step = 0; step < 1000; step++) {
      state = await program(state, Float32Array.from([0, 1, 2, 3], i => g(i, step)), step)
      exact = exact.map((x, i) => x - 1e-3 * (g(i, step) + 1e-5 * x))
    }
    const found = [...await state.w.read()].map(Number)
    state.w.dispose()
    // The decay moved each by 1e-5; a thousand roundings to f32 move it by far less than each of them could.
    for (const [i, x] of found.entries()) expect(Math.abs(x - (exact[i] ?? 0))).toBeLessThan(4e-6)
  })
})

test('rates are shares of the schedule\'s, decay and all', () => {
  const share = { tokens: 0.5, 'blocks.w': 1, 'blocks.bias': 0 }
  const optimizer = (scaled: boolean): Optimizer => lion({ rate: 0.1, weightDecay: 0.1, ...(scaled ? { rateShare: p => share[p.path as keyof typeof share] } : {}) })
  const [all, some] = [last(optimizer(false), tree, 1), last(optimizer(true), tree, 1)]
  for (const [path, part] of Object.entries(share)) {
    const moved = (found: ReadonlyMap<string, readonly number[]>): readonly number[] => of(found, `params.${path}`).map((x, i) => x - 0.1 * (i + 1))
    expect(moved(some)).toEqual(near(moved(all).map(x => part * x)))
  }
})

describe('freezing', () => {
  const inner = chain(clipByGlobalNorm(0.5), adamw({ rate: 1e-2 }), averageParameters())
  test('leaves no slots, and no bit changed', () => {
    const optimizer = freeze(['blocks'], inner)
    expect(paths(optimizer.slots(tree))).toEqual(['first.tokens', 'second.tokens', 'average.tokens', 'averaged'])
    const found = last(optimizer)
    const first = (size: number): number[] => Array.from({ length: size }, (_, i) => 0.1 * (i + 1))
    expect(of(found, 'params.blocks.w')).toEqual(first(16))
    expect(of(found, 'params.blocks.bias')).toEqual(first(4))
    // What it trains is trained as if there were nothing else, norms included.
    const alone = last(inner, { tokens: tree.tokens })
    for (const [path, x] of alone) expect(of(found, path)).toEqual(x)
  })
  test('by a function, by a path, of everything', () => {
    expect(paths(freeze(p => !p.decays, adamw({ rate: 1 })).slots(tree))).toEqual(['first.tokens', 'first.blocks.w', 'second.tokens', 'second.blocks.w'])
    expect(paths(freeze(['tokens', 'blocks.w'], adamw({ rate: 1 })).slots(tree))).toEqual(['first.blocks.bias', 'second.blocks.bias'])
    const none = freeze(() => true, adamw({ rate: 1 }))
    expect(none.slots(tree)).toEqual({ first: {}, second: {} })
    expect(of(last(none), 'params.tokens')[0]).toBe(0.1)
  })
  test('of halves, too', () => {
    const halves = { w: param('w', [d.in], 'bf16'), v: param('v', [d.in], 'bf16') }
    const optimizer = freeze(['w'], adamw({ rate: 1 }))
    const { updates } = optimizer.update(halves, optimizer.slots(halves), halves, full(0, []))
    expect(leavesOf(applyUpdates(halves, updates)).map(l => l.leaf.dtype)).toEqual(['bf16', 'bf16'])
  })
})

describe('optimizers by parameter', () => {
  const optimizer = byParameter(p => (p.path === 'tokens' ? 'factored' : p.decays ? 'lion' : 'plain'), { factored: adafactor({ atLeast: 1 }), lion: lion({ rate: 0.1 }), plain: sgd({ rate: 1 }) })
  test('each trains its own, as if there were nothing else', () => {
    const found = last(optimizer)
    expect(paths(optimizer.slots(tree))).toEqual(['factored.row.tokens', 'factored.column.tokens', 'lion.momentum.blocks.w'])
    const alone = (of: Optimizer, params: Tree): ReadonlyMap<string, readonly number[]> => last(of, params)
    expect(of(found, 'params.tokens')).toEqual(of(alone(adafactor({ atLeast: 1 }), { tokens: tree.tokens }), 'params.tokens'))
    expect(of(found, 'params.blocks.w')).toEqual(of(alone(lion({ rate: 0.1 }), { w: tree.blocks.w }), 'params.w'))
    expect(of(found, 'params.blocks.bias')).toEqual(of(alone(sgd({ rate: 1 }), { bias: tree.blocks.bias }), 'params.bias'))
  })
  test('metrics show the rate of the first that has one', () => expect(optimizer.rate?.(0)).toBe(0.01))
  test('Muon has the matrices, AdamW the rest', () => {
    const both = muon({ rate: 0.02, matrices: ['blocks.w'], adamw: { rate: 1e-3 } })
    expect(paths(both.slots(tree))).toEqual(['muon.momentum.blocks.w', 'adamw.first.tokens', 'adamw.first.blocks.bias', 'adamw.second.tokens', 'adamw.second.blocks.bias'])
    expect(both.rate?.(0)).toBe(0.02)
  })
})

describe('stacked parameters', () => {
  const stacked = { w: param('w', [d.layers, d.in, d.out]), b: param('b', [d.layers, d.out]), s: param('s', [d.layers]) }
  const single = Object.fromEntries([0, 1].map(l => [`layer${l}`, { w: param('w', [d.in, d.out]), b: param('b', [d.out]), s: param('s', []) }]))
  const sizes = { w: 24, b: 6, s: 1 } as const
  type Name = keyof typeof sizes
  const numberOf = (path: string, i: number): [name: Name, layer: number, i: number] => {
    const [layer, name = layer] = path.split('.') as [string, Name?]
    const size = sizes[name as Name]
    return layer === name ? [name as Name, Math.floor(i / size), i % size] : [name as Name, Number(layer.slice(-1)), i]
  }
  const g = (path: string, step: number, i: number): number => { const [name, layer, at] = numberOf(path, i); return Math.cos(3 * layer + step + 0.6 * at + sizes[name]) }
  const first = (path: string, i: number): number => { const [name, layer, at] = numberOf(path, i); return Math.sin(2 * layer + 0.4 * at + sizes[name]) }
  test.each<[string, Optimizer]>([
    ['adafactor', adafactor({ atLeast: 1 })], ['lamb', lamb({ rate: 0.1 })], ['muon', muon({ rate: 0.1, matrices: p => p.path.endsWith('w'), adamw: { rate: 0.1 } })],
  ])('%s trains as it does single ones', (_, optimizer) => {
    const [together, apart] = [stacked, single].map(params => steps(optimizer, params, 3, g, first).at(-1) ?? new Map<string, readonly number[]>()) as [ReadonlyMap<string, readonly number[]>, ReadonlyMap<string, readonly number[]>]
    for (const name of ['w', 'b', 's'] as const) {
      expect(of(together, `params.${name}`)).toEqual(near([0, 1].flatMap(l => of(apart, `params.layer${l}.${name}`))))
    }
  })
})

describe('averages', () => {
  const optimizer = chain(adamw({ rate: 0.1 }), averageParameters({ decay: 0.9 }))
  test('are found as parameters, those of frozen ones the parameters themselves', () => {
    const frozen = freeze(['tokens'], optimizer)
    const slots = frozen.slots(tree)
    const averages = averagesIn(tree, slots)
    expect(paths(averages)).toEqual(paths(tree))
    const given = new Map([...leavesOf({ params: tree, slots }).map(({ path }, i) => [path, Array.from({ length: 30 }, () => i)] as const)])
    const cut = new Map(leavesOf({ params: tree, slots }).map(({ path, leaf }) => [path, (given.get(path) ?? []).slice(0, leaf.shape.reduce((n, s) => n * s.size, 1))]))
    const found = valuesIn(averages, { params: tree, slots }, cut)
    expect(['tokens', 'blocks.w', 'blocks.bias'].map(path => found.get(path)?.[0])).toEqual([0, cut.get('slots.average.blocks.w')?.[0], cut.get('slots.average.blocks.bias')?.[0]])
  })
  test('count their steps, not the program\'s', () => {
    const found = steps(optimizer, { s: param('s', []) }, 3, () => 1)
    expect(found.map(s => s.get('slots.averaged'))).toEqual([[1], [2], [3]])
  })
  test('of halves are of what the halves are', () => {
    const w = { w: param('w', [d.in], 'bf16') }
    const keeping = withStateDtype(optimizer, 'f32')
    expect(leavesOf(keeping.slots(w)).map(l => l.leaf.dtype)).toEqual(['f32', 'f32', 'f32', 'i32'])
    expect(leavesOf(keeping.init(w)).map(l => l.leaf.dtype)).toEqual(['f32', 'f32', 'f32', 'i32'])
    expect(leavesOf(averagesIn(w, keeping.slots(w))).map(l => l.leaf.dtype)).toEqual(['bf16'])
  })
})

describe('trees of any form', () => {
  test.each<[string, Tree, string[]]>([
    ['one tensor', param('w', [d.in]), ['momentum']],
    ['a list', [param('w', [d.in]), { v: param('v', []) }], ['momentum.0', 'momentum.1.v']],
    ['a key that every object has', { toString: param('w', []), ['__proto__']: param('v', []) }, ['momentum.toString', 'momentum.__proto__']],
    ['names of a slot\'s parts', { shape: param('a', []), dtype: param('b', []), init: param('c', []) }, ['momentum.shape', 'momentum.dtype', 'momentum.init']],
    ['nothing', {}, []],
  ])('%s', (_, params, slots) => {
    const optimizer = sgd({ rate: 0.5, momentum: 0.5 })
    expect(paths(optimizer.slots(params)).sort()).toEqual([...slots].sort())
    expect(paths(optimizer.init(params)).sort()).toEqual([...slots].sort())
    const [, second] = steps(optimizer, params, 2, () => 0.1, () => 1)
    for (const { path } of leavesOf(params)) expect(of(second ?? new Map<string, readonly number[]>(), path === '' ? 'params' : `params.${path}`)[0]).toBeCloseTo(1 - 0.5 * (0.1 + 0.15), 12)
  })
  test('gradients and slots may have their keys and dims in another order', () => {
    const optimizer = adamw({ rate: 0.1 })
    const params = { a: param('a', [d.in, d.out]), b: param('b', []) }
    const { updates, slots } = optimizer.update({ b: input('b', []), a: input('a', [d.out, d.in]) as Tensor<'in' | 'out'> }, { second: optimizer.slots(params).second, first: optimizer.slots(params).first }, params, full(0, []))
    expect(leavesOf({ updates, slots }).map(({ path, leaf }) => `${path} ${leaf.shape.map(s => s.name).join()}`)).toEqual(['updates.a in,out', 'updates.b ', 'slots.first.a in,out', 'slots.first.b ', 'slots.second.a in,out', 'slots.second.b '])
  })
  test('two of a kind under names of their own', () => {
    const optimizer = chain(under('slow', sgd({ rate: 1, momentum: 0.9 })), sgd({ rate: 0.5, momentum: 0.5 }))
    expect(paths(optimizer.slots({ w: tree.tokens }))).toEqual(['slow.momentum.w', 'momentum.w'])
    expect(optimizer.rate?.(7)).toBe(0.5)
    const [one] = steps(optimizer, { w: param('w', []) }, 1, () => 1)
    expect(one?.get('params.w')).toEqual([expect.closeTo(0.1 - 0.5, 12)])
  })
  test('parameters that were computed, with their declarations', () => {
    const optimizer = adamw({ rate: 1, weightDecay: 0.1 })
    const computed = { w: tree.tokens.mul(2) }
    const declared = { w: tree.tokens }
    const update = (declarations?: Tree) => optimizer.update(computed, optimizer.slots(declared), computed, full(0, []), declarations).updates
    expect(() => update()).toThrow('decaysOf: "w" is no parameter')
    expect(paths(update(declared))).toEqual(['w'])
  })
})

test('descriptions are plain data, and tell optimizers apart', () => {
  const all = [
    chain(clipByGlobalNorm(1), adamw({ rate: 1e-3 })), chain(clipByGlobalNorm(2), adamw({ rate: 1e-3 })), adamw({ rate: 1e-3, weightDecay: 0 }), adamw({ rate: 1e-3, weightDecay: () => 0 }),
    freeze(['tokens'], adamw({ rate: 1e-3 })), withStateDtype(adamw({ rate: 1e-3 }), 'bf16'), adafactor(), adafactor({ dims: 'last' }), adafactor({ rate: 1e-2 }), muon({ rate: 1, matrices: ['w'], adamw: { rate: 1 } }), lamb({ rate: 1 }),
  ].map(o => o.description)
  for (const one of all) expect(JSON.parse(JSON.stringify(one))).toEqual(one)
  expect(new Set(all.map(one => JSON.stringify(one))).size).toBe(all.length)
  expect(adamw({ rate: 1e-3 }).description).toEqual({ name: 'adamw', beta1: 0.9, beta2: 0.999, epsilon: 1e-8, rate: 1e-3, weightDecay: 0.01 })
})

test('the norm of clipped gradients crosses the mesh once, whoever asks for it again', () => {
  const optimizer = chain(clipByGlobalNorm(1), sgd({ rate: 1 }))
  const w = { w: param('w', [d.in, d.out]) }
  const step = (metric: boolean) => (p: typeof w, g: Tensor<'in' | 'out'>) => {
    const placed = { w: g.relayout('state') }
    return { params: applyUpdates(p, optimizer.update(placed, optimizer.slots(p), p, full(0, [])).updates), ...(metric ? { norm: globalNorm(placed) } : {}) }
  }
  const count = (metric: boolean) => totals(plan(step(metric), [w, input('g', [d.in, d.out])], { mesh: mesh({ x: 2 }), layout: {}, state: { in: 'x' } }).collectives)
  expect(count(true)).toEqual(count(false))
})
