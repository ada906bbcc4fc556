/** Partition rules: ops that move elements to places known beforehand. */
import { isHidden, names, type Dim } from '../../core/dim.ts'
import { localShape, sameSharding, type Sharding } from '../../core/layout.ts'
import { axisOf, partsOf, type Mesh } from '../../core/mesh.ts'
import { operand, shapeOf, type Node } from '../../graph/node.ts'
import type { RearrangingAttrs } from '../../graph/ops.ts'
import { sizeIn } from '../build.ts'
import { reduced, samePartial, type Context, type Value } from '../context.ts'
import { restingDims } from '../meet.ts'
import { relayout } from '../moves/relayout.ts'
import { computable } from '../operands.ts'
import type { LocalNode } from '../local.ts'
import { blank, fetch } from '../moves/fetch.ts'
import { restored, settle, vacate, vacated } from '../moves/vacate.ts'
import { at, result, type Partitioners } from './partitioner.ts'

const named = (shape: readonly Dim[], name: string): Dim => shape.find(d => d.name === name) ?? { name, size: 1 }
const without = (sharding: Sharding, gone: readonly string[]): Sharding => new Map([...sharding].filter(([name]) => !gone.includes(name)))
const moved = (c: Context, v: Value, to: Sharding): Value => (sameSharding(v.sharding, to) ? v : relayout(c, v, to))

/** How several dims lie when they, as one dim in row-major order, take these axes; undefined where a block would not be one piece. */
function distributed(axes: readonly string[], dims: readonly Dim[], mesh: Mesh): Sharding | undefined {
  const sharding = new Map<string, readonly string[]>()
  let k = 0
  for (const axis of axes) {
    for (;;) {
      const d = dims[k]
      if (d === undefined) return undefined
      const own = sharding.get(d.name) ?? []
      const parts = partsOf(mesh, own)
      if (d.size % (parts * axisOf(mesh, axis).size) === 0) { sharding.set(d.name, [...own, axis]); break }
      // Only a dim that is cut into single elements lets the next one be cut as well.
      if (parts !== d.size) return undefined
      k++
    }
  }
  return sharding
}

/** The axes that several dims take, as those of one dim made of them; undefined where they cannot be. */
function together(dims: readonly Dim[], sharding: Sharding, mesh: Mesh): readonly string[] | undefined {
  const axes = dims.flatMap(d => sharding.get(d.name) ?? [])
  const spread = distributed(axes, dims, mesh)
  return spread !== undefined && sameSharding(spread, new Map([...sharding].filter(([name]) => dims.some(d => d.name === name)))) ? axes : undefined
}
const free = (axes: readonly string[], sharding: Sharding): boolean => axes.every(a => ![...sharding.values()].flat().includes(a))

function splitDim(n: Node<'splitDim'>, given: Value, c: Context): readonly Value[] {
  const { dim, into } = n.attrs
  const others = without(given.sharding, [dim])
  // Rules say nothing of dims that only an op knows: they lie as what they are parts of.
  const wanted = into.length > 0 && into.every(d => isHidden(d.name)) ? undefined : together(into, c.target(shapeOf(n)), c.mesh)
  const held = given.sharding.get(dim) ?? []
  // What the rules want of the parts, if one dim can hold it; else as much as both sides can.
  let axes = wanted !== undefined && free(wanted, others) ? wanted : held
  while (distributed(axes, into, c.mesh) === undefined) axes = axes.slice(0, -1)
  const v = moved(c, given, axes.length === 0 ? others : new Map([...others, [dim, axes]]))
  const sharding = new Map([...others, ...(distributed(axes, into, c.mesh) ?? [])])
  const node = c.make('splitDim', [v.node], { dim, into: localShape(into, sharding, c.mesh) }, n.site)
  return result(n, node, sharding, v.partial).map(r => settle(c, r, names(into)))
}

function mergeDims(n: Node<'mergeDims'>, given: Value, c: Context): readonly Value[] {
  const { from, into } = n.attrs
  const dims = from.map(name => named(given.shape, name))
  const others = without(given.sharding, from)
  const want = c.target(shapeOf(n)).get(into.name) ?? []
  const spread = free(want, others) ? distributed(want, dims, c.mesh) : undefined
  let before: Sharding = given.sharding
  if (spread !== undefined) before = new Map([...others, ...spread])
  else if (together(dims, given.sharding, c.mesh) === undefined) {
    const [first] = dims
    const axes = first === undefined ? [] : given.sharding.get(first.name) ?? []
    before = axes.length === 0 || first === undefined ? others : new Map([...others, [first.name, axes]])
  }
  const v = moved(c, given, before)
  const axes = together(dims, before, c.mesh) ?? []
  const sharding = axes.length === 0 ? others : new Map([...others, [into.name, axes]])
  const node = c.make('mergeDims', [v.node], { from, into: { name: into.name, size: into.size / partsOf(c.mesh, axes) } }, n.site)
  return result(n, node, sharding, v.partial).map(r => settle(c, r, [into.name]))
}

/** What the device's block of the result is made of, in elements from the beginning of its block of the operand. */
function interval({ start, step, dilation }: RearrangingAttrs['resample'], size: number): { readonly start: number; readonly size: number } {
  const [first, last] = [Math.ceil(start / dilation), Math.floor((start + (size - 1) * step) / dilation)]
  return { start: first, size: last - first + 1 }
}

