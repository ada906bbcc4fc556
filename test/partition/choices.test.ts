/** Choices of a predicate that has dims: `where`'s numbers on every mesh, each device computing what its own part asks for, and all alike where a branch waits for others. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { compile, dims, full, input, iota, loose, mesh as meshOf, openBackend, plan, printLocal, scan, vjp, where, type AnyTensor, type Backend, type Tree } from '../../src/engine/index.ts'
import { whereAlone, whereAny } from '../../src/graph/cond.ts'
import type { T } from '../graph/support.ts'

const d = dims({ lane: 4, row: 6, turn: 3 })
const inputs = { x: input('x', [d.lane, d.row]), y: input('y', [d.lane, d.row]) }
const numbers = { x: Float32Array.from({ length: 24 }, (_, i) => i / 7 - 1), y: Float32Array.from({ length: 24 }, (_, i) => 2 - i / 9) }
type Chosen = (p: T, yes: () => { z: T }, no: { z: T }) => { z: T }
/** Some lanes of each turn. */
const program = (choose: Chosen, work: (x: T) => T) => ({ x, y }: typeof inputs) => {
  const step = (x: T, y: T): T => scan(d.turn, { z: x }, { turn: iota(d.turn) }, ({ z }, { turn }) => {
    const p = loose(iota(d.lane)).greaterEqual(loose(turn).add(1))
    return [choose(p, () => ({ z: work(z).mul(y) }), { z }), {}] as const
  })[0].z
  const { value, pull } = vjp((v: { readonly x: T; readonly y: T }) => step(v.x, v.y))({ x, y } as never)
  return { value, ...pull(value.cos())[0] as { readonly x: T; readonly y: T } }
}
const byWhere: Chosen = (p, yes, no) => ({ z: where(p, yes().z, no.z) })
const byChoice: Chosen = (p, yes, no) => whereAny(p, yes, () => no)
const works: { readonly [name: string]: (x: T) => T } = { 'each lane for itself': x => x.exp().sub(1), 'lanes that see each other': x => x.sub(x.mean('lane')) }

let backend: Backend
beforeAll(async () => { backend = await openBackend({ plugin: 'simulate', devices: 4 }) })
afterAll(async () => { await backend.close() })
test.each(Object.entries(works).flatMap(([name, work]) => ([[{}, {}], [{ a: 2 }, { lane: 'a' }], [{ a: 4 }, { lane: 'a' }], [{ a: 2, b: 2 }, { lane: 'a', row: 'b' }]] as const).map(([sizes, layout]) => [name, JSON.stringify(layout), work, sizes, layout] as const)))('%s, %s', async (_, __, work, sizes, layout) => {
  const read = async (choose: Chosen, where: object): Promise<readonly (readonly number[])[]> => {
    const compiled = await compile(program(choose, work) as (x: typeof inputs) => { readonly [name: string]: AnyTensor }, [inputs], { backend, dims: d, ...where } as never)
    return Promise.all(Object.values(await compiled(numbers as never)).map(async x => Array.from(await x.read(), Number)))
  }
  const [plain, found] = [await read(byWhere, { mesh: meshOf({}), layout: {} }), await read(byChoice, { mesh: meshOf(sizes as { a: 2 }), layout })]
  found.forEach((x, i) => { x.forEach((v, k) => { expect(v).toBeCloseTo(plain[i]?.[k] ?? NaN, 5) }) })
})
test('what decides is a device\'s own part, unless a branch holds a collective', () => {
  const text = (work: (x: T) => T): string => printLocal(plan(({ x, y }: typeof inputs) => byChoice(loose(iota(d.lane)).greaterEqual(2), () => ({ z: work(x as T).mul(y) }), { z: x as T }), [inputs], { mesh: meshOf({ a: 2 }), layout: { lane: 'a' }, dims: d }).local)
  expect(text(works['each lane for itself'] as (x: T) => T)).toMatch(/bool\[lane=2\][^]*max over \[lane\][^]*cond/)
  expect(text(works['lanes that see each other'] as (x: T) => T)).toMatch(/max over \[lane\]\(%\d+\) : bool\[scalar\][^]*cond[^]*ALL-REDUCE/)
})

describe('one works alone', () => {
  /** What the lane at 2 makes of its rows, and of what all have. */
  const alone = (choose: typeof whereAlone) => ({ x, y }: typeof inputs): Tree => {
    const here = loose(iota(d.lane)).equal(2)
    const { value, pull } = vjp((v: { readonly x: T; readonly w: T }) => {
      const made = choose(here, () => {
        // A sum with one addend: what is done to it is done to that lane's.
        const own = loose(where(here as never, v.x, 0 as never).sum('lane'))
        const shares = own.exp().div(own.exp().sum('row'))
        return { z: shares.mul(v.w), most: own.max('row'), none: loose(full(3, [])) }
      })
      return made.z.sin().mul(made.most).add(made.none)
    })({ x: loose(x), w: loose(y.sum('lane')) } as never)
    return { value, ...pull(value.cos())[0] as { readonly x: T; readonly w: T } }
  }
  const together = (<R extends Tree>(_: AnyTensor, work: () => R): R => work()) as typeof whereAlone
  test.each([[{}, {}], [{ a: 2 }, { lane: 'a' }], [{ a: 4 }, { lane: 'a' }], [{ a: 2, b: 2 }, { lane: 'a', row: 'b' }], [{ a: 2 }, { row: 'a' }]] as const)('on %j, %j', async (sizes, layout) => {
    const read = async (choose: typeof whereAlone, on: object): Promise<readonly (readonly number[])[]> => {
      const compiled = await compile(alone(choose) as (x: typeof inputs) => { readonly [name: string]: AnyTensor }, [inputs], { backend, dims: d, ...on } as never)
      return Promise.all(Object.values(await compiled(numbers as never)).map(async x => Array.from(await x.read(), Number)))
    }
    const [plain, found] = [await read(together, { mesh: meshOf({}), layout: {} }), await read(whereAlone, { mesh: meshOf(sizes as { a: 2 }), layout })]
    found.forEach((x, i) => { x.forEach((v, k) => { expect(v).toBeCloseTo(plain[i]?.[k] ?? NaN, 5) }) })
  })

  const local = (layout: object): string => printLocal(plan(alone(whereAlone) as (x: typeof inputs) => Tree, [inputs], { mesh: meshOf({ a: 2, b: 2 }), layout: layout as { lane: 'a' }, dims: d }).local)
  test('nobody waits for it, and it keeps for itself what its gradient needs', () => {
    const { collectives } = plan(alone(whereAlone) as (x: typeof inputs) => Tree, [inputs], { mesh: meshOf({ a: 4 }), layout: { lane: 'a' }, dims: d })
    // y's sum over the lanes, what it made, and the gradient of what all have; nothing that it kept.
    expect(collectives.every(c => c.kind === 'all-reduce' && c.elements <= 14)).toBe(true)
  })
  test('all do it together where it lies along the axis of places itself', () => {
    expect(local({ lane: 'a' })).toContain('cond')
    const text = printLocal(plan(({ x, y }: typeof inputs) => whereAlone(loose(iota(d.lane)).equal(2), () => ({ z: loose(y.sum('lane')).exp().dot(loose(x.sum('lane')), 'row') })), [inputs], { mesh: meshOf({ a: 2 }), layout: { row: 'a' }, dims: d }).local)
    expect(text).not.toContain('cond')
  })
})
