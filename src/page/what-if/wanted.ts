/** What is wanted otherwise than a run has it: rules and numbers, how dragging changes them, and the command line's words for it. */
import type { LayoutShown, PagePlan } from '../../train/pictured-shape.ts'
import type { Flags } from '../plan/use-plan.ts'

export interface Rules { readonly [dim: string]: readonly string[] }
/** A layout's own rules; `from` stands where a run says it. */
export interface Own { readonly from?: string; readonly rules: Rules }
export interface Wanted {
  readonly mesh: { readonly [axis: string]: number }
  /** By the names of layouts: compute, params, state, gradients, and those that the model uses. */
  readonly layouts: { readonly [name: string]: Own }
  readonly batch: number
  readonly microbatches: number
  readonly remat: string
}

const roles = ['params', 'state', 'gradients'] as const
const entries = Object.entries

/** What a run has itself. */
export function wantedOf({ run, layouts, plan }: Pick<PagePlan, 'run' | 'layouts' | 'plan'>): Wanted {
  const given = (name: string): { readonly from?: string } => (name === 'compute' ? {} : (roles as readonly string[]).includes(name) ? run[name] as { readonly from?: string } : (run['layouts'] as { readonly [name: string]: { readonly from?: string } })[name]) ?? {}
  return {
    mesh: plan.mesh, batch: Number(run['batch']), microbatches: Number(run['microbatches']), remat: String(run['remat']),
    layouts: Object.fromEntries(layouts.map(({ name, own }) => { const { from } = given(name); return [name, { ...(typeof from === 'string' ? { from } : {}), rules: own }] })),
  }
}

/** All rules that hold in a layout; a layout starts from where the plan had it start. */
export function rulesIn(wanted: Wanted, name: string, layouts: readonly LayoutShown[]): Rules {
  const [shown, own] = [layouts.find(l => l.name === name), wanted.layouts[name]]
  const from = own?.from ?? shown?.from ?? undefined
  return { ...(from === undefined || from === name ? {} : rulesIn(wanted, from, layouts)), ...own?.rules }
}

const withRules = (wanted: Wanted, name: string, rules: Rules): Wanted => ({ ...wanted, layouts: { ...wanted.layouts, [name]: { ...wanted.layouts[name], rules } } })

/** A dim is laid on an axis, beside those that it lies on; `off` is the axis that it is taken from. */
export function laid(wanted: Wanted, layouts: readonly LayoutShown[], name: string, dim: string, axis: string, off?: string): Wanted {
  const now = (rulesIn(wanted, name, layouts)[dim] ?? []).filter(a => a !== off)
  return withRules(wanted, name, { ...wanted.layouts[name]?.rules, [dim]: now.includes(axis) ? now : [...now, axis] })
}

/** A dim is taken off an axis. A rule of a layout that this one starts from is taken back by an empty one. */
export function lifted(wanted: Wanted, layouts: readonly LayoutShown[], name: string, dim: string, axis: string): Wanted {
  const left = (rulesIn(wanted, name, layouts)[dim] ?? []).filter(a => a !== axis)
  const { [dim]: _, ...others } = wanted.layouts[name]?.rules ?? {}
  const without = withRules(wanted, name, others)
  const inherited = rulesIn(without, name, layouts)[dim] ?? []
  return left.length === inherited.length && left.every((a, i) => a === inherited[i]) ? without : withRules(wanted, name, { ...others, ...(left.length === 0 && inherited.length === 0 ? {} : { [dim]: left }) })
}

/** An axis has another size, or is there at all; without it, no rule speaks of it. */
export function resized(wanted: Wanted, axis: string, size: number | undefined): Wanted {
  if (size !== undefined) return { ...wanted, mesh: { ...wanted.mesh, [axis]: size } }
  const { [axis]: _, ...mesh } = wanted.mesh
  const layouts = Object.fromEntries(entries(wanted.layouts).map(([name, own]) => [name, { ...own, rules: Object.fromEntries(entries(own.rules).flatMap(([dim, axes]): (readonly [string, readonly string[]])[] => {
    const left = axes.filter(a => a !== axis)
    return left.length === 0 && axes.length > 0 ? [] : [[dim, left]]
  })) }]))
  return { ...wanted, mesh, layouts }
}

