/** `reduce` along dims, and `sort` along one. */
import { integer, integers } from './attributes.ts'
import { elements, settle, type Cells, type Scalar, type Store } from './element.ts'
import { check, only, type Op } from './program.ts'
import { fold, together } from './region.ts'
import { perDevice, type Kernel, type Lowering } from './lowering.ts'
import type { ScalarFunction } from './scalar.ts'
import { offsets, pick, sameList, sizeOf, stridesOf, walk, without } from './strided.ts'

const reduce = (op: Op): Kernel => {
  const count = op.results.length
  check(op, op.operands.length === 2 * count && only(op, op.regions).parameters.length === 2 * count,
    'operands, initial values, results and the body do not agree in number')
  const { shape } = only(op, op.operands).type
  const over = integers(op, 'dimensions')
  const kept = without(shape.length, over)
  check(op, over.every(d => d < shape.length) && op.operands.slice(0, count).every(({ type }) => sameList(type.shape, shape))
    && op.results.every(({ type }) => sameList(type.shape, pick(shape, kept))), 'the result is not the operand without the reduced dims')
  const own = stridesOf(shape)
  const starts = offsets(pick(shape, kept), pick(own, kept))
  const { tables: [table = new Int32Array(0)], count: run, steps: [step = 0] } = walk(pick(shape, over), [pick(own, over)])
  const fresh = (): Store[] => op.results.map(({ type }) => elements[type.dtype].make(starts.length))
  if (count === 1) {
    const { dtype } = only(op, op.results).type
    const f = fold(op)
    return ([x, first]) => {
      const [out] = fresh() as [Store]
      reduceOne(f, out, x as Store, (first as Store)[0] as Scalar, { starts, table, run, step })
      return [settle(out, dtype)]
    }
  }
  const f = together(op)
  return operands => {
    const [inputs, outs] = [operands.slice(0, count), fresh()]
    const first = operands.slice(count).map(s => s[0] as Scalar)
    starts.forEach((start, o) => {
      let sums = first
      for (const offset of table) {
        for (let i = 0; i < run; i++) sums = f(...sums, ...inputs.map(x => x[start + offset + i * step] as Scalar))
      }
      outs.forEach((out, r) => { out[o] = sums[r] as Scalar })
    })
    return outs
  }
}

interface Plan { readonly starts: Int32Array; readonly table: Int32Array; readonly run: number; readonly step: number }

/** Sums are kept in double until they are whole. */
function reduceOne(f: ScalarFunction, out: Cells, x: Cells, first: Scalar, { starts, table, run, step }: Plan): void {
  for (let o = 0; o < starts.length; o++) {
    let sum = first
    for (let t = 0; t < table.length; t++) {
      let at = (starts[o] as number) + (table[t] as number)
      for (let i = 0; i < run; i++, at += step) sum = f(sum, x[at] as Scalar, 0)
    }
    out[o] = sum
  }
}

/** Always stable, which nothing forbids. */
const sort = (op: Op): Kernel => {
  const { shape } = only(op, op.operands).type
  const dimension = integer(op, 'dimension', -1)
  const along = dimension < 0 ? dimension + shape.length : dimension
  const length = shape[along]
  check(op, length !== undefined && op.operands.every(({ type }) => sameList(type.shape, shape)),
    'the operands differ in shape, or have no such dim')
  check(op, only(op, op.regions).parameters.length === 2 * op.operands.length, 'the comparator must take two elements of each operand')
  const less = together(op)
  const own = stridesOf(shape)
  const lines = offsets(shape.map((n, d) => (d === along ? 1 : n)), own)
  const step = own[along] as number
  return operands => {
    const outs = operands.map((_, i) => elements[only(op, op.operands, i).type.dtype].make(sizeOf(shape)))
    const before = (a: number, b: number): boolean => less(...operands.flatMap(x => [x[a] as Scalar, x[b] as Scalar]))[0] === 1
    for (const line of lines) {
      const places = Array.from({ length }, (_, i) => line + i * step).sort((a, b) => (before(a, b) ? -1 : before(b, a) ? 1 : 0))
      outs.forEach((out, r) => { places.forEach((place, i) => { out[line + i * step] = operands[r]?.[place] as Scalar }) })
    }
    return outs
  }
}

export const reduceLowerings: readonly [string, Lowering][] = [['reduce', perDevice(reduce)], ['sort', perDevice(sort)]]
