/**
 * The cheapest way from one layout to another: a shortest path over layouts, whose steps are slices, permutes, all-to-alls and
 * all-gathers, and whose lengths are the bytes that a device receives.
 */
import { sizeOf, type Dim } from '../../core/dim.ts'
import type { Sharding } from '../../core/layout.ts'
import { axisOf, partsOf, type Mesh } from '../../core/mesh.ts'
import { latency } from '../collectives.ts'

type Axes = readonly string[]
export type Move =
  | { readonly kind: 'slice'; readonly dim: string; readonly axes: Axes }
  | { readonly kind: 'gather'; readonly dim: string; readonly axes: Axes }
  | { readonly kind: 'exchange'; readonly from: string; readonly to: string; readonly axes: Axes }
  /** Each block goes from the device that `before` gives it to one that `after` gives it. */
  | { readonly kind: 'permute'; readonly before: Sharding; readonly after: Sharding }

/** Slices are copies: cheap, not free. */
const copying = 1 / 64

interface Step { readonly move: Move; readonly to: Sharding; readonly cost: number }

const key = (sharding: Sharding): string => [...sharding].filter(([, axes]) => axes.length > 0).map(([d, axes]) => `${d}:${axes.join('+')}`).sort().join(' ')
const put = (sharding: Sharding, ...entries: readonly (readonly [string, Axes])[]): Sharding => {
  const next = new Map(sharding)
  for (const [dim, axes] of entries) if (axes.length > 0) next.set(dim, axes); else next.delete(dim)
  return next
}
const permutations = (axes: Axes): Axes[] => (axes.length < 2 ? [axes] : axes.flatMap(a => permutations(axes.filter(b => b !== a)).map(rest => [a, ...rest])))

function stepsFrom(sharding: Sharding, shape: readonly Dim[], mesh: Mesh, bytesOf: (sharding: Sharding) => number): Step[] {
  const axesOf = (dim: string): Axes => sharding.get(dim) ?? []
  const localSize = (d: Dim): number => d.size / partsOf(mesh, axesOf(d.name))
  const used = new Set([...sharding.values()].flat())
  const all = mesh.axes.filter(a => a.size > 1).map(a => a.name)
  const free = all.filter(a => !used.has(a))
  const here = bytesOf(sharding)
  const steps: Step[] = []
  const add = (move: Move, to: Sharding, cost: number): void => { steps.push({ move, to, cost }) }
  for (const d of shape) {
    const own = axesOf(d.name)
    for (const a of free) {
      if (localSize(d) % axisOf(mesh, a).size !== 0) continue
      const to = put(sharding, [d.name, [...own, a]])
      add({ kind: 'slice', dim: d.name, axes: [a] }, to, 1 + bytesOf(to) * copying)
    }
    for (let kept = 0; kept < own.length; kept++) {
      const axes = own.slice(kept)
      const parts = partsOf(mesh, axes)
      add({ kind: 'gather', dim: d.name, axes }, put(sharding, [d.name, own.slice(0, kept)]), latency + here * (parts - 1))
      for (const e of shape) {
        if (e.name === d.name || localSize(e) % parts !== 0) continue
        const to = put(sharding, [d.name, own.slice(0, kept)], [e.name, [...axesOf(e.name), ...axes]])
        add({ kind: 'exchange', from: d.name, to: e.name, axes }, to, latency + here * (parts - 1) / parts)
      }
    }
    for (const order of permutations(own)) {
      if (order.join() !== own.join()) {
        const to = put(sharding, [d.name, order])
        add({ kind: 'permute', before: sharding, after: to }, to, latency + here)
      }
    }
  }
  // Two axes of one size change places, wherever they are used.
  for (const [i, a] of all.entries()) {
    for (const b of all.slice(i + 1)) {
      if (axisOf(mesh, a).size !== axisOf(mesh, b).size || (!used.has(a) && !used.has(b))) continue
      const swapped = new Map([...sharding].map(([dim, axes]) => [dim, axes.map(x => (x === a ? b : x === b ? a : x))]))
      add({ kind: 'permute', before: sharding, after: swapped }, swapped, latency + here)
    }
  }
  return steps
}

/** The moves from `from` to `to` for a tensor of this global shape whose elements take so many bytes (Dijkstra 1959). */
export const cheapest = (shape: readonly Dim[], bytes: number, from: Sharding, to: Sharding, mesh: Mesh): readonly Move[] => route(shape, bytes, from, to, mesh).moves

interface Route { readonly moves: readonly Move[]; readonly cost: number }
/** What was found before, by mesh: layers and their gradients ask for the same again and again. */
const known = new WeakMap<Mesh, Map<string, Route>>()

/** And what they cost. */
export function route(shape: readonly Dim[], bytes: number, from: Sharding, to: Sharding, mesh: Mesh): Route {
  const routes = known.get(mesh) ?? new Map<string, Route>()
  known.set(mesh, routes)
  const asked = `${bytes}; ${shape.map(d => `${d.name}=${d.size}`).join(' ')}; ${key(from)}; ${key(to)}`
  const found = routes.get(asked) ?? search(shape, bytes, from, to, mesh)
  routes.set(asked, found)
  return found
}

function search(shape: readonly Dim[], bytes: number, from: Sharding, to: Sharding, mesh: Mesh): Route {
  const bytesOf = (sharding: Sharding): number => sizeOf(shape) * bytes / partsOf(mesh, [...sharding.values()].flat())
  const goal = key(to)
  const best = new Map<string, { readonly sharding: Sharding; readonly cost: number; readonly moves: readonly Move[] }>([[key(from), { sharding: from, cost: 0, moves: [] }]])
  const open = new Set(best.keys())
  for (;;) {
    let at: string | undefined
    for (const k of open) if (at === undefined || (best.get(k)?.cost ?? Infinity) < (best.get(at)?.cost ?? Infinity)) at = k
    const found = at === undefined ? undefined : best.get(at)
    if (at === undefined || found === undefined) throw new Error(`no way leads from ${key(from)} to ${goal}`)
    if (at === goal) return found
    open.delete(at)
    for (const { move, to: next, cost } of stepsFrom(found.sharding, shape, mesh, bytesOf)) {
      const k = key(next)
      const known = best.get(k)
      if (known !== undefined && known.cost <= found.cost + cost) continue
      best.set(k, { sharding: next, cost: found.cost + cost, moves: [...found.moves, move] })
      open.add(k)
    }
  }
}
