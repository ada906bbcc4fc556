/** Experts on meshes: their all-to-alls by closed forms, the same numbers everywhere, and what others got wrong with gradients, losses and counts. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { accumulate, compile, input, lossAndGrads, loose, mapTree, mesh, openBackend, plan, remat, type AnyTensor, type Backend, type Layouts, type Mesh, type MeshArray, type Scalar, type Tensor } from '../../../src/engine/index.ts'
import { LayoutError } from '../../../src/core/errors.ts'
import { balanceLoss, moe, zLoss, type Capacity, type MoeOptions } from '../../../src/nn/index.ts'
import { drawn, relativeError, seedOf } from '../../support/values.ts'
import { activation, layerOf, type Layer, type Sizes } from './oracle.ts'

const sizes: Sizes = { batch: 8, seq: 8, embed: 64, experts: 8, expertHidden: 256 }
type Tokens = Tensor<'batch' | 'seq' | 'embed'>
interface How { readonly capacity?: Capacity; readonly padded?: boolean; readonly recompute?: boolean; readonly parts?: number; readonly groups?: number; readonly by?: 'experts' }
const chosen = 2

/** A step on a layer: loss with what balances, gradients of the tokens and of the weights as these rest, and the counts. */
function stepOf({ moeDims, weights: { router, experts }, d }: Layer, { capacity = 'dropless', padded = false, recompute = false, parts = 1, groups = 1, by }: How = {}) {
  const params = { router, experts }
  const one = (p: { readonly w: typeof params }, { x, counts }: { readonly x: Tokens; readonly counts: Tensor<'batch' | 'seq'> }) => {
    const layer = (x: Tokens, w: typeof params) => moe(x, w, moeDims, { router: { chosen, renormalised: true, ...(by === undefined ? {} : { by }) }, capacity, activation, groups, ...(padded ? { counts: loose(counts.cast('bool')) } : {}) } satisfies MoeOptions)
    const { value, usage } = recompute ? remat(layer)(x, p.w) : layer(x, p.w)
    const loss: Scalar = value.square().mean().add(parts === 1 ? balanceLoss(usage).mul(0.1) : usage.grouped.div(usage.tokens).mul(0.1)).add(zLoss(usage).mul(0.01))
    return { loss, updates: { load: usage.load, tokens: usage.tokens } }
  }
  const step = (w: typeof params, x: Tokens, counts: Tensor<'batch' | 'seq'>) => {
    const { value, grads, updates = {} } = parts === 1 ? lossAndGrads((p: { readonly w: typeof params }) => one(p, { x, counts }))({ w })
      : accumulate((p, b) => lossAndGrads((q: { readonly w: typeof params }) => one(q, b))(p), { w }, { x, counts }, 'batch', parts)
    return { value, w: mapTree(grads.w, g => g.relayout('params')), load: loose(updates['load'] as AnyTensor) }
  }
  return { params, step, args: [params, input('x', [d.batch, d.seq, d.embed]), input('counts', [d.batch, d.seq], 'i32')] as const }
}
const layouts: Layouts = { layout: { batch: 'ep' }, params: { experts: 'ep' } }
const ep = (n: number): Mesh => mesh({ ep: n })
const told = (found: Pick<ReturnType<typeof plan>, 'collectives'>, least = 1): string[] => found.collectives.filter(c => c.elements > least).map(c => `${c.kind} along ${c.axes.join(', ')} of ${c.elements}${c.count === 1 ? '' : `, ${c.count} times`}`)

