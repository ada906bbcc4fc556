/** `chlo.top_k`: the largest elements along the last dim, and where they were. */
import { integer } from './attributes.ts'
import { elements, type Scalar } from './element.ts'
import { check, only, type Op } from './program.ts'
import { perDevice, type Kernel, type Lowering } from './lowering.ts'
import { sizeOf } from './strided.ts'

const topK = (op: Op): Kernel => {
  const { shape, dtype } = only(op, op.operands).type
  const [k, length] = [integer(op, 'k'), shape.at(-1) ?? 0]
  check(op, op.results.length === 2 && k <= length && only(op, op.results).type.shape.at(-1) === k, 'its results are not the first k of each line')
  const lines = sizeOf(shape.slice(0, -1))
  return ([x]) => {
    const values = elements[dtype].make(lines * k)
    const places = elements.i32.make(lines * k)
    for (let line = 0; line < lines; line++) {
      const at = (i: number): number => Number(x?.[line * length + i] as Scalar)
      // NaN is the largest; equal ones stay in their order.
      const before = (a: number, b: number): number => (Number.isNaN(at(a)) ? (Number.isNaN(at(b)) ? 0 : -1) : Number.isNaN(at(b)) ? 1 : at(b) - at(a) || 0)
      const order = Array.from({ length }, (_, i) => i).sort((a, b) => (at(a) === at(b) ? 0 : before(a, b)))
      for (let j = 0; j < k; j++) {
        values[line * k + j] = x?.[line * length + (order[j] ?? 0)] as never
        places[line * k + j] = (order[j] ?? 0) as never
      }
    }
    return [values, places]
  }
}

export const topKLowerings: readonly [string, Lowering][] = [['chlo.top_k', perDevice(topK)]]
