/** Parts of a run that a configuration makes: models, optimizers, data. Each kind brings the schema that says what there is to set. */
import { fieldError, type Described, type Issue } from './fields.ts'

/** What a configuration is held to; zod's schemas are such. C is a whole configuration, I one as it may be given, with what has a default left out. */
export interface Schema<C, I> { readonly _output: C; readonly _input: I; parse(value: unknown): C }

export interface Kind<C, I, V, O> {
  /** What checkpoints and messages call it. */
  readonly name: string
  /** Every field of a configuration: `--set model.layers=6` is held to it. */
  readonly schema: Schema<C, I>
  /** `options` are what the run says beside the configuration. */
  readonly build: (config: C, options: O) => V
}
/** A kind with a configuration: what a recipe holds, and what is built of it once the rest of the run is known. */
export interface Configured<C, I, V, O> {
  readonly kind: Kind<C, I, V, O>
  readonly config: C
  readonly build: (options: O) => V
  /** The same kind with another configuration, of which nothing is known yet: a recipe's with fields that the command line set. @throws UsageError naming the field */
  readonly with: (config: unknown) => Configured<C, I, V, O>
}

/** A kind as a recipe calls it. */
export type Configurable<C, I, V, O> = ((config: I) => Configured<C, I, V, O>) & { readonly kind: Kind<C, I, V, O> }

/** Calling what this returns throws a UsageError that names the field of a configuration that does not fit its schema; its `kind` has the schema, for messages in a run's own words. */
export function configurable<C, I, V, O>(kind: Kind<C, I, V, O>): Configurable<C, I, V, O> {
  const made = (given: unknown): Configured<C, I, V, O> => {
    const config = checked(kind, given)
    return { kind, config, build: options => kind.build(config, options), with: made }
  }
  return Object.assign((config: I) => made(config), { kind })
}

function checked<C>({ name, schema }: { readonly name: string; readonly schema: Schema<C, unknown> }, given: unknown): C {
  try {
    return schema.parse(given)
  } catch (cause) {
    const issues: unknown = cause instanceof Error && 'issues' in cause ? cause.issues : undefined
    if (!Array.isArray(issues)) throw cause
    throw fieldError(schema as Described, given, issues[0] as Issue | undefined, `the recipe: ${name}`, name, cause)
  }
}

/** Some configured part, of whatever kind: what makes a V. */
export interface Part<V, O> {
  readonly kind: { readonly name: string; readonly schema: Schema<unknown, unknown> }
  readonly config: unknown
  readonly build: (options: O) => V
  readonly with: (config: unknown) => Part<V, O>
}
/** Whether a value is a configured part, and not what one makes. */
export const isPart = <V, O>(x: V | Part<V, O>): x is Part<V, O> => typeof x === 'object' && x !== null && 'kind' in x && 'with' in x && 'config' in x