describe('the collectives of a layer with as many places as choices', () => {
  const layer = layerOf(sizes)
  const { moeDims, weights: { router, experts }, x } = layer
  const options: MoeOptions = { router: { chosen, renormalised: true }, capacity: { factor: 1 }, activation }
  const both = (w: { readonly router: typeof router; readonly experts: typeof experts }, x: Tokens) => {
    const { grads } = lossAndGrads((p: { readonly w: typeof w; readonly x: Tokens }) => ({ loss: moe(p.x, p.w, moeDims, options).value.square().mean() }))({ w, x })
    return { x: grads.x, w: mapTree(grads.w, g => g.relayout('params')) }
  }
  const routed = sizes.batch * sizes.seq * chosen * sizes.embed
  const small = sizes.experts * sizes.embed
  test.each([2, 4, 8])('over %i: 4 all-to-alls of k·b·s·h, of which each device receives (e − 1) / e; weights rest', n => {
    const move = `all-to-all along ep of ${routed / n}`
    expect(told(plan((w: Parameters<typeof both>[0], x: Tokens) => moe(x, w, moeDims, options).value, [{ router, experts }, x], { mesh: ep(n), ...layouts }))).toEqual([move, move])
    // Beside them the gradient of the router, which all have.
    expect(told(plan(both, [{ router, experts }, x], { mesh: ep(n), ...layouts }), small)).toEqual([move, move, move, move])
  })
  test('over a product of axes of which attention uses one otherwise: more ways than data parallel has', () => {
    const found = told(plan(both, [{ router, experts }, x], { mesh: mesh({ batch: 2, model: 4 }), layout: { batch: 'batch' }, params: { experts: ['batch', 'model'] } }), small)
    const [move, again] = [`all-to-all along batch, model of ${routed / 8}`, `all-gather along model of ${routed / 8}`]
    // Tokens that several devices have are sent by one of them, and answers are shared among these again.
    expect(found.filter(c => c === move).length).toBe(4)
    expect(found.filter(c => c === again).length + found.filter(c => c === move).length).toBe(found.length)
  })
  test('over an axis on which tokens are whole: each device answers for its experts', () => {
    expect(told(plan(both, [{ router, experts }, x], { mesh: mesh({ batch: 2, model: 4 }), layout: { batch: 'batch' }, params: { experts: 'model' } }), small).filter(c => c.includes('along model'))).toEqual(new Array(2).fill(`all-gather along model of ${routed / 8}`))
  })
  test('with experts split inside, too: one all-reduce of answers a product', () => {
    const found = told(plan((w: Parameters<typeof both>[0], x: Tokens) => moe(x, w, moeDims, options).value, [{ router, experts }, x], { mesh: mesh({ ep: 2, model: 2 }), layout: { batch: 'ep', expertHidden: 'model' }, params: { experts: 'ep' } }))
    expect(found).toEqual([`all-to-all along ep of ${routed / 2}`, `all-reduce along model of ${routed / 2}`, `all-to-all along ep of ${routed / 2}`])
  })
  test('a recipe can say where tokens meet weights, whatever is less', () => {
    const few = layerOf({ ...sizes, seq: 64, expertHidden: 4, embed: 8 })
    const run = (w: { readonly router: typeof few.weights.router; readonly experts: typeof few.weights.experts }, x: Tokens) => moe(x, w, few.moeDims, options).value
    const args = [{ router: few.weights.router, experts: few.weights.experts }, few.x] as const
    expect(told(plan(run, args, { mesh: ep(4), ...layouts })).every(c => c.startsWith('all-gather'))).toBe(true)
    expect(told(plan(run, args, { mesh: ep(4), ...layouts, layouts: { experts: { from: 'compute', batch: undefined, experts: 'ep' } } })).filter(c => c.startsWith('all-to-all')).length).toBe(2)
  })
  test('experts that the axis does not divide are an error that names both', () => {
    expect(() => plan(both, [{ router, experts }, x], { mesh: ep(3), layout: {}, params: { experts: 'ep' } })).toThrow(LayoutError)
    expect(() => plan(both, [{ router, experts }, x], { mesh: ep(3), layout: {}, params: { experts: 'ep' } })).toThrow(/experts.*8|8.*experts/s)
  })
})

