/** Layouts that differ in nothing but rules that do nothing, or in the order of axes that links treat alike. */
import type { Mesh } from '../core/mesh.ts'
import type { Layout, Layouts } from '../core/layout.ts'

interface Priced { readonly variant: unknown; readonly mesh: Mesh; readonly layouts: Layouts; readonly cost: { readonly ms: number; readonly flops: number }; readonly bytes: number }

/** What a layout says, rule by rule. */
function rulesIn({ layout, params, state, gradients, layouts = {} }: Layouts): ReadonlySet<string> {
  const of = (name: string, rules: Layout | undefined): string[] => Object.entries(rules ?? {}).flatMap(([dim, rule]) => [rule ?? []].flat().map(axis => `${name} ${dim} ${axis}`))
  return new Set([...of('compute', layout), ...of('params', params), ...of('state', state), ...of('gradients', gradients), ...Object.entries(layouts).flatMap(([name, rules]) => of(name, rules as Layout))])
}

/** What each axis does, whatever it is called and whichever comes first. */
function deeds({ mesh, layouts }: Priced): string {
  const rules = [...rulesIn(layouts)]
  return mesh.axes.map(a => `${a.size} ${rules.filter(r => r.endsWith(` ${a.name}`)).map(r => r.slice(0, -a.name.length)).sort().join()}`).sort().join(' | ')
}

/**
 * In their order, without those that take what another one takes, which says less and nothing else: dims that no tensor of the program has, or that ops have given another size; and of those that take the same to the last bit and whose
 * axes do the same, in another order or beside another policy of what is computed again, of which there is nothing, the first.
 */
export function distinct<P extends Priced>(candidates: readonly P[]): P[] {
  const alike = new Map<string, { readonly candidate: P; readonly rules: ReadonlySet<string> }[]>()
  const entries = candidates.map(candidate => {
    const key = `${candidate.cost.ms} ${candidate.cost.flops} ${candidate.bytes} ${candidate.mesh.axes.map(a => `${a.name}=${a.size}`).join()}`
    const entry = { candidate, rules: rulesIn(candidate.layouts), key }
    alike.set(key, [...alike.get(key) ?? [], entry])
    return entry
  })
  const says = (rules: ReadonlySet<string>, less: ReadonlySet<string>): boolean => less.size < rules.size && [...less].every(r => rules.has(r))
  const seen = new Set<string>()
  const isFirst = (candidate: P): boolean => {
    const key = `${candidate.cost.ms} ${candidate.cost.flops} ${candidate.bytes} ${deeds(candidate)}`
    return seen.size < seen.add(key).size
  }
  return entries.filter(({ candidate, rules, key }) => !(alike.get(key) ?? []).some(o => o.candidate.variant === candidate.variant && says(rules, o.rules))).map(e => e.candidate).filter(isFirst)
}
