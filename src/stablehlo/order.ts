/** Sorting, the largest elements, and cumulative sums and their like. */
import { isFloat } from '../core/dtype.ts'
import { names } from '../core/dim.ts'
import { operand, shapeOf } from '../graph/node.ts'
import { reduceStart } from '../graph/reference/evaluator.ts'
import type { LocalNode } from '../partition/local.ts'
import { combiner, compared, fromKey, keyOf, like, plain } from './extrema.ts'
import { i64s, type Ssa, type Writer } from './writer.ts'

export function emitSort(n: LocalNode<'sort'>, [x, ...others]: readonly Ssa[], w: Writer): Ssa[] {
  if (x === undefined) throw new Error('sort has an operand')
  const { dim, descending } = n.attrs
  const byKey = isFloat(x.dtype) && x.dtype !== 'f64'
  const operands = [byKey ? keyOf(w, x) : x, ...others]
  const bool = { sizes: [], dtype: 'bool' as const }
  const comparator = (): void => {
    const [a, b] = w.block(operands.flatMap(v => [{ sizes: [], dtype: v.dtype }, { sizes: [], dtype: v.dtype }]))
    if (a === undefined || b === undefined) return
    const [before, nan, number] = descending ? ['GT', a, b] : ['LT', b, a]
    const less = compared(w, before, a, b)
    w.return([isFloat(a.dtype) ? w.op('or', [less, w.op('and', [compared(w, 'NE', nan, nan), compared(w, 'EQ', number, number)], bool)], bool) : less])
  }
  const sorted = w.ops('sort', operands, operands.map(v => like(v, v.dtype)), `dimension = ${names(shapeOf(n)).indexOf(dim)} : i64, is_stable = true`, [comparator])
  return sorted.map((v, i) => (byKey && i === 0 ? fromKey(w, v, x.dtype) : v))
}

/** CHLO's op works along the last dim. `madeFirst`: what is transposed for it is made before. */
export function emitTopK(n: LocalNode<'topK'>, [x]: readonly Ssa[], w: Writer, madeFirst: boolean): Ssa[] {
  if (x === undefined) throw new Error('topK has an operand')
  const at = names(shapeOf(operand(n, 0))).indexOf(n.attrs.dim)
  const places = x.sizes.map((_, i) => i)
  const last = [...places.filter(i => i !== at), at]
  const made = isFloat(x.dtype) ? plain(w, x) : x
  // XLA's CPU backend transposes a result it is still making at half the speed of one that is there.
  const moved = at === places.length - 1 ? made : w.transpose(madeFirst ? w.op('optimization_barrier', [made], made) : made, last)
  const sizes = [...moved.sizes.slice(0, -1), n.attrs.to.size]
  const found = w.ops('chlo.top_k', [moved], [{ sizes, dtype: x.dtype }, { sizes, dtype: 'i32' }], `k = ${n.attrs.to.size} : i64, largest = true`, [])
  return found.map(v => w.transpose(v, places.map(i => last.indexOf(i))))
}

/** A window over all that comes before: XLA makes of it sums of blocks, of their sums, and so on. */
export function emitCumulative(n: LocalNode<'cumulative'>, [x]: readonly Ssa[], w: Writer): Ssa {
  if (x === undefined) throw new Error('cumulative has an operand')
  const { dim, kind, reverse } = n.attrs
  const at = names(shapeOf(n)).indexOf(dim)
  const size = x.sizes[at] ?? 1
  const start = w.constant(reduceStart(kind, x.dtype), x.dtype)
  const beside = reverse ? [0, size - 1] : [size - 1, 0]
  const padding = `dense<[${x.sizes.map((_, i) => `[${(i === at ? beside : [0, 0]).join(', ')}]`).join(', ')}]> : tensor<${x.sizes.length}x2xi64>`
  return w.op('reduce_window', [x, start], x, `padding = ${padding}, window_dimensions = ${i64s(x.sizes.map((_, i) => (i === at ? size : 1)))}`,
    combiner(w, kind, x.dtype))
}
