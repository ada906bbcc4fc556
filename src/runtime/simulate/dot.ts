/** `dot_general`: both sides are brought to rows along the contracted dims, then every row meets every row. */
import { isEight } from '../../core/dtype.ts'
import { integers } from './attributes.ts'
import { elements, settle, type Cells, type Store } from './element.ts'
import { check, only, type Op } from './program.ts'
import { perDeviceLowerings, type Lowering } from './lowering.ts'
import { copier, pick, range, sameList, sizeOf, stridesOf, without } from './strided.ts'

/** `out[b][m][n] = Σ left[b][m][k] · right[b][n][k]` */
interface Sizes { readonly batch: number; readonly rows: number; readonly columns: number; readonly depth: number }
type Multiply = (out: Cells, left: Cells, right: Cells, sizes: Sizes) => void

/** Sums in double; four columns at a time, so that the sums do not wait for one another. */
const floats: Multiply = (out, left, right, { batch, rows, columns, depth }) => {
  let o = 0
  for (let row = 0; row < batch * rows; row++) {
    const a = row * depth
    const first = Math.floor(row / rows) * columns
    let column = 0
    for (; column + 4 <= columns; column += 4) {
      const b = (first + column) * depth
      let [s0, s1, s2, s3] = [0, 0, 0, 0]
      for (let k = 0; k < depth; k++) {
        const x = left[a + k] as number
        s0 += x * (right[b + k] as number)
        s1 += x * (right[b + depth + k] as number)
        s2 += x * (right[b + 2 * depth + k] as number)
        s3 += x * (right[b + 3 * depth + k] as number)
      }
      out[o++] = s0
      out[o++] = s1
      out[o++] = s2
      out[o++] = s3
    }
    for (; column < columns; column++) {
      const b = (first + column) * depth
      let sum = 0
      for (let k = 0; k < depth; k++) sum += (left[a + k] as number) * (right[b + k] as number)
      out[o++] = sum
    }
  }
}

/** Any other arithmetic, given as `add(sum, x, y)`. */
const plain = <T extends number | bigint>(zero: T, add: (sum: T, x: T, y: T) => T): Multiply => (out, left, right, sizes) => {
  const { batch, rows, columns, depth } = sizes
  let o = 0
  for (let row = 0; row < batch * rows; row++) {
    for (let column = 0; column < columns; column++) {
      const b = (Math.floor(row / rows) * columns + column) * depth
      let sum = zero
      for (let k = 0; k < depth; k++) sum = add(sum, left[row * depth + k] as T, right[b + k] as T)
      out[o++] = sum
    }
  }
}

const multiply = {
  float: floats,
  int: plain<number>(0, (sum, x, y) => sum + Math.imul(x, y) | 0),
  big: plain<bigint>(0n, (sum, x, y) => BigInt.asIntN(64, sum + x * y)),
  bool: plain<number>(0, (sum, x, y) => sum | (x & y)),
}

/** One side in the order batch, own, contracted: as it is, if it lies so. */
function arrange(op: Op, side: number, order: readonly number[]): (x: Store) => Store {
  const { shape, dtype } = only(op, op.operands, side).type
  check(op, sameList([...order].sort((a, b) => a - b), range(shape.length)), 'a dim is named twice or not there')
  if (order.every((d, i) => d === i)) return x => x
  const sizes = pick(shape, order)
  const copy = copier(sizes, stridesOf(sizes), pick(stridesOf(shape), order))
  return x => {
    const out = elements[dtype].make(x.length)
    copy(out, 0, x, 0)
    return out
  }
}

function dotGeneral(op: Op): (operands: readonly Store[]) => Store {
  const [left, right] = [only(op, op.operands).type, only(op, op.operands, 1).type]
  const result = only(op, op.results).type
  const dims = (side: string, kind: string): readonly number[] => integers(op, `dot_dimension_numbers.${side}_${kind}_dimensions`, [])
  const [leftBatch, leftOver] = [dims('lhs', 'batching'), dims('lhs', 'contracting')]
  const [rightBatch, rightOver] = [dims('rhs', 'batching'), dims('rhs', 'contracting')]
  check(op, op.attributes.has('dot_dimension_numbers'), 'attribute dot_dimension_numbers is missing')
  check(op, sameList(pick(left.shape, leftBatch), pick(right.shape, rightBatch)), 'the batching dims differ in size')
  check(op, sameList(pick(left.shape, leftOver), pick(right.shape, rightOver)), 'the contracting dims differ in size')
  const leftOwn = without(left.shape.length, [...leftBatch, ...leftOver])
  const rightOwn = without(right.shape.length, [...rightBatch, ...rightOver])
  check(op, left.dtype === right.dtype || (isEight(left.dtype) && isEight(right.dtype)), 'the sides differ in element type')
  check(op, sameList(result.shape, [...pick(left.shape, leftBatch), ...pick(left.shape, leftOwn), ...pick(right.shape, rightOwn)]),
    'the result is not batching dims, dims of the left and dims of the right')
  const arrangeLeft = arrange(op, 0, [...leftBatch, ...leftOwn, ...leftOver])
  const arrangeRight = arrange(op, 1, [...rightBatch, ...rightOwn, ...rightOver])
  const sizes = {
    batch: sizeOf(pick(left.shape, leftBatch)), rows: sizeOf(pick(left.shape, leftOwn)),
    columns: sizeOf(pick(right.shape, rightOwn)), depth: sizeOf(pick(left.shape, leftOver)),
  }
  const { family, make } = elements[result.dtype]
  check(op, family === elements[left.dtype].family, 'the result is of another kind than the sides')
  return ([x, y]) => {
    const out = make(sizeOf(result.shape))
    multiply[family](out, arrangeLeft(x as Store), arrangeRight(y as Store), sizes)
    return settle(out, result.dtype)
  }
}

export const dotLowerings: readonly [string, Lowering][] = perDeviceLowerings({ dot_general: dotGeneral })
