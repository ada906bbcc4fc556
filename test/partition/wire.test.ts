/** Numbers that cross an axis in fewer bits where a user says so: half the bytes or a quarter, an error that is measured, and nothing of it unless said. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { compile, dims, grad, input, mesh, openBackend, param, plan, type Backend, type Layouts, type MeshArray } from '../../src/engine/index.ts'
import { drawn, relativeError } from '../support/values.ts'

const d = dims({ batch: 256, embed: 66, hidden: 96 })
const params = { w: param('w', [d.embed, d.hidden]) }
const x = input('x', [d.batch, d.embed])
const step = (p: typeof params, given: typeof x): typeof params => ({ w: grad((q: typeof params) => given.dot(q.w, d.embed).tanh().square().sum())(p).w.relayout('state') })
const forms: { readonly [form: string]: Layouts } = {
  'an all-reduce': { layout: { batch: 'data' } }, 'a reduce-scatter': { layout: { batch: 'data' }, state: { hidden: 'data' } }, 'a gather and a reduce-scatter': { layout: { batch: 'data' }, params: { hidden: 'data' } },
}
const grid = mesh({ data: 4 })

let backend: Backend
beforeAll(async () => { backend = await openBackend({ plugin: 'simulate', devices: 4 }) })
afterAll(async () => { await backend.close() })

describe.each(Object.entries(forms))('%s', (_, layouts) => {
  const bytes = (wire: { readonly data?: 'bf16' | 'int8' } | undefined): number => plan(step, [params, x] as const, { mesh: grid, ...layouts, ...(wire === undefined ? {} : { wire }) })
    .collectives.reduce((sum, c) => sum + c.bytes * (c.kind === 'all-gather' ? 3 : c.kind === 'all-reduce' ? 1.5 : 0.75), 0)
  test('moves half the bytes, and all of them unless it is said', () => {
    expect(bytes({})).toBe(bytes(undefined))
    expect(bytes({ data: 'bf16' })).toBe(bytes({}) / 2)
  })
  test('in eight bits a quarter and the scales, in blocks that are filled up', () => {
    expect(bytes({ data: 'int8' }) / bytes({})).toBeGreaterThan(0.25)
    expect(bytes({ data: 'int8' }) / bytes({})).toBeLessThan(0.3)
  })
  // Roundings to 8 bits are off by 2⁻⁹ at most, 2⁻¹⁰ at the middle; measured here: 0.0023 of the all-reduce, 0.0015 of the reduce-scatter, 0.0062 of FSDP's two ways.
  // Of whole numbers up to 127 a rounding is a 254th of the largest of a block at most: 0.008 of a number as large as most.
  test.each([['bf16', 2 ** -11, 2 ** -7], ['int8', 2 ** -9, 2 ** -5]] as const)('in %s it is off by a rounding of each addend, of the sum, and of the weights that are gathered', async (carrier, least, most) => {
    const results = await Promise.all([{}, { data: carrier }].map(async wire => {
      const program = await compile(step, [params, x] as const, { mesh: grid, backend, ...layouts, wire })
      const { w } = await program({ w: drawn(params.w, 1) }, drawn(x, 2))
      const pieces = await Promise.all([...w.pieces.values()].map(p => p.read()))
      const values = await (w as MeshArray).read()
      w.dispose()
      program.dispose()
      return { values, alike: w.sharding.size > 0 || pieces.every(p => Buffer.compare(Buffer.from(p.buffer), Buffer.from((pieces[0] ?? p).buffer)) === 0) }
    }))
    const error = relativeError(results[1]?.values ?? [], results[0]?.values ?? [])
    expect(error).toBeGreaterThan(least)
    expect(error).toBeLessThan(most)
    expect(results.map(r => r.alike)).toEqual([true, true])
  })
})

test('what is small, what is not along the axis, and what is no sum of floats crosses as it is', () => {
  const kinds = (wire: object, f: (p: typeof params, given: typeof x) => object): string[] => plan(f as typeof step, [params, x] as const, { mesh: mesh({ data: 2, model: 2 }), layout: { batch: 'data', hidden: 'model' }, wire }).collectives.map(c => `${c.kind} ${c.axes.join()} ${c.bytes / c.elements}`)
  const layer = (p: typeof params, given: typeof x): object => ({ loss: given.dot(p.w, d.embed).square().mean(), most: given.dot(p.w, d.embed).max(d.batch), back: given.dot(p.w, d.embed).tanh().dot(p.w, d.hidden) })
  for (const carrier of ['bf16', 'int8']) {
    expect(kinds({ data: carrier }, layer)).toEqual(kinds({}, layer))
    expect(kinds({ model: carrier }, layer)).not.toEqual(kinds({}, layer))
  }
})

test('what cannot be is refused, with the place', () => {
  const planned = (wire: object): unknown => plan(step, [params, x] as const, { mesh: grid, layout: {}, wire })
  expect(() => planned({ dat: 'bf16' })).toThrow('LayoutError[unknown-axis] the mesh has no axis "dat"\n  wire  dat: "bf16"\n  fix   did you mean "data"? there are: data')
  expect(() => planned({ data: 'f8' })).toThrow('LayoutError[wire] numbers cannot cross axis "data" in "f8"\n  fix  give bf16 or int8, or leave the axis out: they cross it as they are')
})
