/** Models that a configuration makes: what `defineRun` takes as a model, and builds once it knows its batch and its precision. */
import * as core from '../core/configurable.ts'
import type { AnyModel, Precision } from './model.ts'

/** What a run says of a model beside its configuration. */
export interface BuildOptions {
  /** Examples a step, all devices together. */
  readonly batch: number
  /** f32 throughout unless said. */
  readonly precision?: Precision
}
/** A kind of model. C is a whole configuration, I one as it may be given, with what has a default left out. */
export type ModelKind<C, I, M> = core.Kind<C, I, M, BuildOptions>
export type Configured<C, I, M> = core.Configured<C, I, M, BuildOptions>
/** A kind of model as a recipe calls it. */
export type Configurable<C, I, M> = core.Configurable<C, I, M, BuildOptions>

/** Makes a kind of model configurable: a function from a configuration to what a recipe's `model` is. It throws a UsageError that names the field of a configuration that does not fit the schema. */
export const configurable = <C, I, M extends AnyModel>(kind: ModelKind<C, I, M>): Configurable<C, I, M> => core.configurable(kind)

/** A configuration C as it may be given: what has a default, D, may be left out. */
export type Given<C, D extends keyof C> = Omit<C, D> & { readonly [F in D]?: C[F] | undefined }
