/** Transformations put together: one after another, under a name, in another dtype. */
import { isFloat, type DType } from '../core/dtype.ts'
import { isDType } from '../core/range.ts'
import { DimError } from '../core/errors.ts'
import { shown } from '../core/shown.ts'
import { userSite } from '../core/site.ts'
import type { Description } from './description.ts'
import { checkValue, usage, type Check } from './options.ts'
import { transformation, type Context, type Rule, type Transformation } from './optimizer.ts'
import type { Schedule } from './schedule.ts'
import { product } from './schedules.ts'
import { inDType, type SlotSet, type Specs } from './slots.ts'

export const aTransformation: Check = { fits: x => typeof x === 'object' && x !== null && 'rule' in x, fix: 'give a transformation, such as adamw(…) or clipByGlobalNorm(1)' }
export const label: Check = { fits: x => typeof x === 'string' && /^[A-Za-z_]\w*$/.test(x), fix: 'use letters, digits and "_"; begin with a letter' }

/** What all transformations of a list remember. */
export type SlotsOf<T extends readonly unknown[]> = T extends readonly [{ readonly rule: Rule<infer A> }, ...infer R] ? A & SlotsOf<R> : unknown

const slotNames = (of: Transformation): readonly string[] => Object.keys(of.rule.declare([]))
/** The rates of several, which are multiplied. */
const rateOf = (parts: readonly Transformation[]): { readonly rate?: Schedule } => {
  const [first, ...others] = parts.flatMap(p => (p.rate === undefined ? [] : [p.rate]))
  return first === undefined ? {} : { rate: others.length === 0 ? first : product(first, ...others) }
}

/**
 * One after another: each is given the updates of the one before, the first the gradients. Their slots lie side by side, by their names.
 * @throws UsageError for what is no transformation, and where two call a slot by one name
 */
export function chain<const T extends readonly Transformation[]>(...parts: T): Transformation<SlotsOf<T>> {
  return described({ name: 'chain', parts: parts.map(p => p?.description ?? null) }, ...parts)
}

/** A chain with a name and hyperparameters of its own. @throws UsageError as `chain` */
export function described<const T extends readonly Transformation[]>(description: Description, ...parts: T): Transformation<SlotsOf<T>> {
  for (const part of parts) checkValue(`${description.name}: a part`, part, aTransformation)
  const names = parts.map(slotNames)
  const twice = names.flat().find((name, i, all) => all.indexOf(name) !== i)
  if (twice !== undefined) throw usage(`${description.name}: two of its parts have a slot "${twice}"`, `give one of them a name of its own: under('other', …)`)
  const rule: Rule<SlotSet> = {
    description, ...rateOf(parts),
    declare: parameters => Object.assign({}, ...parts.map(p => p.rule.declare(parameters))) as Specs<SlotSet>,
    apply: (updates, slots, context) => {
      let now = updates
      const after: SlotSet[] = []
      for (const [i, part] of parts.entries()) {
        const own = Object.fromEntries((names[i] ?? []).flatMap(name => { const s = slots[name]; return s === undefined ? [] : [[name, s]] }))
        const next = part.rule.apply(now, own, context)
        now = next.updates
        after.push(next.slots)
      }
      return { updates: now, slots: Object.assign({}, ...after) as SlotSet }
    },
  }
  return transformation(rule) as unknown as Transformation<SlotsOf<T>>
}

/** The same, its slots under a name, so that two of a kind fit in one chain. @throws UsageError for a name that cannot be one */
export function under<const N extends string, S extends SlotSet>(name: N, of: Transformation<S>): Transformation<{ readonly [K in N]: S }> {
  checkValue('under: the name', name, label)
  checkValue('under', of, aTransformation)
  const inside = (x: S): { readonly [K in N]: S } => ({ [name]: x }) as { readonly [K in N]: S }
  return transformation<{ readonly [K in N]: S }>({
    description: { ...of.description, under: name }, ...rateOf([of as unknown as Transformation]),
    declare: parameters => ({ [name]: of.rule.declare(parameters) }) as Specs<{ readonly [K in N]: S }>,
    apply: (updates, slots, context) => {
      const next = of.rule.apply(updates, slots[name], context)
      return { updates: next.updates, slots: inside(next.slots) }
    },
  })
}

/**
 * The same, its slots of floats kept in another dtype than the parameters': bf16 to save memory, f32 where parameters are halves. It computes in f32, or f64 where something
 * is, and rounds once. @throws DimError for what is no dtype of floats
 */
export function withStateDtype<S extends SlotSet>(of: Transformation<S>, dtype: DType): Transformation<S> {
  checkValue('withStateDtype', of, aTransformation)
  if (!isDType(dtype) || !isFloat(dtype)) throw new DimError({ code: 'dtype', what: `withStateDtype: ${shown(dtype)} is no dtype of floats`, fix: 'give one of f32, bf16, f16, f64', at: userSite() })
  return transformation<S>({ ...of.rule, description: { ...of.description, stateDtype: dtype }, declare: parameters => inDType(of.rule.declare(parameters), dtype) })
}

/** A transformation that remembers nothing. */
export const stateless = (description: Description, apply: (updates: Parameters<Rule<SlotSet>['apply']>[0], context: Context) => ReturnType<Rule<SlotSet>['apply']>['updates'], rate?: Schedule): Transformation<Readonly<Record<never, never>>> =>
  transformation<Readonly<Record<never, never>>>({ description, declare: () => ({}), apply: (updates, slots, context) => ({ updates: apply(updates, context), slots }), ...(rate === undefined ? {} : { rate }) })
