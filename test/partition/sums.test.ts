/** A sum that a loop carries is reduced once, after the loop, wherever it starts; what a turn reads is reduced in the turn. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { compile, dims, full, input, loose, mesh, openBackend, param, plan, scan, type Backend, type MeshArray, type Tensor } from '../../src/engine/index.ts'
import { checkAddends } from '../support/addends.ts'
import { drawn, relativeError } from '../support/values.ts'

type T = Tensor<string>
const { turns, rows, embed, hidden } = dims({ turns: 5, rows: 4, embed: 8, hidden: 6 })
const [x, w, start] = [input('x', [turns, rows, embed]) as T, param('w', [embed, hidden]) as T, input('start', [rows, hidden]) as T]
const layout = { embed: 'model' } as const
const walk = (first: (start: T) => T, turn: (sum: T, y: T) => T, more: (sum: T) => { readonly [name: string]: T } = () => ({})) => (x: T, w: T, start: T) =>
  scan(turns, first(start), { x }, (sum: T, { x }) => [turn(sum, loose(x).dot(w, embed)), more(sum)])
const cases: { readonly [what: string]: readonly [f: ReturnType<typeof walk>, count: number] } = {
  'from zero': [walk(() => full(0, [rows, hidden]) as T, (sum, y) => sum.add(y)), 1],
  'from a value': [walk(s => s, (sum, y) => sum.add(y)), 1],
  'from a value, several times a turn, some of it taken away': [walk(s => s.sin(), (sum, y) => sum.add(y.mul(2)).sub(y.mul(0.5)).add(y)), 1],
  'read by every turn': [walk(s => s, (sum, y) => sum.add(y).tanh()), 5],
  'stacked by every turn': [walk(s => s, (sum, y) => sum.add(y), sum => ({ sum })), 5],
  'taken away from': [walk(s => s, (sum, y) => y.sub(sum)), 5],
}
let backend: Backend
beforeAll(async () => { backend = await openBackend({ plugin: 'simulate', devices: 2 }) })
afterAll(async () => { await backend.close() })

describe.each(Object.entries(cases))('%s', (_, [f, count]) => {
  const given = [x, w, start] as const
  const on = { mesh: mesh({ model: 2 }), layout } as const
  test(`${count} all-reduce${count === 1 ? '' : 's'} in all`, () => {
    const { collectives, local } = plan(f, given, on)
    expect(collectives.map(c => [c.kind, c.count])).toEqual([['all-reduce', count]])
    checkAddends(local)
  })
  test('the numbers of one device', async () => {
    const run = async (where: { readonly mesh: typeof on.mesh; readonly layout: object }): Promise<ArrayLike<number>> => {
      using program = await compile((x: T, w: T, s: T) => f(x, w, s)[0], given, { ...where, backend })
      const result = await program(drawn(x, 1), drawn(w, 2), drawn(start, 3)) as MeshArray
      const values = Array.from(await result.read(), Number)
      result.dispose()
      return values
    }
    expect(relativeError(await run(on), await run({ mesh: mesh({}), layout: {} }))).toBeLessThan(1e-6)
  })
})
