/** Products of large matrices by a kernel of our own for CPUs, of operands as they lie. */
import type { DType } from '../core/dtype.ts'
import { ownCall } from './own-call.ts'
import type { Origin, Place } from './scope.ts'
import type { Ssa, Writer } from './writer.ts'

/** Of a product one operand: its rows of what is contracted or, turned, its columns; and where it is a slice of a stack, which one. */
export interface Factor { readonly value: Ssa; readonly turned: boolean; readonly stack: Required<Origin> | undefined }

const computed: readonly DType[] = ['f32', 'bf16', 'f16']

/** Multiplications of a product below which calling the kernel may cost more than it gains; and of rows, columns and what is contracted, fewer than which leave registers empty. */
const [fewest, narrowest] = [1 << 19, 16]

export const isWorthAKernel = (dtypes: readonly DType[], batch: number, rows: number, columns: number, over: number): boolean =>
  dtypes.every(t => computed.includes(t)) && Math.min(rows, columns, over) >= narrowest && batch * rows * columns * over >= fewest

/** [batch, rows, columns]; or of one the stack that it is written into, whose rows and columns may be several dims each: a reshape before it would have XLA copy the whole of the stack in every turn. */
export function emitProduct(w: Writer, left: Factor, right: Factor, sizes: readonly [number, number, number], dtype: DType, into?: Place): Ssa {
  const operandOf = ({ value, stack }: Factor): Ssa => w.reshape(stack?.of ?? value, [stack?.of.sizes[0] ?? sizes[0], ...value.sizes.slice(-2)])
  const places = [left, right].flatMap(({ stack }) => (stack === undefined ? [] : [stack.index]))
  const said = Object.entries({ left_turned: left.turned, right_turned: right.turned, left_stack: left.stack !== undefined, right_stack: right.stack !== undefined, out_stack: into !== undefined }).flatMap(([name, is]) => (is ? [`${name} = true`] : []))
  const config = said.length === 0 ? undefined : said.join(', ')
  const operands = [operandOf(left), operandOf(right), ...places]
  if (into === undefined) return ownCall(w, 'product', operands, { sizes, dtype }, { config })
  return ownCall(w, 'product', [...operands, into.index, into.stack], into.stack, { config, inPlace: operands.length + 1 })
}
