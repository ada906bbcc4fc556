/** How every op of a device's program is written. */
import { names } from '../core/dim.ts'
import { axisOf, strideOf } from '../core/mesh.ts'
import { operand, shapeOf } from '../graph/node.ts'
import type { BinaryFn, UnaryFn } from '../graph/ops.ts'
import type { LocalTable } from '../partition/local.ts'
import { emitAttention } from './attend.ts'
import { emitCond } from './cond.ts'
import { emitConv } from './conv.ts'
import { emitConvert, emitExtreme } from './convert.ts'
import { emitDot, emitKernelDot, emitReordered, emitRounded } from './dot.ts'
import { emitDynamicSlice, emitDynamicUpdate, emitScatter, emitScatterAdd, emitTake } from './indexing.ts'
import { emitCumulative, emitSort, emitTopK } from './order.ts'
import { emitPower } from './power.ts'
import { emitConcat, emitMerge, emitResample, emitReverse, emitRoll } from './rearranging.ts'
import { emitReduce } from './reduce.ts'
import { emitRoot } from './roots.ts'
import { emitScan } from './scan.ts'
import { emitStored } from './stored.ts'
import type { Scope } from './scope.ts'
import { threefry } from './threefry.ts'
import { emitWhile } from './while.ts'
import { i64s, typeOfNode, type Ssa, type Writer } from './writer.ts'

const unary: { readonly [F in UnaryFn]: string } = {
  neg: 'negate', exp: 'exponential', log: 'log', tanh: 'tanh', sqrt: 'sqrt', rsqrt: 'rsqrt', abs: 'abs', sign: 'sign', sin: 'sine',
  cos: 'cosine', logistic: 'logistic', not: 'not', expm1: 'exponential_minus_one', log1p: 'log_plus_one', cbrt: 'cbrt', tan: 'tan', erf: 'chlo.erf', erfc: 'chlo.erfc',
  erfInv: 'chlo.erf_inv', floor: 'floor', ceil: 'ceil', round: 'round_nearest_even', popcount: 'popcnt', leadingZeros: 'count_leading_zeros',
}
const binary: { readonly [F in BinaryFn]: string } = {
  add: 'add', sub: 'subtract', mul: 'multiply', div: 'divide', max: 'maximum', min: 'minimum', pow: 'power', and: 'and', or: 'or',
  xor: 'xor', shiftLeft: 'shift_left', shiftRight: 'shift_right_logical', shiftRightArithmetic: 'shift_right_arithmetic', rem: 'remainder', atan2: 'atan2',
}

/** i32: the device's coordinates along the axes, as one number with the first axis the major one. */
function axisIndex(w: Writer, { mesh, collectives }: Scope, axes: readonly string[]): Ssa {
  const type = { sizes: [], dtype: 'i32' as const }
  const op = (name: string, a: Ssa, b: number): Ssa => w.op(name, [a, w.constant(b, 'i32')], type)
  const id = w.op('convert', [collectives.device(w)], type)
  return axes.reduce((index, a) => {
    const size = axisOf(mesh, a).size
    return w.op('add', [op('multiply', index, size), op('remainder', op('divide', id, strideOf(mesh, a)), size)], type)
  }, w.constant(0, 'i32'))
}

const only = (args: readonly Ssa[]): Ssa => {
  const [v] = args
  if (v === undefined) throw new Error('an operand is missing')
  return v
}

