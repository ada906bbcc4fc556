/** What inference asks of operands, and the errors where they do not fit. */
import { formatShape, names, type Dim } from '../../core/dim.ts'
import { DimError, type Site } from '../../core/errors.ts'
import { didYouMean } from '../../core/nearest.ts'
import { typeOf, type TensorType, type Typed } from '../node.ts'

export type Inputs = readonly Typed[]

/** The dim of that name in a shape. @throws DimError with the nearest name. */
export function dimIn(shape: readonly Dim[], name: string, op: string, site?: Site): Dim {
  const found = shape.find(d => d.name === name)
  if (found === undefined) {
    throw new DimError({ code: 'no-such-dim', what: `${op}: the tensor has no dim "${name}"`, details: { tensor: formatShape(shape) }, fix: didYouMean(name, names(shape)), at: site })
  }
  return found
}

export function distinct(shape: readonly Dim[], op: string, site: Site | undefined): readonly Dim[] {
  const twice = shape.find((d, i) => shape.findIndex(e => e.name === d.name) !== i)
  if (twice !== undefined) {
    throw new DimError({ code: 'dim-twice', what: `${op}: the result would have dim "${twice.name}" twice`, details: { result: formatShape(shape) }, fix: `rename one "${twice.name}" first`, at: site })
  }
  return shape
}

/** Two tensors that share a dim must agree on its size. @throws DimError */
export function agree(a: readonly Dim[], b: readonly Dim[], op: string, site: Site | undefined): void {
  for (const d of a) {
    const other = b.find(e => e.name === d.name)
    if (other !== undefined && other.size !== d.size) {
      throw new DimError({ code: 'size-differs', what: `${op}: dim "${d.name}" has two sizes`, details: { left: formatShape(a), right: formatShape(b) }, fix: `rename one "${d.name}", or give both the same size`, at: site })
    }
  }
}

export const sameType = (op: string, inputs: Inputs, site: Site | undefined): TensorType => {
  const types = inputs.map(typeOf)
  const [first, ...rest] = types
  if (first === undefined) throw new Error(`${op} has no operands`)
  for (const t of rest) {
    if (t.dtype !== first.dtype) {
      throw new DimError({ code: 'dtype-differs', what: `${op}: operands of different dtypes`, details: { left: `${first.dtype} ${formatShape(first.shape)}`, right: `${t.dtype} ${formatShape(t.shape)}` }, fix: 'cast one of them', at: site })
    }
    if (names(t.shape).join() !== names(first.shape).join()) throw new Error(`${op}: operands were not broadcast to one shape`)
    agree(first.shape, t.shape, op, site)
  }
  return first
}

export const only = (inputs: Inputs, i = 0): TensorType => {
  const n = inputs[i]
  if (n === undefined) throw new Error(`operand ${i} is missing`)
  return typeOf(n)
}

export const wrongDtype = (op: string, t: TensorType, want: string, site: Site | undefined): DimError =>
  new DimError({ code: 'dtype', what: `${op}: works on ${want}, not on ${t.dtype}`, details: { tensor: `${t.dtype} ${formatShape(t.shape)}` }, fix: 'cast the tensor first', at: site })
