/** Partition rules: elementwise ops. */
import { dtypes, isFloat } from '../../core/dtype.ts'
import { splatValue } from '../../graph/make.ts'
import { dtypeOf, operand, shapeOf, type Node } from '../../graph/node.ts'
import { samePartial, type Context, type Partial, type Value } from '../context.ts'
import { met, staysAtRest } from '../meet.ts'
import { once } from '../once.ts'
import { computable, landed, unified } from '../operands.ts'
import { at, elementwise as alike, meetingResult, moving, result } from './partitioner.ts'
import type { BinaryFn, ElementwiseAttrs } from '../../graph/ops.ts'
import type { Partitioners } from './partitioner.ts'

/** Sums of addends are addends of the sum; a scalar that is not partial becomes one, counted on the first device only. */
function addition(n: Node<'binary'>, values: readonly Value[], c: Context): readonly Value[] {
  const [a, b] = [computable(c, at(values, 0)), computable(c, at(values, 1))]
  const partial = a.partial ?? b.partial
  if (partial === undefined || partial.kind !== 'sum' || (a.partial ?? partial).kind !== (b.partial ?? partial).kind) return plain(n, values, c)
  const { values: [l = a, r = b], sharding } = unified(c, [a, b], true)
  const sum = (x: Value, y: Value, over: Partial | undefined): readonly Value[] => result(n, c.make('binary', [x.node, y.node], n.attrs, n.site), sharding, over)
  const zero = (v: Value, g: Node): boolean => v.anyPartial === true || splatValue(g) === 0
  // Moving to one layout may have reduced either.
  if (samePartial(l.partial, r.partial)) return sum(l, r, l.partial)
  if (l.partial !== undefined && zero(r, operand(n, 1))) return sum(l, r, l.partial)
  if (r.partial !== undefined && zero(l, operand(n, 0))) return sum(l, r, r.partial)
  if (n.results[0]?.shape.length !== 0) return plain(n, values, c)
  const axes = [...new Set([...(l.partial?.axes ?? []), ...(r.partial?.axes ?? [])])]
  return sum(once(c, l, axes), once(c, r, axes), { kind: 'sum', axes })
}

/** Multiplying or dividing addends by one number, a constant or a scalar that every device has, scales the sum. */
function scaling(n: Node<'binary'>, values: readonly Value[], c: Context): readonly Value[] {
  const [a, b] = [computable(c, at(values, 0)), computable(c, at(values, 1))]
  const isSum = (v: Value): boolean => v.partial?.kind === 'sum'
  const scaled = isSum(a) && isOne(operand(n, 1), b) ? a : n.attrs.fn === 'mul' && isSum(b) && isOne(operand(n, 0), a) ? b : undefined
  if (scaled === undefined) return plain(n, values, c)
  const { values: moved, sharding } = unified(c, [a, b], true)
  return result(n, c.make('binary', moved.map(v => v.node), n.attrs, n.site), sharding, moved[scaled === a ? 0 : 1]?.partial)
}
const isOne = (g: Node, v: Value): boolean => splatValue(g) !== undefined
  || (v.partial === undefined && v.anyPartial !== true && (shapeOf(g).length === 0 || (g.op === 'broadcast' && shapeOf(operand(g, 0)).length === 0)))

const plain: BinaryRule = (n, values, c) => alike(n, values, c, operands => c.make('binary', operands, n.attrs, n.site))
type BinaryRule = (n: Node<'binary'>, values: readonly Value[], c: Context) => readonly Value[]
/** Of addends on both sides, or of zero on one, addends are chosen: what chooses is the same wherever they are. */
function chosen(n: Node<'select'>, values: readonly Value[], c: Context): readonly Value[] | undefined {
  const [p, a, b] = [at(values, 0), at(values, 1), at(values, 2)]
  const partial = a.partial ?? b.partial
  const fits = (v: Value, g: Node): boolean => samePartial(v.partial, partial) || (v.partial === undefined && (v.anyPartial === true || splatValue(g) === 0))
  if (partial?.kind !== 'sum' || [p, a, b].some(v => v.resting !== undefined) || !fits(a, operand(n, 1)) || !fits(b, operand(n, 2))) return undefined
  const { values: moved, sharding } = unified(c, [landed(c, p), a, b], true)
  const [, x, y] = moved
  if (x === undefined || y === undefined || ![[x, a], [y, b]].every(([now, was]) => samePartial(now?.partial, was?.partial)) || [...sharding.values()].flat().some(axis => partial.axes.includes(axis))) return undefined
  return result(n, c.make('select', moved.map(v => v.node), n.attrs, n.site), sharding, partial)
}

const linear: { readonly [F in BinaryFn]?: BinaryRule } = { add: addition, sub: addition, mul: scaling, div: scaling }

export const elementwise: Partitioners<ElementwiseAttrs> = {
  unary: (n, values, c) => {
    const given = at(values, 0)
    if (staysAtRest(c, given)) return [{ ...given, node: c.make('unary', [given.node], n.attrs, n.site) }]
    const v = computable(c, given)
    return n.attrs.fn === 'neg' && v.partial?.kind === 'sum' ? moving(n, v, c.make('unary', [v.node], n.attrs, n.site), v.sharding)
      : alike(n, values, c, operands => c.make('unary', operands, n.attrs, n.site))
  },
  binary: (n, values, c) => {
    const meeting = met(c, values, [])
    return meeting === undefined ? (linear[n.attrs.fn] ?? plain)(n, values, c) : meetingResult(c, n, c.make('binary', meeting.values.map(v => v.node), n.attrs, n.site), meeting)
  },
  compare: (n, values, c) => alike(n, values, c, operands => c.make('compare', operands, n.attrs, n.site)),
  select: (n, values, c) => chosen(n, values, c) ?? alike(n, values, c, operands => c.make('select', operands, n.attrs, n.site)),
  convert: (n, values, c) => {
    const given = at(values, 0)
    // A parameter that rests in another layout is narrowed where it rests, and moves only when it is computed with.
    if (given.resting !== undefined && (dtypes[n.attrs.dtype].bytes < dtypes[dtypeOf(given.node)].bytes || staysAtRest(c, given))) {
      return [{ ...given, node: c.make('convert', [given.node], n.attrs, n.site) }]
    }
    const v = computable(c, given)
    // A partial value may be widened before it is reduced, but not narrowed: each addend would be rounded.
    const wider = isFloat(dtypeOf(v.node)) && (n.attrs.dtype === 'f32' || n.attrs.dtype === 'f64')
    const taken = wider ? v : landed(c, v)
    return moving(n, taken, c.make('convert', [taken.node], n.attrs, n.site), taken.sharding)
  },
  threefry: (n, values, c) => alike(n, values, c, operands => c.make('threefry', operands, n.attrs, n.site)),
}
