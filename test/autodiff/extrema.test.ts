/** Who the extremum is: its gradient in exact numbers, next to others in the last digits of f32, where several tie, and where some are NaN. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { compile, cummax, cummin, dim, full, grad, input, mesh, openBackend, scatter, sort, topK, type Backend, type Layout, type Scalar, type Tensor } from '../../src/engine/index.ts'
import { maxPool, minPool } from '../../src/nn/index.ts'

const n = dim('n', 4)
type X = Tensor<'n'>
const near = [10_000_000, 10_000_003, 9_999_999, 9_999_998]
const index = (i: number) => full(i, [dim('i', 1)], 'i32')
const all = (x: Tensor<'n'>): Scalar => x.sum()

/** What it is called, of which numbers, and the gradient there. */
const cases: readonly (readonly [name: string, f: (x: X) => Scalar, x: readonly number[], gradient: readonly number[]])[] = [
  ['max', x => x.max(), near, [0, 1, 0, 0]],
  ['max of what is computed', x => x.mul(3).add(1).max(), near, [0, 3, 0, 0]],
  ['min', x => x.min(), near, [0, 0, 0, 1]],
  ['max of equals', x => x.max(), [2, 1, 2, 2], [1 / 3, 0, 1 / 3, 1 / 3]],
  ['max with NaN', x => x.max(), [1, NaN, 3, NaN], [0, 0.5, 0, 0.5]],
  ['max of −∞', x => x.max(), [-Infinity, -Infinity, -Infinity, -Infinity], [0.25, 0.25, 0.25, 0.25]],
  ['maxPool', x => maxPool(x, [{ dim: n, size: 4 }]).sum(), near, [0, 1, 0, 0]],
  ['maxPool of equals', x => maxPool(x, [{ dim: n, size: 2 }]).sum(), [2, 2, 1, 2], [1, 0, 0, 1]],
  ['maxPool with NaN', x => maxPool(x, [{ dim: n, size: 2 }]).sum(), [1, NaN, NaN, NaN], [0, 1, 1, 0]],
  ['minPool that overlaps', x => all(minPool(x, [{ dim: n, size: 3, stride: 1, padding: 1 }])), near, [1, 0, 1, 2]],
  ['cummax', x => all(cummax(x, n)), near, [1, 3, 0, 0]],
  ['cummin in reverse', x => all(cummin(x, n, { reverse: true })), near, [0, 0, 0, 4]],
  ['cummax of equals', x => all(cummax(x, n)), [2, 2, 3, 3], [2, 0, 2, 0]],
  ['cummax with NaN', x => all(cummax(x, n)), [1, 2, NaN, 3], [1, 1, 2, 0]],
  ['a maximum scattered below', x => all(scatter(x, n, index(1), full(10_000_002, [dim('i', 1)]), 'max')), near, [1, 1, 1, 1]],
  ['a maximum scattered above', x => all(scatter(x, n, index(1), full(10_000_004, [dim('i', 1)]), 'max')), near, [1, 0, 1, 1]],
  ['a minimum scattered level', x => all(scatter(x, n, index(1), full(10_000_003, [dim('i', 1)]), 'min')), near, [1, 0.5, 1, 1]],
  ['topK', x => topK(x, n, dim('k', 2)).values.sum(), near, [1, 1, 0, 0]],
  ['sort', x => sort(x, n).mul(full(1, [n])).take(n, full(3, [], 'i32')), near, [0, 1, 0, 0]],
]

describe.each(['simulate', 'cpu'])('%s', plugin => {
  let backend: Backend
  beforeAll(async () => { backend = await openBackend({ plugin, devices: 2 }) })
  afterAll(async () => { await backend.close() })

  test.each([[{}, {}], [{ m: 2 }, { n: 'm' }]] as readonly (readonly [Readonly<Record<string, number>>, Layout])[])('%j %j', async (sizes, layout) => {
    const inputs = cases.map((_, i) => input(`x${i}`, [n]))
    const program = await compile((xs: typeof inputs) => xs.map((x, i) => grad(cases[i]?.[1] ?? all)(x)), [inputs] as const, { mesh: mesh(sizes), layout, backend, dims: { n } })
    const found = await program(cases.map(([, , x]) => Float32Array.from(x)))
    for (const [i, [name, , , gradient]] of cases.entries()) {
      expect([name, ...await found[i]?.read() ?? []]).toEqual([name, ...Float32Array.from(gradient)])
      found[i]?.dispose()
    }
  })
})
