/** What rests in parts is used where it rests when that moves fewer bytes: the collectives of expert layers and of FSDP, and their numbers. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { accumulate, compile, dims, einsum, input, mapTree, mesh, openBackend, param, plan, scan, totals, valueAndGrad, type Backend, type Dim, type Layouts, type MeshArray, type Mesh, type Scalar, type Tensor } from '../../src/engine/index.ts'
import { drawn, relativeError, seedOf } from '../support/values.ts'

interface Sizes { readonly groups: number; readonly slots: number; readonly experts: number; readonly capacity: number; readonly embed: number; readonly hidden: number }
const few: Sizes = { groups: 8, slots: 8, experts: 8, capacity: 2, embed: 64, hidden: 256 }
/** More tokens than weights. */
const many: Sizes = { ...few, groups: 64, slots: 64, capacity: 64, embed: 16, hidden: 16 }
const tiny: Sizes = { groups: 8, slots: 2, experts: 4, capacity: 1, embed: 16, hidden: 128 }

/** An expert layer as users write it, or with the relayouts that they would write by hand. */
function expertLayer(sizes: Sizes, by: 'the rules' | 'hand', over?: Dim<'layers'>) {
  const { groups, slots, experts, capacity, embed, hidden } = dims({ ...sizes })
  const weight = <const S extends readonly Dim[]>(name: string, shape: S): Tensor<S[number]['name']> =>
    param(name, (over === undefined ? shape : [over, ...shape]) as never) as unknown as Tensor<S[number]['name']>
  const params = { up: weight('up', [experts, embed, hidden]), bias: weight('bias', [experts, hidden]), down: weight('down', [experts, hidden, embed]) }
  const x = input('x', [groups, slots, embed])
  const dispatch = input('dispatch', [groups, slots, experts, capacity])
  const combine = input('combine', [groups, slots, experts, capacity])
  const to = <D extends string>(t: Tensor<D>, layout: object): Tensor<D> => (by === 'hand' ? t.relayout(layout) : t)
  const apply = (w: typeof params, x: Tensor<'groups' | 'slots' | 'embed'>, d: typeof dispatch, c: typeof combine): typeof x => {
    const own = by === 'hand' ? mapTree(w, t => t.relayout('params')) : w
    const routed = to(einsum([d, x], [groups, experts, capacity, embed]), { experts: 'ep' })
    const h = einsum([routed, own.up], [groups, experts, capacity, hidden]).add(own.bias).relu()
    return einsum([c, to(einsum([h, own.down], [groups, experts, capacity, embed]), { groups: 'ep' })], [groups, slots, embed])
  }
  const atRest = (w: typeof params): typeof params => mapTree(w, t => t.relayout('params'))
  const step = (w: typeof params, x: Parameters<typeof apply>[1], d: typeof dispatch, c: typeof combine) => {
    const { value, grads } = valueAndGrad((p: { readonly w: typeof params; readonly x: typeof x }): Scalar => {
      if (over === undefined) return apply(p.w, p.x, d, c).square().mean()
      return scan(over, p.x, p.w, (y, own) => [y.add(apply(own as typeof params, y, d, c)).mul(0.5), {}])[0].square().mean()
    })({ w, x })
    return { value, x: grads.x, w: atRest(grads.w) }
  }
  const inTwo = (w: typeof params, x: Parameters<typeof apply>[1], d: typeof dispatch, c: typeof combine) =>
    atRest(accumulate((w: typeof params, b: { readonly x: typeof x; readonly d: typeof d; readonly c: typeof c }) => valueAndGrad((w: typeof params) => apply(w, b.x, b.d, b.c).square().mean())(w), w, { x, d, c }, 'groups', 2).grads)
  const routed = sizes.groups * sizes.experts * sizes.capacity * sizes.embed
  return { args: [params, x, dispatch, combine] as const, apply, step, inTwo, routed, dims: dims({ ...sizes, layers: 2 }) }
}
const layouts: Layouts = { layout: { groups: 'ep' }, params: { experts: 'ep' } }
const ep = (n: number): Mesh => mesh({ ep: n })
/** `all-to-all of 4096, 2 times`. */
const counted = (p: Pick<ReturnType<typeof plan>, 'collectives'>): string[] => p.collectives.filter(c => c.elements > 1).map(c => `${c.kind} of ${c.elements}${c.count === 1 ? '' : `, ${c.count} times`}`)

