/** What joins a model of ours to the same model as Hugging Face's tools know it: its configuration and its tensors' names, in both directions. */
import type { Schema } from '../../core/configurable.ts'
import type { Naming } from '../../core/naming.ts'
import type { PlainObject as JsonObject } from '../../core/plain.ts'
import type { BuildOptions, Configurable } from '../configurable.ts'
import type { AnyModel } from '../model.ts'

export type { Plain as Json, PlainObject as JsonObject } from '../../core/plain.ts'

/** What `config.json` does not say of a model that is to be built. */
export interface Wanted {
  /** Tokens in a window, where it consists of tokens. */
  readonly seq: number
  /** Windows hold several documents. */
  readonly packed?: boolean
  /** Targets of −100 do not count. */
  readonly masked?: boolean
}

/** C is a whole configuration of ours, I one as it may be given. */
export interface Architecture<C, I, M extends AnyModel> {
  /** Of `config.json`: `llama`, `gpt2`, `bert`. */
  readonly modelType: string
  /** Of `config.json`'s `architectures`: the models that it stands for, the first where none is named. */
  readonly classes: readonly string[]
  readonly kind: Configurable<C, I, M>
  /**
   * Our configuration of theirs. Every key is read, known to change nothing, or refused.
   * @throws UsageError that names an option which is not computed, or a value that is missing or none
   */
  readonly fromConfig: (config: JsonObject, wanted: Wanted) => I
  /** Theirs of ours, as `transformers` reads it. */
  readonly toConfig: (config: C) => JsonObject
  readonly names: (config: C) => Naming
  /** Where one kind of model is several architectures: whether a configuration is of this one. */
  readonly isOf?: (config: C) => boolean
}
/** Some architecture: its configurations are what its own schema makes of something. */
export type AnyArchitecture = Omit<Architecture<never, never, AnyModel>, 'kind' | 'fromConfig'> & {
  readonly kind: { readonly kind: { readonly name: string; readonly schema: Schema<unknown, unknown>; readonly build: (config: never, options: BuildOptions) => AnyModel } }
  readonly fromConfig: (config: JsonObject, wanted: Wanted) => unknown
}
