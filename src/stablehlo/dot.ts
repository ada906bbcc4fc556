/**
 * Contractions. For CPUs canonical before they are written: shared dims first as one, one contracted dim, rows × columns. XLA:CPU
 * inserts transposing copies for anything else. A transpose is written only where an operand's order forces one. For other platforms over dims as they lie.
 */
import { names, sizeOf, type Dim } from '../core/dim.ts'
import { isEight, isHalf, type DType } from '../core/dtype.ts'
import { dtypeOf, operand, shapeOf } from '../graph/node.ts'
import type { LocalNode } from '../partition/local.ts'
import { emitFewBits } from './few-bits.ts'
import { ownCall } from './own-call.ts'
import { dotPrecision } from './precision.ts'
import { emitProduct, isWorthAKernel, type Factor } from './product.ts'
import { asStored, type Place, type Scope } from './scope.ts'
import { sizesOf, type Ssa, type Writer } from './writer.ts'

const sameOrder = (a: readonly Dim[], b: readonly Dim[]): boolean => names(a).join() === names(b).join()

/** The operand as it is multiplied, which of its dims is contracted, and whether nothing was moved for it. */
interface Arranged { readonly value: Ssa; readonly contracted: number; readonly lies: boolean }

/** The operand as [shared, free, contracted] or [shared, contracted, free], whichever it is already. */
function arrange(w: Writer, v: Ssa, shape: readonly Dim[], shared: readonly Dim[], free: readonly Dim[], over: readonly Dim[], contractedLast: boolean): Arranged {
  const last = [...shared, ...free, ...over]
  const middle = [...shared, ...over, ...free]
  const isLast = sameOrder(shape, last) || (!sameOrder(shape, middle) && contractedLast)
  const wanted = isLast ? last : middle
  const value = w.transpose(v, wanted.map(d => names(shape).indexOf(d.name)))
  const batch = shared.length === 0 ? [] : [sizeOf(shared)]
  const [m, k] = [sizeOf(free), sizeOf(over)]
  return { value: w.reshape(value, [...batch, ...(isLast ? [m, k] : [k, m])]), contracted: batch.length + (isLast ? 1 : 0), lies: sameOrder(shape, wanted) }
}

const kernelDTypes: readonly DType[] = ['f32', 'bf16', 'f16']

/**
 * A product by our own kernel: rows × columns of f32, what is contracted last on the left, on the right as it lies. A right operand of fewer bits is given as it
 * was, as numbers and scales or as halves, and one of a loop's stack as the stack and its place, so that none is copied. Undefined where the kernel computes no such product.
 */
export function emitKernelDot(n: LocalNode<'dot'>, [left, right]: readonly Ssa[], w: Writer, { origins, ssaOf }: Scope): Ssa | undefined {
  if (origins === undefined || left === undefined || right === undefined || dtypeOf(n) !== 'f32' || left.dtype !== 'f32' || right.dtype !== 'f32') return undefined
  const [a, b, out] = [shapeOf(operand(n, 0)), shapeOf(operand(n, 1)), shapeOf(n)]
  const contracted = (d: Dim): boolean => n.attrs.over.includes(d.name)
  const shared = out.filter(d => names(a).includes(d.name) && names(b).includes(d.name))
  const own = (shape: readonly Dim[]): Dim[] => shape.filter(d => !contracted(d) && !shared.some(s => s.name === d.name))
  const over = b.filter(contracted)
  if (over.length === 0) return undefined
  const lastOf = [...shared, ...own(a), ...over]
  const x = w.reshape(w.transpose(left, lastOf.map(d => names(a).indexOf(d.name))), [sizeOf(shared), sizeOf(own(a)), sizeOf(over)])
  const few = shared.length > 0 || ssaOf === undefined ? undefined : emitFewBits(w, x, operand(n, 1), own(b), over, ssaOf, origins)
  if (few !== undefined) return w.reshape(few, sizesOf(out))
  const [columns, rows] = [[...shared, ...own(b), ...over], [...shared, ...over, ...own(b)]]
  const byRows = !sameOrder(b, columns) && sameOrder(b, rows)
  const order = byRows ? rows : columns
  const inner = byRows ? [sizeOf(over), sizeOf(own(b))] : [sizeOf(own(b)), sizeOf(over)]
  const lies = sameOrder(b, order)
  // What lies otherwise is turned over, and so is what it was made of.
  const turned = (v: Ssa): Ssa => (lies ? v : w.transpose(v, order.map(d => names(b).indexOf(d.name))))
  const converted = origins.get(right.name)
  const narrow = converted !== undefined && converted.index === undefined && kernelDTypes.includes(converted.of.dtype) ? converted.of : right
  const sliced = origins.get(narrow.name)
  const stack = lies && shared.length === 0 && sliced?.index !== undefined ? sliced : undefined
  const operands = stack === undefined ? [x, w.reshape(turned(narrow), [sizeOf(shared), ...inner])] : [x, w.reshape(stack.of, [stack.of.sizes[0] ?? 1, ...inner]), ...(stack.index === undefined ? [] : [stack.index])]
  const sizes = [sizeOf(shared), sizeOf(own(a)), sizeOf(own(b))]
  return w.reshape(ownCall(w, byRows ? 'dot_rows' : 'dot_columns', operands, { sizes, dtype: 'f32' }), sizesOf(out))
}

