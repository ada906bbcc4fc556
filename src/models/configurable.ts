/** Models that a configuration makes: each brings the schema that says what there is to set. */
import type { z } from 'zod'
import { inFull, type AnyModel, type Precision } from './model.ts'

/** What a run says of a model beside its configuration. */
export interface BuildOptions {
  /** Examples a step, all devices together. */
  readonly batch: number
  readonly precision: Precision
}
/** A kind of model. C is a whole configuration, I one as it may be given, with what has a default left out. */
export interface ModelKind<C, I, M> {
  /** What checkpoints and messages call it. */
  readonly name: string
  /** Every field of a configuration: `--set model.layers=6` is held to it. */
  readonly schema: z.ZodType<C, I>
  readonly build: (config: C, options: BuildOptions) => M
}
/** A kind of model with a configuration: what a recipe's `model` is, and builds once it knows its batch and its precision. */
export interface Configured<C, I, M> {
  readonly kind: ModelKind<C, I, M>
  readonly config: C
  readonly build: (options: { readonly batch: number; readonly precision?: Precision }) => M
  /** The same kind with another configuration, of which nothing is known yet: a recipe's with fields that the command line set. @throws z.ZodError */
  readonly with: (config: unknown) => Configured<C, I, M>
}

/** A kind of model as a recipe calls it. */
export type Configurable<C, I, M> = ((config: I) => Configured<C, I, M>) & { readonly kind: ModelKind<C, I, M> }

/**
 * Makes a kind of model configurable: a function from a configuration to what `defineRun` takes as a model. Calling it throws zod's error
 * for a configuration that does not fit the schema; its `kind` has the schema, for messages in a run's own words.
 */
export function configurable<C, I, M extends AnyModel>(kind: ModelKind<C, I, M>): Configurable<C, I, M> {
  const made = (given: unknown): Configured<C, I, M> => {
    const config = kind.schema.parse(given)
    return { kind, config, build: ({ batch, precision = inFull }) => kind.build(config, { batch, precision }), with: made }
  }
  return Object.assign((config: I) => made(config), { kind })
}
