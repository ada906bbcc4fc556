/** Sorting, the largest elements, and cumulative sums and their like. */
import { isFloat } from '../core/dtype.ts'
import { names } from '../core/dim.ts'
import { shapeOf } from '../graph/node.ts'
import { operand } from '../graph/node.ts'
import type { CumulativeKind } from '../graph/ops.ts'
import type { LocalNode } from '../partition/local.ts'
import { i64s, ssaType, type Ssa, type Writer } from './writer.ts'

const compared = (w: Writer, direction: string, a: Ssa, b: Ssa): Ssa =>
  w.op('compare', [a, b], { sizes: a.sizes, dtype: 'bool' }, `comparison_direction = #stablehlo<comparison_direction ${direction}>`)

export function emitSort(n: LocalNode<'sort'>, args: readonly Ssa[], w: Writer): Ssa[] {
  const { dim, descending } = n.attrs
  const scalars = args.flatMap(a => [{ sizes: [], dtype: a.dtype }, { sizes: [], dtype: a.dtype }])
  const bool = { sizes: [], dtype: 'bool' as const }
  const comparator = (): void => {
    const [a, b] = w.block(scalars)
    if (a === undefined || b === undefined) return
    // NaN counts as the largest; without floats nothing is said of it, which XLA sorts faster.
    const [before, nan, number] = descending ? ['GT', a, b] : ['LT', b, a]
    const less = compared(w, before, a, b)
    w.return([isFloat(a.dtype) ? w.op('or', [less, w.op('and', [compared(w, 'NE', nan, nan), compared(w, 'EQ', number, number)], bool)], bool) : less])
  }
  return w.ops('sort', args, n.results.map(ssaType), `dimension = ${names(shapeOf(n)).indexOf(dim)} : i64, is_stable = true`, [comparator])
}

/** CHLO's op works along the last dim. */
export function emitTopK(n: LocalNode<'topK'>, [x]: readonly Ssa[], w: Writer): Ssa[] {
  if (x === undefined) throw new Error('topK has an operand')
  const at = names(shapeOf(operand(n, 0))).indexOf(n.attrs.dim)
  const places = x.sizes.map((_, i) => i)
  const last = [...places.filter(i => i !== at), at]
  const moved = w.transpose(x, last)
  const sizes = [...moved.sizes.slice(0, -1), n.attrs.to.size]
  const found = w.ops('chlo.top_k', [moved], [{ sizes, dtype: x.dtype }, { sizes, dtype: 'i32' }], `k = ${n.attrs.to.size} : i64, largest = true`, [])
  return found.map(v => w.transpose(v, places.map(i => last.indexOf(i))))
}

const combining: { readonly [K in CumulativeKind]: string } = { sum: 'add', prod: 'multiply', max: 'maximum', min: 'minimum' }
const starting = (kind: CumulativeKind, float: boolean): number =>
  kind === 'sum' ? 0 : kind === 'prod' ? 1 : float ? (kind === 'max' ? -Infinity : Infinity) : kind === 'max' ? -(2 ** 31) : 2 ** 31 - 1

/** Doubling reach: after k steps each element holds 2ᵏ of them (Hillis and Steele 1986). */
export function emitCumulative(n: LocalNode<'cumulative'>, [x]: readonly Ssa[], w: Writer): Ssa {
  if (x === undefined) throw new Error('cumulative has an operand')
  const { dim, kind, reverse } = n.attrs
  const at = names(shapeOf(n)).indexOf(dim)
  const size = x.sizes[at] ?? 1
  const start = w.constant(starting(kind, isFloat(x.dtype)), x.dtype)
  let sum = x
  for (let reach = 1; reach < size; reach *= 2) {
    const one = (value: number): string => i64s(x.sizes.map((_, i) => (i === at ? value : 0)))
    const [low, high] = reverse ? [-reach, reach] : [reach, -reach]
    const shifted = w.op('pad', [sum, start], x, `edge_padding_high = ${one(high)}, edge_padding_low = ${one(low)}, interior_padding = ${one(0)}`)
    sum = w.op(combining[kind], [shifted, sum], x)
  }
  return sum
}
