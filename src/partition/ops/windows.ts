/**
 * Partition rules: ops that see windows of neighbours.
 *
 * Along a split dim each device computes the windows of its own block. Those near the block's ends reach into the neighbours'
 * blocks: just the elements that they need (the halo) come by permutes, and what is outside of the tensor is zero on every mesh.
 */
import { names, type Dim } from '../../core/dim.ts'
import { localShape, sameSharding, type Sharding } from '../../core/layout.ts'
import { partsOf } from '../../core/mesh.ts'
import type { Node } from '../../graph/node.ts'
import type { Window, WindowAttrs } from '../../graph/ops.ts'
import { convDims } from '../../graph/windows.ts'
import { sizeIn } from '../build.ts'
import type { Context, Value } from '../context.ts'
import { relayout } from '../moves/relayout.ts'
import { ready } from '../operands.ts'
import { fetch } from '../moves/fetch.ts'
import { restored, settle, vacated } from '../moves/vacate.ts'
import { at, result, type Partitioners } from './partitioner.ts'

type Axes = readonly string[]
const axesOf = (sharding: Sharding, name: string): Axes => sharding.get(name) ?? []
const same = (a: Axes, b: Axes): boolean => a.join() === b.join()
const only = (sharding: Sharding, dims: readonly string[]): Map<string, Axes> => new Map([...sharding].filter(([name]) => dims.includes(name)))

/** How the dims that are in no window lie, in both operands alike: as they do already; where they do not agree, by the rules. */
function agreed(c: Context, x: Value, w: Value, own: readonly Dim[]): Map<string, Axes> {
  const [byX, byW] = [c.target(x.shape), c.target(w.shape)]
  const sharding = new Map<string, Axes>()
  const taken = new Set<string>()
  const has = (v: Value, d: Dim): boolean => v.shape.some(e => e.name === d.name)
  for (const d of own) {
    const [a, b] = [axesOf(x.sharding, d.name), axesOf(w.sharding, d.name)]
    const shared = has(x, d) && has(w, d)
    // Broadcasts give way: they are made anew as they are wanted.
    const axes = !shared ? (has(x, d) ? a : b) : same(a, b) || w.node.op === 'broadcast' ? a : x.node.op === 'broadcast' ? b : axesOf(has(x, d) ? byX : byW, d.name)
    if (axes.length === 0 || axes.some(name => taken.has(name))) continue
    sharding.set(d.name, axes)
    for (const name of axes) taken.add(name)
  }
  return sharding
}

/** The axes that a window's dim may stay split over: its blocks and those of the result (or of w) must begin at the same elements. */
function kept(c: Context, v: Window, x: Value, w: Value, taken: ReadonlySet<string>): { readonly axes: Axes; readonly along: 'places' | 'weights' } | undefined {
  const [axes, weights] = [axesOf(x.sharding, v.x), axesOf(w.sharding, v.w)]
  const parts = partsOf(c.mesh, axes)
  if (axes.length === 0 || axes.some(a => taken.has(a))) return undefined
  const block = sizeIn(x.node, v.x) * v.xDilation
  if (weights.length === 0) return v.out.size % parts === 0 && v.out.size / parts * v.stride === block ? { axes, along: 'places' } : undefined
  return same(axes, weights) && sizeIn(w.node, v.w) * v.wDilation === block ? { axes, along: 'weights' } : undefined
}

function conv(n: Node<'conv'>, x: Value, w: Value, c: Context): readonly Value[] {
  const { windows, over } = n.attrs
  const { batch, groups, over: contracted, features } = convDims(n.attrs, x.shape, w.shape)
  const inWindows = windows.map(v => v.x)
  const wanted = agreed(c, x, w, [...groups, ...contracted, ...batch, ...features])
  const taken = new Set([...wanted.values()].flat())
  const ways = windows.map(v => {
    const way = kept(c, v, x, w, taken)
    for (const a of way?.axes ?? []) taken.add(a)
    return way
  })
  // What cannot stay split along a window is split along another dim instead (an all-to-all), or not at all (an all-gather).
  let own = wanted
  for (const [i, v] of windows.entries()) {
    const axes = axesOf(x.sharding, v.x)
    if (ways[i] !== undefined || axes.length === 0 || axes.some(a => taken.has(a))) continue
    const stays = w.sharding.has(v.w) ? [] : [...names(groups), ...names(contracted)]
    const sharding = new Map([...own, [v.x, axes]])
    own = only(vacated(c, { shape: x.shape, sharding }, v.x, [...inWindows, ...stays]), [...own.keys(), ...names(x.shape).filter(d => !inWindows.includes(d))])
    for (const a of [...own.values()].flat()) taken.add(a)
  }
  const placed = (v: Value, name: (s: Window) => string, along: readonly string[], dims: readonly Dim[]): Value => {
    const sharding = only(own, names(dims))
    windows.forEach((s, i) => { const way = ways[i]; if (way !== undefined && along.includes(way.along)) sharding.set(name(s), way.axes) })
    return sameSharding(v.sharding, sharding) ? v : relayout(c, v, sharding)
  }
  const left = placed(x, s => s.x, ['places', 'weights'], [...batch, ...groups, ...contracted])
  const right = placed(w, s => s.w, ['weights'], [...groups, ...contracted, ...features])

  const sharding = new Map([...own].filter(([name]) => !over.includes(name)))
  windows.forEach((v, i) => { const way = ways[i]; if (way?.along === 'places') sharding.set(v.out.name, way.axes) })
  const addends = [...over.flatMap(name => axesOf(own, name)), ...ways.flatMap(way => (way?.along === 'weights' ? way.axes : []))]
  let node = left.node
  const local = windows.map((v, i): Window => {
    const out = localShape([v.out], sharding, c.mesh)[0] ?? v.out
    if (ways[i] === undefined) return { ...v, out }
    const needed = reach({ ...v, out }, sizeIn(right.node, v.w))
    node = fetch(c, { ...left, node }, v.x, needed)
    return { ...v, out, low: v.low + needed.start * v.xDilation }
  })
  const partial = addends.length === 0 ? undefined : { kind: 'sum' as const, axes: addends }
  const made = result(n, c.make('conv', [node, right.node], { over, windows: local }, n.site), sharding, partial)
  return made.map(r => (own === wanted ? settle(c, r, windows.map(v => v.out.name)) : restored(c, r)))
}

/** The elements of x that the windows of a block meet, counted from the beginning of the device's own. */
function reach(v: Window, width: number): { readonly start: number; readonly size: number } {
  const start = Math.ceil(-v.low / v.xDilation)
  const last = Math.floor(((v.out.size - 1) * v.stride + (width - 1) * v.wDilation - v.low) / v.xDilation)
  // All of them may fall into gaps: then any one will do.
  return { start, size: Math.max(1, last - start + 1) }
}

export const windows: Partitioners<WindowAttrs> = {
  conv: (n, values, c) => conv(n, ready(c, at(values, 0)), ready(c, at(values, 1)), c),
}