/** Over dims as they lie: what is shared first, then the left operand's own, then the right one's, as a node's dims are. @param as whose value it is */
function emitPlainDot(n: LocalNode<'dot'>, left: Ssa, right: Ssa, w: Writer, scope: Scope, as: LocalNode = n): Ssa {
  const [a, b] = [names(shapeOf(operand(n, 0))), names(shapeOf(operand(n, 1)))]
  const { over } = n.attrs
  const shared = names(shapeOf(n)).filter(d => a.includes(d) && b.includes(d))
  const at = (shape: readonly string[], dims: readonly string[]): string => `[${dims.map(d => shape.indexOf(d)).join(', ')}]`
  const dims = `lhs_batching_dimensions = ${at(a, shared)}, rhs_batching_dimensions = ${at(b, shared)}, lhs_contracting_dimensions = ${at(a, over)}, rhs_contracting_dimensions = ${at(b, over)}`
  const begun = w.length
  const product = w.op('dot_general', [left, right], { sizes: sizesOf(shapeOf(n)), dtype: dtypeOf(as) }, `dot_dimension_numbers = #stablehlo.dot<${dims}>${dotPrecision(left, right, scope)}`)
  const ended = w.length
  let gone = false
  if (as === n && scope.readOnce?.(n) === true) scope.products.set(product.name, { drop: () => { gone = true; w.drop(begun, ended) }, isGone: () => gone })
  return product
}

/** Floats of 8 bits as f32, where the platform multiplies no such: the same products. */
const wide = (w: Writer, v: Ssa, { choices }: Scope): Ssa => (choices.eights === 'widened' && isEight(v.dtype) ? w.op('convert', [v], { sizes: v.sizes, dtype: 'f32' }) : v)

/** A product's dims: what both operands have, each one's own, and what is contracted, in the order in which operands have them. */
function dimsOf(n: LocalNode<'dot'>): { readonly shared: readonly Dim[]; readonly rows: readonly Dim[]; readonly columns: readonly Dim[]; readonly over: readonly Dim[] } {
  const [a, b, out] = [shapeOf(operand(n, 0)), shapeOf(operand(n, 1)), shapeOf(n)]
  const contracted = (d: Dim): boolean => n.attrs.over.includes(d.name)
  const shared = out.filter(d => names(a).includes(d.name) && names(b).includes(d.name))
  const own = (shape: readonly Dim[]): Dim[] => shape.filter(d => !contracted(d) && !shared.some(s => s.name === d.name))
  // Both operands list the contracted dims in the order of the larger one, so that only the smaller one has to be transposed.
  return { shared, rows: own(a), columns: own(b), over: (sizeOf(a) >= sizeOf(b) ? a : b).filter(contracted) }
}

