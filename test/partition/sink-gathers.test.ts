/** Gathers come after what makes them smaller, where fewer bytes cross then, and the numbers are the same. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { collectives, compile, dims, mesh, openBackend, param, plan, slice, type Backend, type MeshArray } from '../../src/engine/index.ts'
import type { T } from '../graph/support.ts'
import { drawn, relativeError } from '../support/values.ts'

const d = dims({ row: 512, column: 96, narrow: 4, wide: 512 })
const x = param('x', [d.row, d.column])
const narrow = param('narrow', [d.column, d.narrow])
const wide = param('wide', [d.column, d.wide])
const grid = mesh({ data: 4 })
const whole = (t: T): T => t.relayout({})
const options = { mesh: grid, layout: {}, params: { row: 'data' } } as const
type F = (x: T, narrow: T, wide: T) => T
const args = [x as T, narrow as T, wide as T] as const

const cases: { readonly [what: string]: { readonly f: F; readonly crosses: readonly string[] } } = {
  'a conversion to fewer bits': { f: a => whole(a).cast('bf16').mul(2), crosses: [`all-gather bf16 ${128 * 96}`] },
  'a slice along another dim': { f: a => slice(whole(a) as typeof x, d.column, { start: 8, end: 24 }) as T, crosses: [`all-gather f32 ${128 * 16}`] },
  'a sum over another dim': { f: a => whole(a).sum('column' as never), crosses: ['all-gather f32 128'] },
  'a sum over the dim itself': { f: a => whole(a).sum('row' as never), crosses: ['all-reduce f32 96'] },
  'a product with something narrow': { f: (a, b) => whole(a).dot(b, 'column' as never), crosses: [`all-gather f32 ${128 * 4}`] },
  'two that together are less': { f: (a, b) => whole(a).dot(b, 'column' as never).sum('narrow' as never).add(whole(a).sum('column' as never)), crosses: ['all-gather f32 256'] },
  'one after another': { f: (a, b) => whole(a).dot(b, 'column' as never).cast('bf16').mul(2), crosses: [`all-gather bf16 ${128 * 4}`] },
}
const staying: { readonly [what: string]: F } = {
  'a product with something wide': (a, _, c) => whole(a).dot(c, 'column' as never),
  'what is read whole, too': a => whole(a).sin().add(whole(a).sum('column' as never)),
  'a conversion to more bits': a => whole(a).cast('f64'),
}

let backend: Backend
beforeAll(async () => { backend = await openBackend({ plugin: 'simulate', devices: 4 }) })
afterAll(async () => { await backend.close() })

describe('a gather sinks below', () => {
  test.each(Object.entries(cases))('%s', async (_, { f, crosses }) => {
    expect(collectives(plan(f, args, options).local).map(c => `${c.kind} ${c.dtype} ${c.elements}`)).toEqual(crosses)
    const [there, alone] = await Promise.all([options, { mesh: mesh({ data: 4 }), layout: {} }].map(async where => {
      using program = await compile(f, args, { ...where, backend })
      const out = await program(drawn(x, 1) as never, drawn(narrow, 2) as never, drawn(wide, 3) as never) as unknown as MeshArray
      const values = await out.read()
      out.dispose()
      return Float64Array.from(values as Float32Array)
    }))
    expect(relativeError(there ?? [], alone ?? [])).toBeLessThan(1e-6)
  })
})
// Devices that multiply with rows of their own each need the whole of what is gathered.
test('a gather stays above a product with what each device has its own part of', () => {
  const lane = dims({ lane: 4 }).lane
  const own = param('own', [d.column, lane])
  const found = collectives(plan((a: typeof x, b: typeof own) => a.dot(b, d.column), [x, own] as const, { mesh: grid, layout: { lane: 'data' }, params: { row: 'data', lane: 'data' } }).local)
  expect(found.filter(c => c.kind === 'all-gather').map(c => c.elements)).toEqual([128 * 96])
})

test.each(Object.entries(staying))('a gather stays above %s', (_, f) => {
  expect(collectives(plan(f, args, options).local).map(c => `${c.kind} ${c.dtype} ${c.elements}`)).toEqual([`all-gather f32 ${128 * 96}`])
})
