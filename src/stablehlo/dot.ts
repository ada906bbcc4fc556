/**
 * Contractions, canonical before they are written: shared dims first as one, one contracted dim, rows × columns. XLA:CPU
 * inserts transposing copies for anything else. A transpose is written only where an operand's order forces one.
 */
import { names, sizeOf, type Dim } from '../core/dim.ts'
import { dtypeOf, operand, shapeOf } from '../graph/node.ts'
import type { LocalNode } from '../partition/local.ts'
import { sizesOf, type Ssa, type Writer } from './writer.ts'

const sameOrder = (a: readonly Dim[], b: readonly Dim[]): boolean => names(a).join() === names(b).join()

interface Arranged { readonly value: Ssa; readonly contracted: number }

/** The operand as [shared, free, contracted] or [shared, contracted, free], whichever it is already. */
function arrange(w: Writer, v: Ssa, shape: readonly Dim[], shared: readonly Dim[], free: readonly Dim[], over: readonly Dim[], contractedLast: boolean): Arranged {
  const last = [...shared, ...free, ...over]
  const middle = [...shared, ...over, ...free]
  const isLast = sameOrder(shape, last) || (!sameOrder(shape, middle) && contractedLast)
  const wanted = isLast ? last : middle
  const value = w.transpose(v, wanted.map(d => names(shape).indexOf(d.name)))
  const batch = shared.length === 0 ? [] : [sizeOf(shared)]
  const [m, k] = [sizeOf(free), sizeOf(over)]
  return { value: w.reshape(value, [...batch, ...(isLast ? [m, k] : [k, m])]), contracted: batch.length + (isLast ? 1 : 0) }
}

export function emitDot(n: LocalNode<'dot'>, [left, right]: readonly Ssa[], w: Writer): Ssa {
  if (left === undefined || right === undefined) throw new Error('dot has two operands')
  const [a, b] = [shapeOf(operand(n, 0)), shapeOf(operand(n, 1))]
  const out = shapeOf(n)
  const contracted = (d: Dim): boolean => n.attrs.over.includes(d.name)
  const shared = out.filter(d => names(a).includes(d.name) && names(b).includes(d.name))
  const own = (shape: readonly Dim[]): Dim[] => shape.filter(d => !contracted(d) && !shared.some(s => s.name === d.name))
  // Both operands list the contracted dims in the order of the larger one, so that only the smaller one has to be transposed.
  const over = (sizeOf(a) >= sizeOf(b) ? a : b).filter(contracted)
  const l = arrange(w, left, a, shared, own(a), over, true)
  const r = arrange(w, right, b, shared, own(b), over, false)
  const batch = shared.length === 0 ? [] : [0]
  const dims = `lhs_batching_dimensions = [${batch}], rhs_batching_dimensions = [${batch}], lhs_contracting_dimensions = [${l.contracted}], rhs_contracting_dimensions = [${r.contracted}]`
  const sizes = [...batch.map(() => sizeOf(shared)), sizeOf(own(a)), sizeOf(own(b))]
  const product = w.op('dot_general', [l.value, r.value], { sizes, dtype: dtypeOf(n) }, `dot_dimension_numbers = #stablehlo.dot<${dims}>`)
  return w.reshape(product, sizesOf(out))
}
