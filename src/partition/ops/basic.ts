/** Partition rules: values from outside, and what changes only how they are seen. */
import { isHidden } from '../../core/dim.ts'
import { localShape } from '../../core/layout.ts'
import { partsOf } from '../../core/mesh.ts'
import { shapeOf } from '../../graph/node.ts'
import { binary, constant, partIndex } from '../build.ts'
import { staysAtRest } from '../meet.ts'
import { relayout, relayoutAddends } from '../moves/relayout.ts'
import { computable, landed } from '../operands.ts'
import { at, moving, result } from './partitioner.ts'
import type { BasicAttrs } from '../../graph/ops.ts'
import type { Partitioners } from './partitioner.ts'

export const basic: Partitioners<BasicAttrs> = {
  input: n => { throw new Error(`input "${n.attrs.name}" was not placed`) },
  constant: (n, _, c) => result(n, c.make('constant', [], n.attrs), new Map()),
  iota: (n, _, c) => {
    const sharding = c.target(shapeOf(n))
    const axes = sharding.get(n.attrs.dim.name) ?? []
    const size = n.attrs.dim.size / partsOf(c.mesh, axes)
    const local = c.make('iota', [], { dim: { name: n.attrs.dim.name, size } })
    if (axes.length === 0) return result(n, local, sharding)
    const part = partIndex(c, axes)
    const start = binary(c, 'mul', part, constant(c, size, part))
    return result(n, binary(c, 'add', local, c.make('broadcast', [start], { shape: shapeOf(local) })), sharding)
  },
  broadcast: (n, values, c) => {
    // To reorder dims costs the same wherever they lie.
    const rests = (at(values, 0).resting !== undefined && at(values, 0).shape.length === n.attrs.shape.length) || staysAtRest(c, at(values, 0))
    const given = rests ? at(values, 0) : computable(c, at(values, 0))
    // A partial value is reduced before it is broadcast to more elements; where dims are only reordered it stays partial.
    const v = given.shape.length === n.attrs.shape.length ? given : landed(c, given)
    const sharding = new Map(v.sharding)
    const taken = new Set([...sharding.values()].flat())
    for (const [name, axes] of c.target(n.attrs.shape)) {
      if (!v.shape.some(d => d.name === name) && axes.every(a => !taken.has(a))) sharding.set(name, axes)
    }
    const made = moving(n, v, c.make('broadcast', [v.node], { shape: localShape(n.attrs.shape, sharding, c.mesh) }, n.site), sharding)
    return rests && v.resting !== undefined ? made.map(r => ({ ...r, resting: v.resting ?? 'compute' })) : made
  },
  rename: (n, values, c) => {
    const given = computable(c, at(values, 0))
    const { from, to } = n.attrs
    // The new name has rules of its own; what the old one held moves there first. A name that only an op knows has none: it stays.
    const want = isHidden(to) ? given.sharding.get(from) ?? [] : c.target(shapeOf(n)).get(to) ?? []
    const others = new Map([...given.sharding].filter(([name]) => name !== from))
    const free = want.every(a => ![...others.values()].flat().includes(a))
    const before = new Map(others)
    if (want.length > 0 && free) before.set(from, want)
    const same = (given.sharding.get(from) ?? []).join() === (before.get(from) ?? []).join()
    const v = same ? given : relayout(c, given, before)
    return moving(n, v, c.make('rename', [v.node], n.attrs, n.site), new Map([...before].map(([name, axes]) => [name === from ? to : name, axes])))
  },
  relayout: (n, values, c) => {
    const to = n.attrs.to
    const v = at(values, 0)
    const moved = (n.attrs.keepsSums ? relayoutAddends : relayout)(c, v, c.target(v.shape, to, n.attrs.first))
    return [{ ...moved, shape: v.shape }]
  },
  named: (_, values) => [at(values, 0)],
  // Addends are not worth moving: what is stored is the sum. It lies as it lay, so that a device brings the part that it has.
  stored: (n, values, c) => {
    const given = at(values, 0)
    const v = given.partial === undefined ? given : landed(c, given)
    return [{ ...v, node: c.make('stored', [v.node], n.attrs, n.site) }]
  },
  stopGradient: (_, values) => [at(values, 0)],
  customGradient: (_, values) => [at(values, 0)],
}