function resample(n: Node<'resample'>, given: Value, c: Context): readonly Value[] {
  const { dim, to, start, step, dilation, fill } = n.attrs
  const axes = given.sharding.get(dim) ?? []
  const local = (x: LocalNode, size: number, from: number): LocalNode => c.make('resample', [x], { ...n.attrs, to: { name: to.name, size }, start: from }, n.site)
  if (axes.length === 0) {
    const v = fill === 0 ? given : reduced(c, given)
    return result(n, local(v.node, to.size, start), v.sharding, v.partial).map(r => settle(c, r, [to.name]))
  }
  const v = reduced(c, given)
  const parts = partsOf(c.mesh, axes)
  const [block, size] = [sizeIn(v.node, dim), to.size / parts]
  // Blocks of the result begin where blocks of the operand do, shifted alike: neighbours have what is missing.
  if (to.size % parts === 0 && size * step === block * dilation) {
    const needed = interval(n.attrs, size)
    const node = needed.size <= 0 ? blank(c, v.node, dim, { name: to.name, size }, fill)
      : local(fetch(c, v, dim, { ...needed, fill }), size, start - needed.start * dilation)
    const sharding = new Map([...v.sharding].map(([name, a]) => [name === dim ? to.name : name, a]))
    return result(n, node, sharding).map(r => settle(c, r, to.name === dim ? [] : [to.name]))
  }
  const there = vacate(c, v, dim)
  return result(n, local(there.node, to.size, start), there.sharding).map(r => restored(c, r))
}

function reverse(n: Node<'reverse'>, v: Value, c: Context): readonly Value[] {
  const axes = v.sharding.get(n.attrs.dim) ?? []
  const parts = partsOf(c.mesh, axes)
  const turned = c.make('reverse', [v.node], n.attrs, n.site)
  const node = parts === 1 ? turned : c.make('permute', [turned], { axes, pairs: Array.from({ length: parts }, (_, i) => [i, parts - 1 - i] as const) }, n.site)
  return result(n, node, v.sharding, v.partial)
}

function concat(n: Node<'concat'>, values: readonly Value[], c: Context): readonly Value[] {
  const { name } = n.attrs.dim
  const [first] = values
  if (first === undefined) throw new Error('nothing to concatenate')
  // Addends one after another are addends of all of them, where each device has addends of every part.
  if (first.partial !== undefined && values.every(v => samePartial(v.partial, first.partial) && sameSharding(v.sharding, first.sharding) && !v.sharding.has(name))) {
    return result(n, c.make('concat', values.map(v => v.node), n.attrs, n.site), first.sharding, first.partial).map(r => settle(c, r, [name]))
  }
  return concatWhole(n, values.map(v => reduced(c, v)), c)
}
function concatWhole(n: Node<'concat'>, values: readonly Value[], c: Context): readonly Value[] {
  const { name } = n.attrs.dim
  const target = without(c.target(shapeOf(n)), [name])
  const alike = values.every(v => sameSharding(without(v.sharding, [name]), without(at(values, 0).sharding, [name])))
  const sharding = alike ? vacated(c, values.find(v => v.sharding.has(name)) ?? at(values, 0), name) : target
  const parts = values.map(v => relayout(c, v, sharding).node)
  const borrowed = !alike || values.some(v => v.sharding.has(name))
  return result(n, c.make('concat', parts, n.attrs, n.site), sharding).map(r => settle(c, borrowed ? relayoutIfBorrowed(c, r, target) : r, [name]))
}
/** Other dims that took the axes of the one in the way give them back. */
const relayoutIfBorrowed = (c: Context, v: Value, target: Sharding): Value => (sameSharding(v.sharding, target) ? v : restored(c, v))

/** What touches none of the dims that rest otherwise than they are computed with is done where a value rests, and the result rests there: it moves when it is computed with. */
function whereItRests(v: Value, dims: readonly string[], rule: (v: Value) => readonly Value[], c: Context): readonly Value[] {
  const { resting, ...there } = v
  if (resting === undefined || restingDims(c, v).some(d => dims.includes(d))) return rule(computable(c, v))
  return rule(there).map(r => ({ ...r, resting }))
}

export const rearranging: Partitioners<RearrangingAttrs> = {
  splitDim: (n, values, c) => whereItRests(at(values, 0), [n.attrs.dim], v => splitDim(n, v, c), c),
  mergeDims: (n, values, c) => whereItRests(at(values, 0), n.attrs.from, v => mergeDims(n, v, c), c),
  resample: (n, values, c) => resample(n, computable(c, at(values, 0)), c),
  roll: (n, values, c) => {
    const v = computable(c, at(values, 0))
    const { dim, by } = n.attrs
    if (!v.sharding.has(dim)) return result(n, c.make('roll', [v.node], n.attrs, n.site), v.sharding, v.partial)
    // Sums may travel as addends.
    const there = v.partial?.kind === 'sum' ? v : reduced(c, v)
    const size = named(shapeOf(operand(n, 0)), dim).size
    // Elements travel the shorter way round the ring.
    const shift = ((by % size) + size) % size
    const start = shift * 2 > size ? size - shift : -shift
    return result(n, fetch(c, there, dim, { start, size: sizeIn(there.node, dim), wrap: true }), there.sharding, there.partial)
  },
  reverse: (n, values, c) => reverse(n, computable(c, at(values, 0)), c),
  concat: (n, values, c) => concat(n, values.map(v => computable(c, v)), c),
}
