/** Ops that only move elements: broadcast, transpose, slice, pad and their like. */
import { integer, integers } from './attributes.ts'
import { elements, type Scalar, type Store } from './element.ts'
import { check, only, sameType, type Op } from './program.ts'
import { perDeviceLowerings, type Lowering } from './lowering.ts'
import { copier, pick, range, sameList, sizeOf, stridesOf } from './strided.ts'

type Make = (op: Op) => (operands: readonly Store[]) => Store

/** An op whose result is its operand walked from `base` with these strides. */
function moved(op: Op, strides: readonly number[], base = 0): (operands: readonly Store[]) => Store {
  const { shape, dtype } = only(op, op.results).type
  const [length, own] = [sizeOf(shape), stridesOf(shape)]
  const whole = base === 0 && length === sizeOf(only(op, op.operands).type.shape)
  if (whole && own.every((s, d) => s === strides[d] || shape[d] === 1)) return ([x]) => x as Store
  const copy = copier(shape, own, strides)
  return ([x]) => {
    const out = elements[dtype].make(length)
    copy(out, 0, x as Store, base)
    return out
  }
}

const shapes = (op: Op): [from: readonly number[], to: readonly number[]] => {
  const [from, to] = [only(op, op.operands).type, only(op, op.results).type]
  check(op, from.dtype === to.dtype, 'operand and result differ in element type')
  return [from.shape, to.shape]
}

const broadcast: Make = op => {
  const [from, to] = shapes(op)
  const dims = integers(op, 'broadcast_dimensions')
  check(op, dims.length === from.length && new Set(dims).size === dims.length && dims.every(d => d >= 0 && d < to.length),
    'broadcast_dimensions must name one dim of the result for each of the operand')
  check(op, from.every((n, i) => n === 1 || n === to[dims[i] as number]), 'the operand does not fit the result')
  const own = stridesOf(from)
  return moved(op, to.map((_, d) => (from[dims.indexOf(d)] === 1 ? 0 : own[dims.indexOf(d)] ?? 0)))
}

const reshape: Make = op => {
  const [from, to] = shapes(op)
  check(op, sizeOf(from) === sizeOf(to), 'operand and result differ in size')
  return ([x]) => x as Store
}

const transpose: Make = op => {
  const [from, to] = shapes(op)
  const permutation = integers(op, 'permutation')
  check(op, sameList([...permutation].sort((a, b) => a - b), range(from.length)), 'permutation must name every dim once')
  check(op, sameList(pick(from, permutation), to), 'the result is not the operand transposed')
  return moved(op, pick(stridesOf(from), permutation))
}

const slice: Make = op => {
  const [from, to] = shapes(op)
  const [starts, limits, steps] = [integers(op, 'start_indices'), integers(op, 'limit_indices'), integers(op, 'strides')]
  check(op, from.every((n, d) => {
    const [start = -1, limit = -1, step = 0] = [starts[d], limits[d], steps[d]]
    return 0 <= start && start <= limit && limit <= n && step > 0 && to[d] === Math.ceil((limit - start) / step)
  }), 'start_indices, limit_indices and strides do not lie in the operand or do not give the result')
  const own = stridesOf(from)
  return moved(op, own.map((s, d) => s * (steps[d] as number)), own.reduce((sum, s, d) => sum + s * (starts[d] as number), 0))
}

const reverse: Make = op => {
  const [from] = shapes(op)
  const dims = integers(op, 'dimensions')
  const own = stridesOf(from)
  const base = dims.reduce((sum, d) => sum + (own[d] as number) * ((from[d] as number) - 1), 0)
  return moved(op, own.map((s, d) => (dims.includes(d) ? -s : s)), base)
}