describe('an expert layer whose weights rest split over the experts', () => {
  test.each([2, 4, 8])('over %i: two all-to-alls of the routed tokens forward, two backward, as by hand', n => {
    const [rules, hand] = [expertLayer(few, 'the rules'), expertLayer(few, 'hand')]
    const forward = plan(rules.apply, rules.args, { mesh: ep(n), ...layouts })
    const both = plan(rules.step, rules.args, { mesh: ep(n), ...layouts })
    const move = `all-to-all of ${rules.routed / n}`
    expect(counted(forward)).toEqual([move, move])
    expect(counted(both)).toEqual([move, move, move, move])
    expect(totals(forward.collectives)).toEqual(totals(plan(hand.apply, hand.args, { mesh: ep(n), ...layouts }).collectives))
    expect(totals(both.collectives)).toEqual(totals(plan(hand.step, hand.args, { mesh: ep(n), ...layouts }).collectives))
  })
  test('in loops over layers and over microbatches, each turn: no collective of the loop is repeated by its gradient', () => {
    const over = dims({ layers: 2 }).layers
    const { args, step, routed } = expertLayer(few, 'the rules', over)
    const move = `all-to-all of ${routed / 4}, 2 times`
    expect(counted(plan(step, args, { mesh: ep(4), ...layouts }))).toEqual([move, move, move, move])
    const micro = expertLayer(few, 'the rules')
    // The tokens' own gradient is not asked for.
    const half = `all-to-all of ${routed / 8}, 2 times`
    expect(counted(plan(micro.inTwo, micro.args, { mesh: ep(4), ...layouts }))).toEqual([half, half, half])
  })
  test('of more tokens than weights the weights are gathered', () => {
    const { args, apply } = expertLayer(many, 'the rules')
    const { experts, embed, hidden } = many
    // The bias is small, and gathered with one of the others or by itself.
    const found = counted(plan(apply, args, { mesh: ep(4), ...layouts }))
    expect(found.filter(c => c.startsWith('all-gather'))).toEqual(found)
    expect(plan(apply, args, { mesh: ep(4), ...layouts }).collectives.reduce((sum, c) => sum + c.elements, 0)).toBe(experts * (2 * embed * hidden + hidden) / 4)
  })
  test('the choice is between what both ways receive: it turns where they are equal', () => {
    const bytes = (sizes: Sizes): { readonly moves: boolean; readonly tokens: number; readonly weights: number } => {
      const { args, apply, routed } = expertLayer(sizes, 'the rules')
      return { moves: counted(plan(apply, args, { mesh: ep(4), ...layouts })).some(c => c.startsWith('all-to-all')), tokens: 2 * routed / 4, weights: 2 * sizes.experts * sizes.embed * sizes.hidden }
    }
    for (const capacity of [2, 8, 32, 64, 96, 128, 256, 512]) {
      const { moves, tokens, weights } = bytes({ ...few, slots: 4, capacity, hidden: 64 })
      // What is told by a factor of 1.5: the biases, and what a collective costs before its first byte, count too.
      if (tokens * 1.5 < weights) expect([capacity, moves]).toEqual([capacity, true])
      if (tokens > weights * 1.5) expect([capacity, moves]).toEqual([capacity, false])
    }
  })
})