export const table: LocalTable<readonly Ssa[], [readonly Ssa[], Writer, Scope]> = {
  input: n => { throw new Error(`input "${n.attrs.name}" has no value`) },
  constant: (n, _, w) => [w.constant(n.attrs.value, n.attrs.dtype)],
  iota: (n, _, w) => [w.op('iota', [], typeOfNode(n), 'iota_dimension = 0 : i64')],
  unary: (n, args, w, { origins }) => [(origins === undefined ? undefined : emitRoot(n.attrs.fn, only(args), w)) ?? w.op(unary[n.attrs.fn], args, typeOfNode(n))],
  binary: (n, args, w, scope) => {
    const { fn } = n.attrs
    if (fn === 'pow') return [emitPower(n, args, w)]
    return [(fn === 'max' || fn === 'min' ? emitExtreme(fn === 'max' ? 'maximum' : 'minimum', args, w, scope) : undefined) ?? w.op(binary[fn], args, typeOfNode(n))]
  },
  compare: (n, args, w) => [w.op('compare', args, typeOfNode(n), `comparison_direction = #stablehlo<comparison_direction ${n.attrs.direction}>`)],
  select: (n, args, w) => [w.op('select', args, typeOfNode(n))],
  convert: (n, args, w, scope) => {
    const made = emitRounded(n, w, scope) ?? emitConvert(w, only(args), n.attrs.dtype, scope)
    scope.origins?.set(made.name, { of: only(args) })
    return [made]
  },
  broadcast: (n, args, w, scope) => {
    const [from, to] = [names(shapeOf(operand(n, 0))), names(n.attrs.shape)]
    if (from.length === to.length) return [emitReordered(n, only(args), to, w, scope) ?? w.transpose(only(args), to.map(d => from.indexOf(d)))]
    return [w.op('broadcast_in_dim', args, typeOfNode(n), `broadcast_dimensions = ${i64s(from.map(d => to.indexOf(d)))}`)]
  },
  dot: (n, args, w, scope) => [emitAttention(n, w, scope) ?? emitKernelDot(n, args, w, scope) ?? emitDot(n, args, w, scope)],
  reduce: (n, args, w, scope) => (n.attrs.over.length === 0 ? [only(args)] : [emitReduce(n, args, w, scope)]),
  conv: (n, args, w, scope) => [emitConv(n, args, w, scope)],
  rename: (_, args) => [only(args)],
  stored: (n, args, w, { choices }) => [emitStored(n, only(args), w, choices)],
  splitDim: (n, args, w) => [w.reshape(only(args), typeOfNode(n).sizes)],
  mergeDims: (n, args, w) => [emitMerge(n, only(args), w)],
  resample: (n, args, w) => [emitResample(n, only(args), w)],
  roll: (n, args, w) => [emitRoll(n, only(args), w)],
  reverse: (n, args, w) => [emitReverse(n, only(args), w)],
  concat: (n, args, w) => [emitConcat(w, args, names(shapeOf(n)).indexOf(n.attrs.dim.name))],
  take: (n, args, w) => [emitTake(n, args, w)],
  scatter: (n, args, w) => [emitScatter(n, args, w)],
  dynamicSlice: (n, args, w) => [emitDynamicSlice(n, args, w)],
  dynamicUpdate: (n, args, w) => [emitDynamicUpdate(n, args, w)],
  sort: (n, args, w) => emitSort(n, args, w),
  topK: (n, args, w, { choices }) => emitTopK(n, args, w, choices.barriers === 'for transposes'),
  cumulative: (n, args, w) => [emitCumulative(n, args, w)],
  scatterAdd: (n, args, w) => [emitScatterAdd(n, args, w)],
  threefry: (_, args, w) => [threefry(args, w)],
  scan: (n, args, w, scope) => emitScan(n, args, w, scope),
  cond: (n, args, w, scope) => emitCond(n, args, w, scope),
  while: (n, args, w, scope) => emitWhile(n, args, w, scope),
  // A barrier of one operand misbehaves on XLA:CPU; it would hold nothing back either.
  barrier: (_, args, w, { choices }) => (args.length < 2 && choices.barriers === 'for transposes' ? args : w.ops('optimization_barrier', args, args, '', [])),
  project: () => { throw new Error('projections are followed by the driver') },
  axisIndex: (n, _, w, scope) => [axisIndex(w, scope, n.attrs.axes)],
  allReduce: (n, args, w, { mesh, collectives }) => [collectives.allReduce(n, only(args), w, mesh)],
  allGather: (n, args, w, { mesh, collectives }) => [collectives.allGather(n, only(args), w, mesh)],
  reduceScatter: (n, args, w, { mesh, collectives }) => [collectives.reduceScatter(n, only(args), w, mesh)],
  allToAll: (n, args, w, { mesh, collectives }) => [collectives.allToAll(n, only(args), w, mesh)],
  permute: (n, args, w, { mesh, collectives }) => [collectives.permute(n, only(args), w, mesh)],
}
