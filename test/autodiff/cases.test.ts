/** The gradient of every case of the table against finite differences. */
import { describe, expect, test } from 'vitest'
import { dim } from '../../src/core/dim.ts'
import { grad, input, loose } from '../../src/engine/index.ts'
import { cases, type Case } from '../cases/index.ts'
import { leafValues, type Operand, type T } from '../graph/support.ts'
import { drawnOperand } from '../support/operand.ts'
import { seedOf } from '../support/values.ts'
import { gradientError } from './differences.ts'

function operandsOf(c: Case, seed: number): { readonly dims: { readonly [name: string]: ReturnType<typeof dim> }; readonly operands: Operand[] } {
  const dims = Object.fromEntries(Object.entries(c.dims).map(([name, size]) => [name, dim(name, size)]))
  const operands = c.in.map((text, i): Operand => {
    const { tensor, data } = drawnOperand(text, dims, `x${i}`, seed + i)
    return { tensor, data: Array.from(data, Number) }
  })
  return { dims, operands }
}

const differentiable = cases.filter(c => c.noGradient !== true)

describe('finite differences', () => {
  test('most cases have a gradient', () => {
    expect(differentiable.length).toBeGreaterThan(process.env['MESHWORK_CASES'] === undefined ? 40 : 0)
  })

  // What `stopGradient` gives is by design no derivative: the last test here has it.
  // Of numbers of 10⁷ a difference has too few digits left: extrema.test.ts says what these gradients are.
  test.each(differentiable.filter(c => c.name !== 'stopGradient' && !c.name.endsWith(' of neighbours')).map(c => [c.name, c] as const))('%s', (_, c) => {
    for (const seed of [1, 2]) {
      const { dims, operands } = operandsOf(c, seedOf(c.name) + 1000 * seed)
      expect(gradientError(x => c.f(x, dims), operands, seed)).toBeLessThan(1e-6)
    }
  })

  test('stopGradient: as if what it holds were constant', () => {
    const x: Operand = { tensor: input('x', [dim('a', 3)]) as T, data: [1, 2, 3] }
    const g = grad((p: { x: T }) => loose(p.x.mul(p.x.stopGradient()).sum()) as never)({ x: x.tensor })
    expect(leafValues(g, x)).toEqual([[1, 2, 3]])
  })
})