const concatenate: Make = op => {
  const { shape, dtype } = only(op, op.results).type
  const along = integer(op, 'dimension')
  const own = stridesOf(shape)
  let filled = 0
  const copies = op.operands.map(({ type }) => {
    const fits = type.shape.length === shape.length && shape.every((n, d) => d === along || n === type.shape[d])
    check(op, type.dtype === dtype && fits, 'the operands do not fit the result')
    const [base, copy] = [filled * (own[along] as number), copier(type.shape, own, stridesOf(type.shape))]
    filled += type.shape[along] as number
    return (out: Store, x: Store): void => { copy(out, base, x, 0) }
  })
  check(op, filled === shape[along], 'the operands do not fill the result')
  return operands => {
    const out = elements[dtype].make(sizeOf(shape))
    copies.forEach((copy, i) => { copy(out, operands[i] as Store) })
    return out
  }
}

/** Negative padding cuts elements off, so only those whose place lies in the result are copied. */
const pad: Make = op => {
  const [from, to] = shapes(op)
  const [low, high, interior] = [integers(op, 'edge_padding_low'), integers(op, 'edge_padding_high'), integers(op, 'interior_padding')]
  const [source, own] = [stridesOf(from), stridesOf(to)]
  const plan = from.map((n, d) => {
    const [before = 0, after = 0, gap = 1] = [low[d], high[d], (interior[d] ?? 0) + 1]
    check(op, to[d] === before + after + Math.max(0, (n - 1) * gap + 1), 'the paddings do not give the result')
    const first = Math.max(0, Math.ceil(-before / gap))
    const last = Math.min(n - 1, Math.floor(((to[d] as number) - 1 - before) / gap))
    const [here, there] = [source[d] as number, own[d] as number]
    return { size: Math.max(0, last - first + 1), gap, from: first * here, to: (before + first * gap) * there }
  })
  const copy = copier(plan.map(p => p.size), plan.map((p, d) => p.gap * (own[d] as number)), source)
  const [toBase, fromBase] = [plan.reduce((sum, p) => sum + p.to, 0), plan.reduce((sum, p) => sum + p.from, 0)]
  const { dtype } = only(op, op.results).type
  return ([x, padding]) => {
    const out = elements[dtype].make(sizeOf(to)).fill((padding as Store)[0] as never)
    copy(out, toBase, x as Store, fromBase)
    return out
  }
}

/** Where a slice of these sizes starts, moved so far that it lies inside. */
function startOf(shape: readonly number[], sizes: readonly number[], starts: readonly Store[]): number {
  const own = stridesOf(shape)
  return own.reduce((sum, stride, d) => {
    const most = (shape[d] as number) - (sizes[d] as number)
    return sum + stride * Math.min(Math.max(Number(starts[d]?.[0] as Scalar), 0), most)
  }, 0)
}

const dynamicSlice: Make = op => {
  const [from, to] = shapes(op)
  check(op, op.operands.length === from.length + 1, 'it needs one start for each dim')
  check(op, sameList(integers(op, 'slice_sizes'), to) && to.every((n, d) => n <= (from[d] ?? -1)), 'slice_sizes do not give the result')
  const copy = copier(to, stridesOf(to), stridesOf(from))
  const { dtype } = only(op, op.results).type
  return ([x, ...starts]) => {
    const out = elements[dtype].make(sizeOf(to))
    copy(out, 0, x as Store, startOf(from, to, starts))
    return out
  }
}

const dynamicUpdateSlice: Make = op => {
  const [whole, part] = [only(op, op.operands).type, only(op, op.operands, 1).type]
  check(op, op.operands.length === whole.shape.length + 2, 'it needs one start for each dim')
  check(op, sameType(whole, only(op, op.results).type) && part.dtype === whole.dtype && part.shape.length === whole.shape.length
    && part.shape.every((n, d) => n <= (whole.shape[d] as number)), 'the update does not fit the operand')
  const copy = copier(part.shape, stridesOf(whole.shape), stridesOf(part.shape))
  return ([x, update, ...starts]) => {
    const out = (x as Store).slice()
    copy(out, startOf(whole.shape, part.shape, starts), update as Store, 0)
    return out
  }
}

export const shapeLowerings: readonly [string, Lowering][] = perDeviceLowerings({
  broadcast_in_dim: broadcast, reshape, transpose, slice, reverse, concatenate, pad,
  dynamic_slice: dynamicSlice, dynamic_update_slice: dynamicUpdateSlice,
})