/** The product by our kernel for large ones: rows × columns or, where `turned`, columns × rows. Undefined where it is none for that kernel, and where all products are serving's. @param as whose value it is */
function emitLargeDot(n: LocalNode<'dot'>, [left, right]: readonly [Ssa, Ssa], w: Writer, { kernels, origins, slices, products, readOnce, ssaOf }: Scope, turned: boolean, as: LocalNode): Ssa | undefined {
  const { shared, rows, columns, over } = dimsOf(n)
  if (!kernels || origins !== undefined || !isWorthAKernel([left.dtype, right.dtype, dtypeOf(as)], sizeOf(shared), sizeOf(rows), sizeOf(columns), sizeOf(over))) return undefined
  const factor = (given: Ssa, node: LocalNode, own: readonly Dim[], first: boolean): Factor => {
    const { value, of } = asStored(node, given, ssaOf)
    // What has to be moved anyway keeps its rows.
    const { value: arranged, contracted, lies } = arrange(w, value, shapeOf(of), shared, own, over, over.some(d => d.name === shapeOf(of).at(-1)?.name))
    const last = contracted === arranged.sizes.length - 1
    return { value: arranged, turned: first ? !last : last, stack: lies && shared.length === 0 ? slices?.get(value.name) : undefined }
  }
  const begun = w.length
  const factors = [[left, operand(n, 0), rows], [right, operand(n, 1), columns]] as const
  const [first, second] = turned ? [factors[1], factors[0]] : factors
  const call = [w, factor(...first, true), factor(...second, false), [sizeOf(shared), sizeOf(first[2]), sizeOf(second[2])], dtypeOf(as)] as const
  const arranged = w.length
  const product = w.reshape(emitProduct(...call), sizesOf([...shared, ...first[2], ...second[2]]))
  if (readOnce?.(as) !== true) return product
  const ended = w.length
  let gone = false
  const into = (place: Place): Ssa => {
    // Of the same operands, as they have been arranged.
    gone = true
    w.drop(arranged, ended)
    w.at(as.site)
    return emitProduct(...call, place)
  }
  const drop = (): void => {
    gone = true
    w.drop(begun, ended)
  }
  products.set(product.name, { drop, isGone: () => gone, ...(shared.length === 0 ? { into } : {}) })
  return product
}

/** What a product contracts at most whose sums our kernel makes in one part. */
const onePart = 256
/**
 * A product that is only wanted as halves, which who multiplies rounds as it writes them: accelerators one of such halves; our kernel, if it would not keep the sums in memory until they are whole (a loop rounds
 * these as well). Undefined elsewhere.
 */
export function emitRounded(n: LocalNode<'convert'>, w: Writer, scope: Scope): Ssa | undefined {
  const of = operand(n, 0)
  if (of.op !== 'dot' || dtypeOf(of) !== 'f32' || !isHalf(n.attrs.dtype) || scope.readOnce?.(of) !== true) return undefined
  const [left, right, product] = [...of.inputs, of].map(i => scope.ssaOf?.(i))
  if (left === undefined || right === undefined) return undefined
  const plain = scope.choices.products === 'as they lie'
  if (plain ? left.dtype !== n.attrs.dtype || right.dtype !== n.attrs.dtype : sizeOf(dimsOf(of).over) > onePart) return undefined
  const rounded = plain ? emitPlainDot(of, left, right, w, scope, n) : emitLargeDot(of, [left, right], w, scope, false, n)
  if (rounded !== undefined && product !== undefined) scope.products.get(product.name)?.drop()
  return rounded
}

