/** Some parameters this way, others that way, and some not at all. */
import { shown } from '../core/shown.ts'
import { full, loose } from '../graph/tensor.ts'
import { aTransformation, label as aLabel } from './chain.ts'
import { byParameterOr, type Plain } from './description.ts'
import { transformation, type Context, type Rule, type Transformation } from './optimizer.ts'
import { aFunction, checkValue, usage } from './options.ts'
import { chosen, only, which, type ByPath, type Parameter, type Which } from './parameters.ts'
import type { SlotSet } from './slots.ts'

/** The context of some of the parameters. */
const within = (context: Context, paths: ReadonlySet<string>): Context =>
  ({ ...context, params: only(context.params, paths), parameters: context.parameters.filter(p => paths.has(p.path)) })

/**
 * Without the parameters that are chosen: they have no slots, their gradients count in no norm, and nothing is subtracted from them. Around a whole chain
 * it freezes for all of it. @throws UsageError for a path that no parameter has
 */
export function freeze<S extends SlotSet>(frozen: Which, of: Transformation<S>): Transformation<S> {
  checkValue('freeze: the parameters', frozen, which)
  checkValue('freeze: what trains the others', of, aTransformation)
  const others = (parameters: readonly Parameter[]): readonly Parameter[] => {
    const still = chosen('freeze', frozen, parameters)
    return parameters.filter(p => !still.has(p.path))
  }
  return transformation<S>({
    ...of.rule, description: { ...of.description, frozen: byParameterOr(frozen) },
    declare: parameters => of.rule.declare(others(parameters)),
    apply: (updates, slots, context) => {
      const moving = new Set(others(context.parameters).map(p => p.path))
      const next = of.rule.apply(only(updates, moving), slots, within(context, moving))
      const still: ByPath = Object.fromEntries(context.parameters.filter(p => !moving.has(p.path)).map(p => [p.path, loose(full(0, p.shape, context.dtype))]))
      return { updates: { ...next.updates, ...still }, slots: next.slots }
    },
  })
}

/** What each of several transformations remembers, under its label. */
export type SlotsByLabel<T> = { readonly [K in keyof T]: T[K] extends { readonly rule: Rule<infer S> } ? S : never }

/**
 * Each parameter by the transformation that `choose` names for it; slots lie under the labels. The first one's rate is what metrics show.
 * @throws UsageError for labels that there are not
 */
export function byParameter<const T extends { readonly [label: string]: Transformation }>(choose: (parameter: Parameter) => NoInfer<keyof T & string>, by: T): Transformation<SlotsByLabel<T>> {
  checkValue('byParameter: what chooses', choose, aFunction)
  const labels = Object.keys(by)
  return grouped('byParameter', parameters => {
    const found = new Map<string, Set<string>>()
    for (const p of parameters) {
      const label = choose(p)
      if (!labels.includes(label)) throw usage(`byParameter: "${p.path}" is to go by ${shown(label)}, which there is not`, `return one of ${labels.map(l => `"${l}"`).join(', ')}`)
      found.set(label, (found.get(label) ?? new Set()).add(p.path))
    }
    return found
  }, by)
}

/** The same, the parameters of each label found together. */
export function grouped<const T extends { readonly [label: string]: Transformation }>(
  name: string, groups: (parameters: readonly Parameter[]) => ReadonlyMap<string, ReadonlySet<string>>, by: T,
): Transformation<SlotsByLabel<T>> {
  const parts = Object.entries<Transformation>(by)
  if (parts.length === 0) throw usage(`${name}: there is nothing to choose from`, 'give transformations by label: { muon: …, adamw: … }')
  for (const [label, of] of parts) {
    checkValue(`${name}: a label`, label, aLabel)
    checkValue(`${name}: ${label}`, of, aTransformation)
  }
  const none: ReadonlySet<string> = new Set()
  const first = parts.find(([, of]) => of.rate !== undefined)?.[1].rate
  const description: { readonly [label: string]: Plain } = Object.fromEntries(parts.map(([label, of]) => [label, of.description]))
  return transformation<SlotSet>({
    description: { name, by: description }, ...first === undefined ? {} : { rate: first },
    declare: parameters => {
      const of = groups(parameters)
      return Object.fromEntries(parts.map(([label, part]) => [label, part.rule.declare(parameters.filter(p => of.get(label)?.has(p.path) === true))]))
    },
    apply: (updates, slots, context) => {
      const of = groups(context.parameters)
      const next = parts.map(([label, part]) => {
        const paths = of.get(label) ?? none
        return [label, part.rule.apply(only(updates, paths), slots[label] as SlotSet, within(context, paths))] as const
      })
      return { updates: Object.assign({}, ...next.map(([, n]) => n.updates)) as ByPath, slots: Object.fromEntries(next.map(([label, n]) => [label, n.slots])) }
    },
  }) as unknown as Transformation<SlotsByLabel<T>>
}