describe('numbers', () => {
  let backend: Backend
  beforeAll(async () => { backend = await openBackend({ plugin: 'simulate', devices: 8, cache: false }) })
  afterAll(async () => { await backend.close() })
  /** Each parameter's own numbers. */
  const hostOf = ({ router, experts }: ReturnType<typeof stepOf>['params'], seed = 0) => ({ router: drawn(router, seed + 1), experts: Object.fromEntries(Object.entries(experts).map(([name, t]) => [name, drawn(t as AnyTensor, seed + seedOf(name))])) })
  const layer = layerOf({ batch: 8, seq: 4, embed: 8, experts: 8, expertHidden: 6 })
  const run = async (sizes: Mesh, where: Layouts, how: How): Promise<number[][]> => {
    const { step, args } = stepOf(layer, how)
    const program = await compile(step, args, { mesh: sizes, backend, ...where })
    const [params, x, counts] = args
    const found = await program(hostOf(params) as never, drawn(x, 1) as never, Int32Array.from({ length: counts.shape.reduce((n, e) => n * e.size, 1) }, (_, i) => (i % 4 < 2 + i % 3 ? 1 : 0)) as never)
    const all = [found.value, found.w.router, ...Object.values(found.w.experts), found.load] as unknown as MeshArray[]
    const values = await Promise.all(all.map(async a => Array.from(await a.read(), Number)))
    for (const a of all) a.dispose()
    program.dispose()
    expect(values.length).toBe(6)
    return values
  }
  const ways: readonly (readonly [string, Mesh, Layouts])[] = [
    ['2 ways', ep(2), layouts], ['4 ways', ep(4), layouts], ['8 ways', ep(8), layouts],
    ['more ways than data parallel', mesh({ batch: 2, model: 4 }), { layout: { batch: 'batch' }, params: { experts: ['batch', 'model'] } }],
    ['data, experts and tensor', mesh({ data: 2, ep: 2, model: 2 }), { layout: { batch: ['data', 'ep'], expertHidden: 'model' }, params: { experts: 'ep' } }],
    ['FSDP beside', mesh({ data: 2, ep: 2 }), { layout: { batch: ['data', 'ep'] }, params: { experts: 'ep', embed: 'data' } }],
  ]
  const hows: readonly (readonly [string, How])[] = [
    ['without drops', {}], ['with padding', { padded: true }], ['with places', { capacity: { slots: 2 } }], ['with places and padding', { capacity: { factor: 1.25 }, padded: true }],
    ['chosen by experts', { capacity: { factor: 1 }, by: 'experts' }],
  ]
  test.each(hows)('%s: loss, balance, counts and every gradient are the same on every mesh', async (_, how) => {
    const expected = await run(mesh({}), { layout: {} }, how)
    const few = how.padded === true || how.by !== undefined || how.capacity !== undefined
    for (const [name, sizes, where] of few ? ways.slice(3, 5) : ways) for (const [i, values] of (await run(sizes, where, how)).entries()) expect(relativeError(values, expected[i] ?? []), `${name}, result ${i}`).toBeLessThan(2e-5)
  })
  test('tokens × experts of a token are counted once a step: with recompute, and in microbatches whose groups are the whole batch\'s', async () => {
    const whole = await run(mesh({}), { layout: {} }, { padded: true, recompute: true })
    const total = (found: readonly number[][] | undefined): number => (found?.at(-1) ?? []).reduce((a, b) => a + b, 0)
    const tokens = Array.from({ length: 32 }, (_, i) => i % 4 < 2 + i % 3).filter(Boolean).length
    expect(total(whole)).toBe(tokens * chosen)
    expect(await run(ep(4), layouts, { padded: true, recompute: true })).toHaveLength(6)
    // Of microbatches it is their mean.
    const [two, four] = [await run(ep(2), layouts, { padded: true, parts: 2 }), await run(ep(2), layouts, { padded: true, parts: 4 })]
    expect([total(two) * 2, total(four) * 4]).toEqual([tokens * chosen, tokens * chosen])
  })
  test('an expert without tokens has a gradient of zero', async () => {
    const biased = layerOf({ batch: 2, seq: 2, embed: 4, experts: 4, expertHidden: 2 })
    const { step, args } = stepOf(biased)
    const program = await compile(step, args, { mesh: ep(2), backend, ...layouts })
    const [params, , counts] = args
    // All tokens are alike, so two experts have none.
    const { w: grads, load, value } = await program(hostOf(params) as never, Float32Array.from({ length: 16 }, (_, i) => (i % 4) / 4 + 0.25) as never, drawn(counts, 0) as never)
    const used = Array.from(await load.read(), Number)
    expect([...used].sort()).toEqual([0, 0, 4, 4])
    const up = Array.from(await grads.experts.up.read(), Number)
    used.forEach((n, e) => { expect(up.slice(e * 8, e * 8 + 8).every(g => g === 0)).toBe(n === 0) })
    for (const a of [value, load, grads.router, ...Object.values(grads.experts)]) (a as MeshArray).dispose()
    program.dispose()
  })
})
