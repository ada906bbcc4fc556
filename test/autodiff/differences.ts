/** Gradients against central finite differences, both in f64 by the reference evaluator. */
import { isFloat } from '../../src/core/dtype.ts'
import { expectDims, grad, input, loose, type AnyTensor, type GradOptions } from '../../src/engine/index.ts'
import { draw } from '../support/values.ts'
import { valuesOf, type Operand, type T } from '../graph/support.ts'

const step = 1e-5

/** The largest error of the gradient along a few random directions in each operand, relative to the slope there. */
export function gradientError(f: (x: readonly T[]) => AnyTensor, operands: readonly Operand[], seed: number, options: GradOptions = {}): number {
  const y = f(operands.map(o => o.tensor))
  const count = y.shape.reduce((n, d) => n * d.size, 1)
  const weights: Operand = { tensor: input('weights', y.shape) as T, data: Array.from({ length: count }, (_, i) => 2 * draw(seed, i) - 1) }
  const floats = operands.flatMap((o, i) => (isFloat(o.tensor.dtype) ? [i] : []))
  const loss = (x: readonly T[]) => expectDims(loose(f(x)).mul(weights.tensor).sum(), [])
  const gradients = grad((p: readonly T[]) => loss(operands.map((o, i) => p[floats.indexOf(i)] ?? o.tensor)), options)(floats.map(i => operands[i]?.tensor ?? weights.tensor))

  const all = [...operands, weights]
  const found = valuesOf(gradients, all)
  const value = loss(operands.map(o => o.tensor))
  const at = (moved: number, direction: readonly number[], by: number): number =>
    valuesOf([value], all.map((o, i) => (i === moved ? { ...o, data: Array.from(o.data, (v, k) => v + by * (direction[k] ?? 0)) } : o)))[0]?.[0] ?? NaN

  let worst = 0
  floats.forEach((i, k) => {
    for (let round = 0; round < 3; round++) {
      const direction = Array.from(operands[i]?.data ?? [], (_, j) => 2 * draw(seed + 1000 * (round + 1) + i, j) - 1)
      const slope = (at(i, direction, step) - at(i, direction, -step)) / (2 * step)
      const along = direction.reduce((s, d, j) => s + d * (found[k]?.[j] ?? NaN), 0)
      const error = Math.abs(slope - along) / Math.max(Math.abs(slope), Math.abs(along), 1e-2)
      worst = Number.isNaN(error) ? Infinity : Math.max(worst, error)
    }
  })
  return worst
}
