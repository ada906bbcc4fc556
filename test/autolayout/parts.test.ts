/** The parts of the search: sets of dims, factorings, and what a solver that tries everything finds. */
import { expect, test } from 'vitest'
import { factorings, orders } from '../../src/autolayout/factors.ts'
import type { Layouts } from '../../src/core/layout.ts'
import { mesh } from '../../src/core/mesh.ts'
import { distinct } from '../../src/autolayout/distinct.ts'
import { maximalSets } from '../../src/autolayout/roles.ts'

test('maximal sets are those that trying all subsets finds', () => {
  const dims = ['a', 'b', 'c', 'd', 'e', 'f']
  let seed = 3
  const random = (): number => { seed = (seed * 1103515245 + 12345) % 2147483648; return seed / 2147483648 }
  for (let round = 0; round < 40; round++) {
    const meet = new Map(dims.map(d => [d, new Set<string>()]))
    for (const [i, d] of dims.entries()) for (const e of dims.slice(i + 1)) if (random() < 0.4) { meet.get(d)?.add(e); meet.get(e)?.add(d) }
    const subsets = Array.from({ length: 2 ** dims.length }, (_, bits) => dims.filter((_d, i) => (bits >> i) % 2 === 1))
    const free = subsets.filter(s => s.every(d => s.every(e => meet.get(d)?.has(e) !== true)))
    const maximal = free.filter(s => s.length > 0 && !free.some(t => t.length > s.length && s.every(d => t.includes(d))))
    expect(maximalSets(dims, meet).map(s => s.join()).sort()).toEqual(maximal.map(s => s.join()).sort())
  }
})

test('factorings are all products', () => {
  expect(factorings(8, 3)).toEqual([[8], [4, 2], [2, 2, 2]])
  expect(factorings(12, 2)).toEqual([[12], [6, 2], [4, 3]])
  expect(factorings(1, 3)).toEqual([[]])
  expect(factorings(7, 3)).toEqual([[7]])
  expect(factorings(1024, 3)).toHaveLength(1 + 5 + 8)
  expect(orders(['a', 'b', 'c'])).toHaveLength(6)
})

test('of layouts that take the same, one whose rules another one has, and more that do nothing, is left out', () => {
  const its = (layout: { readonly [dim: string]: string | readonly string[] }, ms = 1, variant = 'first') => ({ variant, mesh: mesh({ x: 4, y: 2 }), layouts: { layout } as Layouts, cost: { ms, flops: 8 }, bytes: 16 })
  const [plain, more, twice, other, slower, elsewhere] = [its({ batch: 'x' }), its({ batch: 'x', heads: 'x' }), its({ batch: ['x', 'y'] }), its({ heads: 'y' }), its({ batch: 'x', heads: 'y' }, 2), its({ batch: 'x', heads: 'x' }, 1, 'second')]
  // Beside another policy of what is computed again, of which there is nothing.
  const again = its({ heads: 'y' }, 1, 'second')
  expect(distinct([more, plain, twice, other, slower, elsewhere, again])).toEqual([plain, other, slower, elsewhere])
})