export function emitDot(n: LocalNode<'dot'>, operands: readonly Ssa[], w: Writer, scope: Scope): Ssa {
  const [left, right] = operands.map(v => wide(w, v, scope))
  if (left === undefined || right === undefined) throw new Error('dot has two operands')
  if (scope.choices.products === 'as they lie') return emitPlainDot(n, left, right, w, scope)
  const large = emitLargeDot(n, [left, right], w, scope, false, n)
  if (large !== undefined) return large
  const { shared, over, ...own } = dimsOf(n)
  const out = shapeOf(n)
  const l = arrange(w, left, shapeOf(operand(n, 0)), shared, own.rows, over, true)
  const r = arrange(w, right, shapeOf(operand(n, 1)), shared, own.columns, over, false)
  const [rows, columns] = [sizeOf(own.rows), sizeOf(own.columns)]
  if (shared.length === 0 && l.contracted === 0 && r.contracted === 0 && dtypeOf(n) === 'f32' && scope.choices.turnsProducts) {
    const turned = smallerFirst(w, r.value, l.value, rows, columns, dtypeOf(n))
    if (turned !== undefined) return w.reshape(turned, sizesOf(out))
  }
  const batch = shared.length === 0 ? [] : [0]
  const dims = `lhs_batching_dimensions = [${batch}], rhs_batching_dimensions = [${batch}], lhs_contracting_dimensions = [${l.contracted}], rhs_contracting_dimensions = [${r.contracted}]`
  const sizes = [...batch.map(() => sizeOf(shared)), rows, columns]
  const product = w.op('dot_general', [l.value, r.value], { sizes, dtype: dtypeOf(n) }, `dot_dimension_numbers = #stablehlo.dot<${dims}>`)
  return w.reshape(product, sizesOf(out))
}

/** Rows up to which turning a product over costs less than it gains; and how many times as many columns there must be. */
const [fewRows, timesAsMany] = [256, 4]
/** [k, few]ᵀ · [k, many], as a weight's gradient is where `few` numbers go in and `many` come out; or the same with the factors exchanged. */
const isTall = (few: number, many: number): boolean => few <= fewRows && many >= timesAsMany * few

/**
 * A product [few, many] turned over to [many, few]. XLA would exchange the factors instead, and pack the large one against its order, which takes up to as long as the product itself:
 * it leaves a transpose over three dims alone.
 */
function turnedOver(w: Writer, product: Ssa, few: number, many: number): Ssa | undefined {
  const part = [64, 32, 16, 8, 4, 2].find(c => many % c === 0 && c < many)
  return part === undefined ? undefined : w.reshape(w.transpose(w.reshape(product, [few, many / part, part]), [1, 2, 0]), [many, few])
}

/** [k, many]ᵀ · [k, few] with the small factor first. */
function smallerFirst(w: Writer, few: Ssa, many: Ssa, m: number, n: number, dtype: DType): Ssa | undefined {
  if (!isTall(n, m)) return undefined
  return turnedOver(w, w.op('dot_general', [few, many], { sizes: [n, m], dtype }, 'dot_dimension_numbers = #stablehlo.dot<lhs_contracting_dimensions = [0], rhs_contracting_dimensions = [0]>'), n, m)
}

/** A product that is only wanted with its dims in another order; undefined where XLA may do as it likes. */
export function emitReordered(n: LocalNode, value: Ssa, to: readonly string[], w: Writer, scope: Scope): Ssa | undefined {
  const of = operand(n, 0)
  if (of.op !== 'dot' || !scope.choices.turnsProducts) return undefined
  const { shared, rows, columns } = dimsOf(of)
  if (shared.length > 0 || names([...columns, ...rows]).join() !== to.join()) return undefined
  const [left, right] = of.inputs.map(i => scope.ssaOf?.(i))
  const exchanged = left === undefined || right === undefined || scope.readOnce?.(of) !== true ? undefined : emitLargeDot(of, [left, right], w, scope, true, n)
  if (exchanged !== undefined) {
    scope.products.get(value.name)?.drop()
    return exchanged
  }
  const [few, many] = [sizeOf(rows), sizeOf(columns)]
  const first = (shape: readonly Dim[]): boolean => shape.slice(0, of.attrs.over.length).every(d => of.attrs.over.includes(d.name))
  if (value.dtype !== 'f32' || !first(shapeOf(operand(of, 0))) || !first(shapeOf(operand(of, 1))) || !isTall(few, many)) return undefined
  const turned = turnedOver(w, w.reshape(value, [few, many]), few, many)
  return turned === undefined ? undefined : w.reshape(turned, [...columns, ...rows].map(d => d.size))
}
