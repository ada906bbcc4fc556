/** The type of every op's results, and every way in which its operands can be wrong. */
import { formatShape, names, type Dim } from '../core/dim.ts'
import { isFloat } from '../core/dtype.ts'
import { DimError, type Site } from '../core/errors.ts'
import { didYouMean } from '../core/nearest.ts'
import { shapeOf, dtypeOf, typeOf, type Infer, type TensorType, type Typed } from './node.ts'
import type { Attrs } from './ops.ts'

type Inputs = readonly Typed[]

/** The dim of that name in a shape. @throws DimError with the nearest name. */
export function dimIn(shape: readonly Dim[], name: string, op: string, site?: Site): Dim {
  const found = shape.find(d => d.name === name)
  if (found === undefined) {
    throw new DimError({ code: 'no-such-dim', what: `${op}: the tensor has no dim "${name}"`, details: { tensor: formatShape(shape) }, fix: didYouMean(name, names(shape)), at: site })
  }
  return found
}

function distinct(shape: readonly Dim[], op: string, site: Site | undefined): readonly Dim[] {
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

const sameType = (op: string, inputs: Inputs, site: Site | undefined): TensorType => {
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

const only = (inputs: Inputs, i = 0): TensorType => {
  const n = inputs[i]
  if (n === undefined) throw new Error(`operand ${i} is missing`)
  return typeOf(n)
}

const bitwise = new Set(['and', 'or', 'xor', 'shiftLeft', 'shiftRight'])
const floatOnly = new Set(['exp', 'log', 'tanh', 'sqrt', 'rsqrt', 'sin', 'cos', 'logistic'])

const wrongDtype = (op: string, t: TensorType, want: string, site: Site | undefined): DimError =>
  new DimError({ code: 'dtype', what: `${op}: works on ${want}, not on ${t.dtype}`, details: { tensor: `${t.dtype} ${formatShape(t.shape)}` }, fix: 'cast the tensor first', at: site })

export const infer: Infer<Attrs> = {
  input: a => [a.type],
  constant: a => [{ shape: [], dtype: a.dtype }],
  iota: a => [{ shape: [a.dim], dtype: 'i32' }],
  unary: (a, inputs, site) => {
    const t = only(inputs)
    if (floatOnly.has(a.fn) && !isFloat(t.dtype)) throw wrongDtype(a.fn, t, 'floats', site)
    if (a.fn === 'not' && isFloat(t.dtype)) throw wrongDtype(a.fn, t, 'booleans and integers', site)
    return [t]
  },
  binary: (a, inputs, site) => {
    const t = sameType(a.fn, inputs, site)
    if (bitwise.has(a.fn) && isFloat(t.dtype)) throw wrongDtype(a.fn, t, 'booleans and integers', site)
    return [t]
  },
  compare: (_, inputs, site) => [{ shape: sameType('compare', inputs, site).shape, dtype: 'bool' }],
  select: (_, inputs, site) => {
    const predicate = only(inputs)
    if (predicate.dtype !== 'bool') throw wrongDtype('where', predicate, 'a bool predicate', site)
    const t = sameType('where', inputs.slice(1), site)
    agree(predicate.shape, t.shape, 'where', site)
    return [t]
  },
  convert: (a, inputs) => [{ shape: only(inputs).shape, dtype: a.dtype }],
  broadcast: (a, inputs, site) => {
    const t = only(inputs)
    agree(t.shape, a.shape, 'broadcast', site)
    for (const d of t.shape) dimIn(a.shape, d.name, 'broadcast to a shape that lacks a dim of the tensor', site)
    return [{ shape: distinct(a.shape, 'broadcast', site), dtype: t.dtype }]
  },
  dot: (a, inputs, site) => {
    const [left, right] = [only(inputs), only(inputs, 1)]
    agree(left.shape, right.shape, 'dot', site)
    for (const name of a.over) for (const t of [left, right]) dimIn(t.shape, name, 'dot', site)
    if (left.dtype !== right.dtype) sameType('dot', inputs, site)
    const inRight = new Set(names(right.shape))
    const inLeft = new Set(names(left.shape))
    const kept = left.shape.filter(d => !a.over.includes(d.name))
    const shape = [...kept.filter(d => inRight.has(d.name)), ...kept.filter(d => !inRight.has(d.name)), ...right.shape.filter(d => !inLeft.has(d.name))]
    return [{ shape, dtype: left.dtype }]
  },
  reduce: (a, inputs, site) => {
    const t = only(inputs)
    for (const name of a.over) dimIn(t.shape, name, a.kind, site)
    return [{ shape: t.shape.filter(d => !a.over.includes(d.name)), dtype: t.dtype }]
  },
  rename: (a, inputs, site) => {
    const t = only(inputs)
    dimIn(t.shape, a.from, 'rename', site)
    return [{ shape: distinct(t.shape.map(d => (d.name === a.from ? { name: a.to, size: d.size } : d)), 'rename', site), dtype: t.dtype }]
  },
  take: (a, inputs, site) => {
    const [table, indices] = [only(inputs), only(inputs, 1)]
    dimIn(table.shape, a.dim, 'take', site)
    if (indices.dtype !== 'i32') throw wrongDtype('take', indices, 'i32 indices', site)
    return [{ shape: distinct([...indices.shape, ...table.shape.filter(d => d.name !== a.dim)], 'take', site), dtype: table.dtype }]
  },
  scatterAdd: (a, inputs, site) => {
    const [indices, updates] = [only(inputs), only(inputs, 1)]
    if (indices.dtype !== 'i32') throw wrongDtype('scatterAdd', indices, 'i32 indices', site)
    for (const d of indices.shape) dimIn(updates.shape, d.name, 'scatterAdd', site)
    agree(indices.shape, updates.shape, 'scatterAdd', site)
    const gone = new Set(names(indices.shape))
    return [{ shape: distinct([a.dim, ...updates.shape.filter(d => !gone.has(d.name))], 'scatterAdd', site), dtype: updates.dtype }]
  },
  threefry: (_, inputs, site) => [sameType('threefry', inputs, site)],
  scan: a => a.body.outputs.map((n, i) => (i < a.carries ? typeOf(n) : { shape: [a.over, ...shapeOf(n)], dtype: dtypeOf(n) })),
  project: (a, inputs) => {
    const found = inputs[0]?.results[a.index]
    if (found === undefined) throw new Error(`there is no result ${a.index}`)
    return [found]
  },
  relayout: (_, inputs) => [only(inputs)],
  stopGradient: (_, inputs) => [only(inputs)],
  customGradient: (_, inputs) => [only(inputs)],
}
