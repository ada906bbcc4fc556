/** Every legal layout of some dims over a mesh. */
import type { Dim } from '../../src/core/dim.ts'
import { partsOf, type Mesh } from '../../src/core/mesh.ts'
import type { Layout } from '../../src/core/layout.ts'

/** Each dim unsplit, on one axis, or on several; whether the model allows it is for the checker to say. */
export function layoutsOf(dims: readonly Dim[], mesh: Mesh): Layout[] {
  const names = mesh.axes.filter(a => a.size > 1).map(a => a.name)
  const options: (readonly string[])[] = [[], ...names.map(n => [n]), ...names.flatMap(a => names.filter(b => b !== a).map(b => [a, b]))]
  let all: { readonly [dim: string]: readonly string[] }[] = [{}]
  for (const d of dims) {
    const fitting = options.filter(axes => d.size % partsOf(mesh, axes) === 0)
    all = all.flatMap(l => fitting.map(axes => (axes.length === 0 ? l : { ...l, [d.name]: axes })))
  }
  return all
}

/** The same layout with axes of one size named in the order of their use: what two layouts have in common that differ in nothing else. */
function pattern(layout: Layout, mesh: Mesh): string {
  const named = new Map<string, string>()
  const nameOf = (axis: string): string => {
    const size = mesh.axes.find(a => a.name === axis)?.size ?? 1
    const known = named.get(axis)
    if (known !== undefined) return known
    const name = `${size}.${[...named.values()].filter(n => n.startsWith(`${size}.`)).length}`
    named.set(axis, name)
    return name
  }
  return Object.entries(layout).map(([dim, rule]) => `${dim}:${[rule ?? []].flat().map(a => nameOf(String(a))).join('+')}`).join(' ')
}

/** One of the layouts of each pattern; `pick` says which. */
export function distinctLayouts(layouts: readonly Layout[], mesh: Mesh, pick: number): Layout[] {
  const byPattern = new Map<string, Layout[]>()
  for (const l of layouts) {
    const key = pattern(l, mesh)
    const same = byPattern.get(key)
    if (same === undefined) byPattern.set(key, [l])
    else same.push(l)
  }
  const chosen = [...byPattern.values()].map((same, i) => same[(pick + i) % same.length] ?? {})
  // Whoever takes only the first of them gets those that split most.
  return chosen.sort((a, b) => Object.values(b).flat().length - Object.values(a).flat().length)
}

/**
 * A layout drawn at random, legal or not. Half of them lay each axis on one dim at most, which most tensors allow; the others
 * choose for every dim by itself, so that each layout has its chance.
 */
export function drawnLayout(dims: readonly Dim[], mesh: Mesh, draw: () => number): Layout {
  const names = mesh.axes.filter(a => a.size > 1).map(a => a.name)
  const pickOf = <T>(from: readonly T[]): T | undefined => from[Math.floor(draw() * from.length)]
  const rules: { [dim: string]: readonly string[] } = {}
  const fits = (d: Dim, axes: readonly string[]): boolean => d.size % partsOf(mesh, axes) === 0
  const add = (d: Dim, axis: string): void => {
    const axes = draw() < 0.5 ? [axis, ...rules[d.name] ?? []] : [...rules[d.name] ?? [], axis]
    if (axes.length <= 2) rules[d.name] = axes
  }
  if (draw() < 0.5) {
    for (const axis of names) {
      const d = draw() < 0.85 ? pickOf(dims.filter(e => fits(e, [...rules[e.name] ?? [], axis]))) : undefined
      if (d !== undefined) add(d, axis)
    }
    return rules
  }
  for (const d of dims) {
    for (const axis of names) {
      if (draw() < 0.4 && fits(d, [...rules[d.name] ?? [], axis])) add(d, axis)
    }
  }
  return rules
}
