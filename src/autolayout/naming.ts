/** Names of axes by what they do, in place of the letters that the search has. */
import { mesh as meshOf, type Mesh } from '../core/mesh.ts'
import type { Layout, LayoutFrom, Layouts } from '../core/layout.ts'

/** The first dim of an axis that is here says what it is called. */
const known: readonly (readonly [dim: string, name: string])[] = [
  ['stage', 'stage'], ['batch', 'data'], ['experts', 'experts'], ['heads', 'model'], ['kvHeads', 'model'], ['hidden', 'model'], ['vocab', 'model'], ['seq', 'context'], ['height', 'space'], ['width', 'space'],
]

const dimsOn = ({ layout, params, state, gradients, layouts = {} }: Layouts, axis: string): string[] =>
  [layout, params ?? {}, state ?? {}, gradients ?? {}, ...Object.values(layouts)].flatMap(rules => Object.entries(rules ?? {}).flatMap(([dim, rule]) => ([rule].flat().includes(axis) ? [dim] : [])))

/** The same layouts with axes named by their dims; those in `fixed` keep their names, and axes of one device fall away. */
export function named(mesh: Mesh, layouts: Layouts, fixed: readonly string[]): { readonly mesh: Mesh; readonly layouts: Layouts; /** By what each axis was called. */ readonly names: ReadonlyMap<string, string> } {
  const taken = new Set(fixed)
  const names = new Map(mesh.axes.map(({ name }) => {
    if (fixed.includes(name)) return [name, name] as const
    const dims = dimsOn(layouts, name)
    const first = known.find(([dim]) => dims.includes(dim))?.[1] ?? dims[0] ?? 'rest'
    let chosen = first
    for (let i = 2; taken.has(chosen); i++) chosen = `${first}${i}`
    taken.add(chosen)
    return [name, chosen] as const
  }))
  const renamed = <T extends Layout | LayoutFrom>(rules: T): T => Object.fromEntries(Object.entries(rules).map(([dim, rule]) =>
    [dim, dim === 'from' ? rule : Array.isArray(rule) ? rule.map((a: string) => names.get(a) ?? a) : names.get(rule as string) ?? rule])) as T
  const { layout, params, state, gradients, layouts: others, uses } = layouts
  return {
    names, mesh: meshOf(Object.fromEntries(mesh.axes.map(a => [names.get(a.name) ?? a.name, a.size]))),
    layouts: {
      layout: renamed(layout), ...(params === undefined ? {} : { params: renamed(params) }), ...(state === undefined ? {} : { state: renamed(state) }), ...(gradients === undefined ? {} : { gradients: renamed(gradients) }), ...(uses === undefined ? {} : { uses }),
      ...(others === undefined ? {} : { layouts: Object.fromEntries(Object.entries(others).map(([name, rules]) => [name, renamed(rules ?? {})])) }),
    },
  }
}
