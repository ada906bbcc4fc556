/** What inference asks of operands, and the errors where they do not fit. */
import { formatShape, legalDim, nameOf, names, type Dim, type DimLike } from '../../core/dim.ts'
import { dtypes, isEight, isFloat, type DType } from '../../core/dtype.ts'
import { DimError, type Site } from '../../core/errors.ts'
import { placeOf, type Where } from '../../core/site.ts'
import { shown } from '../../core/shown.ts'
import { holds, isDType, rangeOf } from '../../core/range.ts'
import { didYouMean } from '../../core/nearest.ts'
import { typeOf, type TensorType, type Typed } from '../node.ts'

export type Inputs = readonly Typed[]

/** The dim of that name in a shape: its size may be another than the given dim's, where a slice or a window has changed it. @throws DimError with the nearest name */
export function dimIn<N extends string>(shape: readonly Dim<N>[], dim: DimLike<string>, op: string, site?: Where): Dim<N> {
  const name = nameOf(dim)
  const found = shape.find(d => d.name === name)
  if (found === undefined) {
    throw new DimError({ code: 'no-such-dim', what: `${op}: the tensor has no dim "${name}"`, details: { tensor: formatShape(shape) }, fix: didYouMean(name, names(shape)), at: placeOf(site) })
  }
  return found
}

/** Whether one of the first dims has that name. These are asked of every node that is made: loops, since nothing is made for the answer. */
function hasName(shape: readonly Dim[], name: string, first: number): boolean {
  for (let i = 0; i < first; i++) if (shape[i]?.name === name) return true
  return false
}
/** Whether the dims have the same names, in the same order. */
function sameNames(a: readonly Dim[], b: readonly Dim[]): boolean {
  if (a.length !== b.length) return false
  for (let i = 0; i < a.length; i++) if (a[i]?.name !== b[i]?.name) return false
  return true
}

export function distinct(shape: readonly Dim[], op: string, site: Site | undefined): readonly Dim[] {
  for (let i = 1; i < shape.length; i++) {
    const twice = shape[i] as Dim
    if (!hasName(shape, twice.name, i)) continue
    throw new DimError({ code: 'dim-twice', what: `${op}: the result would have dim "${twice.name}" twice`, details: { result: formatShape(shape) }, fix: `rename one "${twice.name}" first`, at: site })
  }
  return shape
}

/** Two tensors that share a dim must agree on its size. @throws DimError */
export function agree(a: readonly Dim[], b: readonly Dim[], op: string, site: Where): void {
  if (a === b) return
  for (const d of a) {
    for (const other of b) {
      if (other.name !== d.name || other.size === d.size) continue
      throw new DimError({ code: 'size-differs', what: `${op}: dim "${d.name}" has two sizes`, details: { left: formatShape(a), right: formatShape(b) }, fix: `rename one "${d.name}", or give both the same size`, at: placeOf(site) })
    }
  }
}

export const sameType = (op: string, inputs: Inputs, site: Site | undefined): TensorType => {
  if (inputs[0] === undefined) throw new Error(`${op} has no operands`)
  const first = typeOf(inputs[0])
  for (let i = 1; i < inputs.length; i++) {
    const t = typeOf(inputs[i] as Typed)
    if (t === first) continue
    if (t.dtype !== first.dtype) {
      throw new DimError({ code: 'dtype-differs', what: `${op}: operands of different dtypes`, details: { left: `${first.dtype} ${formatShape(first.shape)}`, right: `${t.dtype} ${formatShape(t.shape)}` }, fix: 'cast one of them', at: site })
    }
    if (!sameNames(t.shape, first.shape)) throw new Error(`${op}: operands were not broadcast to one shape`)
    agree(first.shape, t.shape, op, site)
  }
  return first
}

export const only = (inputs: Inputs, i = 0): TensorType => {
  const n = inputs[i]
  if (n === undefined) throw new Error(`operand ${i} is missing`)
  return typeOf(n)
}

/** The results of an op; those of wrong dims or dtypes were given so by the user. */
export function legal(op: string, results: readonly TensorType[], site: Site | undefined): readonly TensorType[] {
  for (const { shape, dtype } of results) {
    if (!isDType(dtype)) throw new DimError({ code: 'dtype', what: `there is no dtype ${shown(dtype)}`, fix: didYouMean(String(dtype), Object.keys(dtypes)), at: site })
    if (!Array.isArray(shape)) throw new DimError({ code: 'not-a-dim', what: `${op}: the shape is ${shown(shape)}`, fix: 'give a list of dims', at: site })
    for (const d of shape as readonly Dim[]) legalDim(d)
    distinct(shape, op, site)
  }
  return results
}
/** @throws DimError when the dtype has no such number */
export function constantOf(op: string, value: number, dtype: DType, site: Site | undefined): void {
  if (!isDType(dtype) || holds(dtype, value)) return
  const [low, high] = rangeOf(dtype)
  const range = dtype === 'bool' ? 'give 0 or 1' : `give a whole number from ${low} to ${high}, or cast the tensor`
  throw new DimError({ code: 'value', what: `${op}: ${shown(value)} is no ${dtype}`, fix: isFloat(dtype) ? 'give a number' : range, at: site })
}
/** What is computed with: floats of 8 bits are kept, moved and contracted by `fp8`. */
const forKeeping = 'numbers of more than 8 bits (floats of 8 bits are only kept and moved)'

/** @throws DimError when the tensor is not of floats */
export function floats(op: string, dtype: DType, shape: readonly Dim[], site: Where): void {
  if (!isFloat(dtype)) throw wrongDtype(op, { dtype, shape }, 'floats', site)
  if (isEight(dtype)) throw wrongDtype(op, { dtype, shape }, forKeeping, site)
}
/** @throws DimError when the tensor is of booleans, which are not added, multiplied or ordered, or of floats of 8 bits */
export function numbers(op: string, t: TensorType, site: Where): void {
  if (t.dtype === 'bool') throw wrongDtype(op, t, 'numbers', site)
  if (isEight(t.dtype)) throw wrongDtype(op, t, forKeeping, site)
}

export const wrongDtype = (op: string, t: TensorType, want: string, site: Where): DimError =>
  new DimError({ code: 'dtype', what: `${op}: works on ${want}, not on ${t.dtype}`, details: { tensor: `${t.dtype} ${formatShape(t.shape)}` }, fix: 'cast the tensor first', at: placeOf(site) })
