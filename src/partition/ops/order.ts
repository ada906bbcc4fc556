/** Partition rules: sorting, the largest elements, cumulative sums and their like, along dims that may be split. */
import { partsOf } from '../../core/mesh.ts'
import { dtypeOf, shapeOf, type Node } from '../../graph/node.ts'
import type { BinaryFn, CumulativeKind } from '../../graph/ops.ts'
import { binary, constant, gather, partIndex, sizeIn } from '../build.ts'
import type { Context, Value } from '../context.ts'
import { relayout } from '../moves/relayout.ts'
import { reduceStart } from '../../graph/reference/evaluator.ts'
import type { LocalNode } from '../local.ts'
import { restored, settle, vacate, vacated } from '../moves/vacate.ts'
import { at } from './partitioner.ts'

const several = (n: Node, nodes: readonly LocalNode[], sharding: Value['sharding']): Value[] =>
  n.results.map((r, i) => { const node = nodes[i]; if (node === undefined) throw new Error('a result is missing'); return { shape: r.shape, node, sharding } })
const projected = (c: Context, node: LocalNode): LocalNode[] => node.results.map((_, index) => c.make('project', [node], { index }))

/** Every line must lie on one device: its dim gives its axes to another one, or is gathered. */
export function sort(n: Node<'sort'>, values: readonly Value[], c: Context): readonly Value[] {
  const sharding = vacated(c, at(values, 0), n.attrs.dim)
  const operands = values.map(v => relayout(c, v, sharding).node)
  const moved = at(values, 0).sharding.has(n.attrs.dim)
  return several(n, projected(c, c.make('sort', operands, n.attrs, n.site)), sharding).map(v => (moved ? restored(c, v) : v))
}

/** The largest of each part, gathered; of these the largest. */
export function topK(n: Node<'topK'>, x: Value, c: Context): readonly Value[] {
  const { dim, to } = n.attrs
  const axes = x.sharding.get(dim) ?? []
  const block = sizeIn(x.node, dim)
  if (axes.length > 0 && to.size > block) {
    const there = vacate(c, x, dim)
    return several(n, projected(c, c.make('topK', [there.node], n.attrs, n.site)), there.sharding).map(v => restored(c, v))
  }
  const sharding = new Map([...x.sharding].filter(([name]) => name !== dim))
  const [values, places] = projected(c, c.make('topK', [x.node], n.attrs, n.site))
  if (values === undefined || places === undefined) throw new Error('topK has two results')
  if (axes.length === 0) return several(n, [values, places], sharding).map(v => settle(c, v, [to.name]))
  const part = partIndex(c, axes)
  const offset = binary(c, 'mul', part, constant(c, block, part))
  const globally = binary(c, 'add', places, c.make('broadcast', [offset], { shape: shapeOf(places) }))
  const [all, where] = [gather(c, values, to.name, axes), gather(c, globally, to.name, axes)]
  const [best, among] = projected(c, c.make('topK', [all], { dim: to.name, to }, n.site))
  if (best === undefined || among === undefined) throw new Error('topK has two results')
  const chosen = c.make('take', [where, among], { dim: to.name })
  return several(n, [best, chosen], sharding).map(v => settle(c, v, [to.name]))
}

const combining: { readonly [K in CumulativeKind]: BinaryFn } = { sum: 'add', prod: 'mul', max: 'max', min: 'min' }

/** Each device accumulates its own part, and combines it with the totals of the parts before it. Only these totals are communicated. */
export function cumulative(n: Node<'cumulative'>, x: Value, c: Context): readonly Value[] {
  const { dim, kind, reverse } = n.attrs
  const axes = x.sharding.get(dim) ?? []
  const local = c.make('cumulative', [x.node], n.attrs, n.site)
  if (axes.length === 0) return several(n, [local], x.sharding)
  const [parts, block] = [partsOf(c.mesh, axes), sizeIn(x.node, dim)]
  const one = { name: dim, size: 1 }
  const total = c.make('resample', [local], { dim, to: one, start: reverse ? 0 : block - 1, step: 1, dilation: 1, fill: 0 })
  const totals = c.make('cumulative', [gather(c, total, dim, axes)], n.attrs)
  // For each part, the total of all parts before it.
  const fill = reduceStart(kind, dtypeOf(local))
  const before = c.make('resample', [totals], { dim, to: { name: dim, size: parts }, start: reverse ? 1 : -1, step: 1, dilation: 1, fill })
  const mine = c.make('splitDim', [c.make('dynamicSlice', [before, partIndex(c, axes)], { dim, to: one })], { dim, into: [] })
  return several(n, [c.make('binary', [c.make('broadcast', [mine], { shape: shapeOf(local) }), local], { fn: combining[kind] }, n.site)], x.sharding)
}
