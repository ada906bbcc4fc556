/** Values moved to another layout, by the cheapest moves. */
import { localShape, sameAxes, sameSharding, type Sharding } from '../../core/layout.ts'
import { partsOf, type Mesh } from '../../core/mesh.ts'
import { dtypes, isFloat, isHalf } from '../../core/dtype.ts'
import { dtypeOf, operand, shapeOf } from '../../graph/node.ts'
import { exchange, gather, ownPart } from '../build.ts'
import { reduced, type Context, type Value } from '../context.ts'
import type { LocalNode } from '../local.ts'
import { remade } from './remake.ts'
import { cheapest, type Move } from './search.ts'

const axesOf = (sharding: Sharding, name: string): readonly string[] => sharding.get(name) ?? []

/**
 * Pairs of parts along `axes` (all that either layout uses): who sends to whom so that each device holds what `after` gives
 * it. Copies of a block along unused axes pair off in order, so that every device sends once and receives once.
 */
function permutation(mesh: Mesh, shape: readonly string[], before: Sharding, after: Sharding, axes: readonly string[]): (readonly [number, number])[] {
  const sizes = axes.map(a => partsOf(mesh, [a]))
  const strides = sizes.map((_, i) => sizes.slice(i + 1).reduce((n, size) => n * size, 1))
  /** Which block a part holds: of each dim a part of as many as `before` and `after` cut it into. */
  const blocksOf = (sharding: Sharding): number[] => {
    const digits = shape.flatMap(d => axesOf(sharding, d)).map(a => axes.indexOf(a))
    return Array.from({ length: partsOf(mesh, axes) }, (_, part) => digits.reduce((block, i) => block * (sizes[i] ?? 1) + Math.floor(part / (strides[i] ?? 1)) % (sizes[i] ?? 1), 0))
  }
  const [had, wanted] = [blocksOf(before), blocksOf(after)]
  const holders = new Map<number, number[]>()
  // Who has its block already keeps it.
  had.forEach((block, part) => {
    if (block === wanted[part]) return
    const own = holders.get(block)
    if (own === undefined) holders.set(block, [part])
    else own.push(part)
  })
  return wanted.map((block, part) => {
    if (had[part] === block) return [part, part] as const
    const source = holders.get(block)?.shift()
    if (source === undefined) throw new Error('no device is left that holds a block')
    return [source, part] as const
  })
}

function apply(c: Context, v: Value, node: LocalNode, move: Move): LocalNode {
  if (move.kind === 'slice') return remade(c, node, move.dim, move.axes) ?? ownPart(c, node, move.dim, move.axes)
  if (move.kind === 'gather') return gather(c, node, move.dim, move.axes)
  if (move.kind === 'exchange') return exchange(c, node, move.from, move.to, move.axes)
  const used = new Set([...move.before.values(), ...move.after.values()].flat())
  const axes = c.mesh.axes.map(a => a.name).filter(a => used.has(a))
  return c.make('permute', [node], { axes, pairs: permutation(c.mesh, v.shape.map(d => d.name), move.before, move.after, axes) }, node.site)
}

/** The value reduced and in another layout: a reduce-scatter where it is partial and wanted split, then the cheapest moves. */
export function relayout(c: Context, v: Value, to: Sharding): Value {
  const { partial, resting, strayed: _, ...rest } = v
  if (partial === undefined && sameSharding(v.sharding, to)) return rest
  const again = rebroadcast(c, v, to) ?? (resting === undefined ? undefined : movedBroadcast(c, v, to))
  if (again !== undefined) return { ...rest, node: again, sharding: to }

  const { sharding, addends, ...scattered } = scatter(c, v, to)
  let { node } = scattered
  if (partial !== undefined && addends.length > 0) {
    if (addends.length === partial.axes.length) return relayout(c, reduced(c, v), to)
    node = c.make('allReduce', [node], { kind: partial.kind, axes: addends }, node.site)
  }
  if (sameSharding(sharding, to)) return { ...rest, node, sharding: to }
  // What was widened from half precision moves in half precision.
  const half = node.op === 'convert' && isFloat(dtypeOf(node)) && isHalf(dtypeOf(operand(node, 0))) ? operand(node, 0) : undefined
  const moved = cheapest(v.shape, dtypes[dtypeOf(half ?? node)].bytes, sharding, to, c.mesh).reduce((x, move) => apply(c, v, x, move), half ?? node)
  return { ...rest, node: half === undefined ? moved : c.make('convert', [moved], { dtype: dtypeOf(node) }, node.site), sharding: to }
}

interface Scattered { readonly node: LocalNode; readonly sharding: Sharding; /** The axes that it is still partial over. */ readonly addends: readonly string[] }
/** Addends reduced to the parts that a layout wants of the sum, over the axes that it splits more. */
function scatter(c: Context, { node: given, sharding: lying, partial }: Value, to: Sharding): Scattered {
  let [node, sharding, addends] = [given, lying, partial?.axes ?? []]
  if (partial?.kind !== 'sum') return { node, sharding, addends }
  for (const [dim, axes] of to) {
    const own = axesOf(sharding, dim)
    const more = axes.slice(own.length)
    if (more.length === 0 || !sameAxes(own, axes.slice(0, own.length)) || !more.every(a => addends.includes(a))) continue
    node = c.make('reduceScatter', [node], { dim, axes: more, parts: partsOf(c.mesh, more) }, node.site)
    addends = addends.filter(a => !more.includes(a))
    sharding = new Map([...sharding, [dim, axes]])
  }
  return { node, sharding, addends }
}

/** Addends moved to another layout that stay addends over the axes that it does not split: to be summed again, and reduced once in the end. */
export function relayoutAddends(c: Context, v: Value, to: Sharding): Value {
  const { partial, strayed: _, ...rest } = v
  if (partial?.kind !== 'sum' || v.resting !== undefined) return relayout(c, v, to)
  const { node, sharding, addends } = scatter(c, v, to)
  // What lies otherwise still may have its addends over axes that the layout uses.
  if (!sameSharding(sharding, to)) return relayout(c, v, to)
  return { ...rest, node, sharding, ...(addends.length === 0 ? {} : { partial: { kind: 'sum', axes: addends } }) }
}

/** A broadcast whose own dims do not move is made anew at the other layout: nothing needs cutting. */
function rebroadcast(c: Context, v: Value, to: Sharding): LocalNode | undefined {
  if (v.node.op !== 'broadcast' || v.partial !== undefined) return undefined
  const source = v.node.inputs[0]
  if (source === undefined || shapeOf(source).some(d => !sameAxes(axesOf(v.sharding, d.name), axesOf(to, d.name)))) return undefined
  return c.make('broadcast', [source], { shape: localShape(v.shape, to, c.mesh) }, v.node.site)
}

/** A broadcast of what rests elsewhere moves before it grows. */
function movedBroadcast(c: Context, v: Value, to: Sharding): LocalNode | undefined {
  if (v.node.op !== 'broadcast') return undefined
  const node = operand(v.node, 0)
  const own = new Set(shapeOf(node).map(d => d.name))
  const within = (sharding: Sharding): Sharding => new Map([...sharding].filter(([name]) => own.has(name)))
  const moved = relayout(c, { shape: v.shape.filter(d => own.has(d.name)), node, sharding: within(v.sharding) }, within(to))
  return c.make('broadcast', [moved.node], { shape: localShape(v.shape, to, c.mesh) }, v.node.site)
}