describe('parameters in parts', () => {
  const { batch, seq, embed, hidden, vocab } = dims({ batch: 8, seq: 4, embed: 128, hidden: 512, vocab: 4096 })
  const w = param('w', [embed, hidden])
  const fsdp = (rows: number, mean: (x: Tensor<'batch' | 'embed'>, p: typeof w) => Tensor<'batch' | 'hidden'>): string[] => {
    const x = input('x', [dims({ batch: rows }).batch, embed])
    return counted(plan(mean, [x, w], { mesh: mesh({ data: 4 }), layout: { batch: 'data' }, params: { embed: 'data' } }))
  }
  test('are gathered for many tokens, and met by few', () => {
    const product = (x: Tensor<'batch' | 'embed'>, p: typeof w): Tensor<'batch' | 'hidden'> => x.dot(p, embed)
    expect(fsdp(1024, product)).toEqual([`all-gather of ${128 * 512 / 4}`])
    expect(fsdp(8, product)).toEqual([`all-to-all of ${8 * 128 / 4}`, `reduce-scatter of ${8 * 512}`])
    // What is computed of a weight alone rests as it does.
    expect(fsdp(8, (x, p) => x.dot(p.mul(0.5).tanh(), embed))).toEqual([`all-to-all of ${8 * 128 / 4}`, `reduce-scatter of ${8 * 512}`])
  })
  test('rows are looked up where the table rests, unless it is gathered anyway', () => {
    const table = param('table', [vocab, embed])
    const ids = input('ids', [batch, seq], 'i32')
    const rows: Layouts = { layout: { batch: 'data' }, params: { vocab: 'data' } }
    const looked = plan((t, i) => t.take(vocab, i).sin(), [table, ids] as const, { mesh: mesh({ data: 4 }), ...rows })
    expect(counted(looked)).toEqual([`all-gather of ${8 * 4 / 4}`, `reduce-scatter of ${8 * 4 * 128}`])
    const many = input('ids', [dims({ batch: 4096 }).batch, seq], 'i32')
    expect(counted(plan((t, i) => t.take(vocab, i).sin(), [table, many] as const, { mesh: mesh({ data: 4 }), ...rows }))).toEqual([`all-gather of ${4096 * 128 / 4}`])
  })
  test('results lie by the rules, wherever operands met', () => {
    const p = plan((x: Tensor<'batch' | 'embed'>, v: Tensor<'embed' | 'hidden'>) => x.dot(v, embed), [input('x', [batch, embed]), w], { mesh: mesh({ data: 4 }), layout: { batch: 'data' }, params: { hidden: 'data' } })
    expect(p.local.outputPlacements.map(o => [...o.sharding])).toEqual([[['batch', ['data']]]])
  })
})

describe('numbers', () => {
  let backend: Backend
  beforeAll(async () => { backend = await openBackend({ plugin: 'simulate', devices: 8, cache: false }) })
  afterAll(async () => { await backend.close() })
  const over = dims({ layers: 2 }).layers
  const forms = { 'a layer': expertLayer(tiny, 'the rules'), 'a loop over layers': expertLayer(tiny, 'the rules', over) }
  const run = async (form: keyof typeof forms, sizes: Mesh, where: Layouts): Promise<ArrayLike<number>[]> => {
    const { args, step, dims: d } = forms[form]
    const program = await compile(step, args, { mesh: sizes, backend, dims: d, ...where })
    if (sizes.size > 1) expect(program.collectives.some(c => c.kind === 'all-to-all')).toBe(where.params !== undefined && 'experts' in where.params)
    const [params, ...others] = args
    const data = Object.fromEntries(Object.entries(params).map(([name, t]) => [name, drawn(t, seedOf(name))]))
    const found = await program(data as never, ...others.map((t, i) => drawn(t, i)) as never as [never, never, never])
    const arrays = [found.value, found.x, ...Object.values(found.w)] as MeshArray[]
    const values = await Promise.all(arrays.map(async a => Array.from(await a.read(), Number)))
    for (const a of arrays) a.dispose()
    program.dispose()
    return values
  }
  test.each(Object.keys(forms) as (keyof typeof forms)[])('of %s are the same on every mesh, with weights met or gathered', async form => {
    const expected = await run(form, mesh({}), { layout: {} })
    const meetings: [Mesh, Layouts][] = [
      [ep(2), layouts], [ep(4), layouts],
      [mesh({ ep: 2, model: 2 }), { layout: { groups: 'ep', hidden: 'model' }, params: { experts: 'ep' } }],
      [mesh({ data: 2, ep: 2 }), { layout: { groups: ['data', 'ep'] }, params: { experts: 'ep', embed: 'data' } }],
      [ep(2), { layout: { groups: 'ep' }, params: { hidden: 'ep' } }],
    ]
    for (const [sizes, where] of meetings) {
      for (const [i, values] of (await run(form, sizes, where)).entries()) expect(relativeError(values, expected[i] ?? [])).toBeLessThan(2e-5)
    }
  })
})