/** The dim that FSDP would cut: one that no rule lays, of which most parameters have a part; `embed` where that is one. */
export function freeDim({ tensors, dims }: Pick<PagePlan, 'tensors' | 'dims'>, taken: Rules): string | undefined {
  const share = new Map<string, number>()
  for (const t of tensors) if (t.of === 'parameters') for (const d of Object.keys(t.dims)) if (taken[d] === undefined || taken[d].length === 0) share.set(d, (share.get(d) ?? 0) + t.bytes)
  return share.has('embed') ? 'embed' : [...share].filter(([d]) => dims[d] !== undefined).sort((a, b) => b[1] - a[1])[0]?.[0]
}

const sameRules = (a: Own | undefined, b: Own | undefined): boolean => a?.from === b?.from && JSON.stringify(entries(a?.rules ?? {})) === JSON.stringify(entries(b?.rules ?? {}))
const plain = ({ from, rules }: Own): object => ({ ...(from === undefined ? {} : { from }), ...Object.fromEntries(entries(rules).map(([dim, axes]) => [dim, axes.length === 1 ? axes[0] : axes])) })
const asFlag = (rules: Rules): string => entries(rules).flatMap(([dim, axes]) => axes.map(axis => `${dim}=${axis}`)).join(',')
/** Whether a flag can say it: a rule that takes another back, and where a layout starts, are fields. */
const isFlag = ({ from, rules }: Own): boolean => from === undefined && entries(rules).length > 0 && entries(rules).every(([, axes]) => axes.length > 0)

/** What is wanted otherwise, as the command line's flags. */
export function flagsOf(base: Wanted, wanted: Wanted): Flags {
  const set: string[] = []
  const flags: { mesh?: string; layout?: string; params?: string; state?: string } = {}
  if (JSON.stringify(entries(base.mesh)) !== JSON.stringify(entries(wanted.mesh))) {
    if (entries(wanted.mesh).length === 0) set.push('mesh={}')
    else flags.mesh = entries(wanted.mesh).map(([axis, n]) => `${axis}=${n}`).join(',')
  }
  for (const [name, flag] of [['compute', 'layout'], ['params', 'params'], ['state', 'state'], ['gradients', undefined]] as const) {
    const own = wanted.layouts[name] ?? { rules: {} }
    // A layout that starts from none has no rule to take back.
    const said = name === 'compute' ? { rules: Object.fromEntries(entries(own.rules).filter(([, axes]) => axes.length > 0)) } : own
    if (sameRules(base.layouts[name], said)) continue
    if (flag !== undefined && isFlag(said)) flags[flag] = asFlag(said.rules)
    else set.push(`${flag ?? name}=${JSON.stringify(plain(said))}`)
  }
  const named = Object.keys(wanted.layouts).filter(name => name !== 'compute' && !(roles as readonly string[]).includes(name))
  if (named.some(name => !sameRules(base.layouts[name], wanted.layouts[name]))) {
    set.push(`layouts=${JSON.stringify(Object.fromEntries(named.flatMap(name => { const own = wanted.layouts[name]; return own === undefined || (own.from === undefined && entries(own.rules).length === 0) ? [] : [[name, plain(own)]] })))}`)
  }
  for (const field of ['batch', 'microbatches', 'remat'] as const) if (base[field] !== wanted[field]) set.push(`${field}=${wanted[field]}`)
  return { ...flags, ...(set.length === 0 ? {} : { set }) }
}

const word = (text: string): string => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll('\'', '\'\\\'\'')}'`)
/** The flags as they are typed; `of` is a recipe's name, or a folder that a shell can take, `machine` what a step's time is of. */
export const lineOf = (of: string, flags: Flags, machine?: string): string => [
  `npx meshwork plan ${of}`, ...(['mesh', 'layout', 'params', 'state'] as const).flatMap(f => (flags[f] === undefined ? [] : [`--${f} ${word(flags[f])}`])), ...(machine === undefined ? [] : [`--machine ${word(machine)}`]),
  ...(flags.set === undefined ? [] : ['--set', ...flags.set.map(word)]),
].join(' ')
