/** The layouts of a program by their names: each starts from another one, and the last of them is `compute`. */
import { legalName } from './dim.ts'
import { LayoutError, type Site } from './errors.ts'
import { checkLayout, type Layout, type LayoutFrom, type Layouts, type Role } from './layout.ts'
import type { Mesh } from './mesh.ts'
import { didYouMean } from './nearest.ts'

/** What they start from unless they say otherwise. */
const starts: { readonly [K in Role]: Role | undefined } = { compute: undefined, params: 'compute', state: 'params', gradients: 'params' }
export const isRole = (name: string): name is Role => Object.hasOwn(starts, name)

const own = <T>(record: { readonly [name: string]: T | undefined } | undefined, name: string): T | undefined =>
  (record !== undefined && Object.hasOwn(record, name) ? record[name] : undefined)

/** Every layout that there is: of every program, of the model, of the recipe. */
export const layoutNames = ({ layouts = {}, uses = {} }: Layouts): string[] => [...new Set([...Object.keys(starts), ...Object.keys(uses), ...Object.keys(layouts)])]

/** What is said of one layout; undefined where there is none of that name. */
const said = (all: Layouts, name: string): LayoutFrom | undefined =>
  (isRole(name) ? (name === 'compute' ? all.layout : all[name]) ?? {} : own(all.layouts, name) ?? (own(all.uses, name) === undefined ? undefined : {}))

/** A layout's own rules, and the layout that it starts from; `compute` starts from none, and may lay a dim called "from". */
function partsOf(all: Layouts, name: string): { readonly from: string | undefined; readonly rules: Layout } | undefined {
  const found = said(all, name)
  if (found === undefined) return undefined
  if (name === 'compute') return { from: undefined, rules: found }
  const { from, ...rules } = found
  return { from: from ?? (isRole(name) ? starts[name] : own(all.uses, name)) ?? 'compute', rules }
}

/** Layouts that build on each other, with what each of them says itself. */
type Chain = readonly { readonly name: string; readonly rules: Layout }[]

/**
 * A layout and those that it starts from, the last of them first: whoever comes later has the say.
 * @throws LayoutError where there is no layout of that name, with the nearest one; or where layouts start from each other in a circle
 */
function chainOf(all: Layouts, name: string, at?: Site): Chain {
  const chain: { readonly name: string; readonly rules: Layout }[] = []
  for (let next: string | undefined = name; next !== undefined;) {
    const parts = partsOf(all, next)
    const last = chain[0]?.name
    if (parts === undefined) {
      const what = last === undefined ? `there is no layout "${next}"` : `layout "${last}" starts from "${next}", which is no layout`
      throw new LayoutError({ code: 'unknown-layout', what, fix: didYouMean(next, layoutNames(all)), at })
    }
    const names = chain.map(c => c.name).reverse()
    if (names.includes(next)) {
      throw new LayoutError({
        code: 'layout-circle', what: `layout "${next}" starts from itself`, details: { from: [...names.slice(names.indexOf(next)), next].join(' → ') },
        fix: 'let one of them start from compute: { from: \'compute\', … }', at,
      })
    }
    chain.unshift({ name: next, rules: parts.rules })
    next = parts.from
  }
  return chain
}

/**
 * The rules of a layout: its own on top of those that it starts from.
 * @throws LayoutError where there is no layout of that name, with the nearest one; or where layouts start from each other in a circle
 */
export const rulesOf = (all: Layouts, name: string, at?: Site): Layout => Object.assign({}, ...chainOf(all, name, at).map(c => c.rules)) as Layout

/** For each dim that a layout has a rule for, the layout that says it: its own name, or one that it starts from. @throws LayoutError as `rulesOf` */
export const whoSays = (all: Layouts, name: string): ReadonlyMap<string, string> => new Map(chainOf(all, name).flatMap(c => Object.keys(c.rules).map(dim => [dim, c.name] as const)))

/** The layout that one starts from; of `compute`, and where there is none of that name, undefined. */
export const startOf = (all: Layouts, name: string): string | undefined => partsOf(all, name)?.from

/**
 * Checks every layout, used or not, against the mesh and the dims that it may speak of. `named` are the names that the program itself uses.
 * @throws LayoutError for a name that the model does not use, a start that is none, a circle; and see `checkLayout`
 */
export function checkLayouts(all: Layouts, mesh: Mesh, dims: Iterable<string>, named: Iterable<string>, at?: Site): void {
  const known = new Set(dims)
  const used = [...new Set([...Object.keys(all.uses ?? {}), ...named])].filter(n => !isRole(n))
  for (const name of [...Object.keys(all.layouts ?? {}), ...Object.keys(all.uses ?? {})]) {
    if (isRole(name)) {
      throw new LayoutError({ code: 'layout-name', what: `a model cannot name a layout "${name}": every program has one`, fix: `lay it by the option ${name === 'compute' ? 'layout' : name}, which stands beside layouts`, at })
    }
    if (!legalName.test(name)) throw new LayoutError({ code: 'layout-name', what: `"${name}" cannot name a layout`, fix: 'use letters, digits, "_" and "."; begin with a letter', at })
    if (!used.includes(name)) {
      throw new LayoutError({ code: 'unknown-layout', what: `the model uses no layout "${name}"`, fix: didYouMean(name, used), at })
    }
  }
  for (const name of layoutNames(all)) {
    const found: unknown = said(all, name)
    if (typeof found !== 'object' || found === null || Array.isArray(found)) {
      throw new LayoutError({ code: 'rule', what: `layout "${name}" is ${JSON.stringify(found)}`, fix: 'give rules, { DIM: \'AXIS\', … }', at })
    }
    const from: unknown = name === 'compute' ? undefined : (found as LayoutFrom).from
    if (from !== undefined && typeof from !== 'string') {
      throw new LayoutError({ code: 'rule', what: `layout "${name}" starts from ${JSON.stringify(from)}`, fix: `name one: ${layoutNames(all).join(', ')}. A dim called "from" can be laid by \`layout\` only`, at })
    }
    rulesOf(all, name, at)
    checkLayout(partsOf(all, name)?.rules ?? {}, mesh, known, { what: 'the layout', owner: 'the model', layout: name, at })
  }
}
