/** Reading a config.json key by key: each is read, known to change nothing, or refused. */
import { UsageError } from '../../core/errors.ts'
import type { Json, JsonObject } from './architecture.ts'

/** Keys that change nothing of what a model computes, of any architecture: where it came from, what tools do with it, how text is written with it, how it was first drawn. */
const neutral: ReadonlySet<string> = new Set([
  'architectures', 'model_type', '_name_or_path', 'name_or_path', '_commit_hash', '_attn_implementation', '_attn_implementation_autoset', 'attn_implementation', 'transformers_version', 'adapters_version', 'torch_dtype', 'dtype', 'auto_map', 'custom_pipelines',
  'use_cache', 'return_dict', 'use_return_dict', 'output_attentions', 'output_hidden_states', 'output_past', 'gradient_checkpointing', 'chunk_size_feed_forward', 'torchscript', 'use_bfloat16', 'tf_legacy_loss', 'tokenizer_class', 'prefix', 'finetuning_task', 'task_specific_params', 'id2label', 'label2id',
  'initializer_range', 'initializer_factor', 'bos_token_id', 'eos_token_id', 'pad_token_id', 'sep_token_id', 'decoder_start_token_id', 'forced_bos_token_id', 'forced_eos_token_id', 'bad_words_ids', 'begin_suppress_tokens', 'suppress_tokens',
  'max_length', 'min_length', 'do_sample', 'early_stopping', 'num_beams', 'num_beam_groups', 'diversity_penalty', 'temperature', 'top_k', 'top_p', 'typical_p', 'repetition_penalty', 'length_penalty', 'no_repeat_ngram_size', 'encoder_no_repeat_ngram_size', 'num_return_sequences',
  'remove_invalid_values', 'exponential_decay_length_penalty', 'output_scores', 'return_dict_in_generate', 'language', 'model_max_length',
])

/** The value of a key in words. */
const shown = (value: Json | undefined): string => {
  const text = value === undefined ? 'missing' : JSON.stringify(value)
  return text.length > 60 ? `${text.slice(0, 57)}…` : text
}

export class ConfigReader {
  readonly #config: JsonObject
  readonly #read = new Set<string>()
  readonly #what: string

  /** @param what the architecture, for messages */
  constructor(config: JsonObject, what: string) {
    this.#config = config
    this.#what = what
  }

  /** The value; null counts as not given. */
  raw(key: string): Json | undefined {
    this.#read.add(key)
    return this.#config[key] ?? undefined
  }
  wrong(key: string, wanted: string): UsageError {
    const value = this.#config[key]
    return new UsageError({ code: 'model-config', what: `config.json of a ${this.#what}: ${key} is ${shown(value)}`, fix: `it must be ${wanted}` })
  }
  #of<T>(key: string, otherwise: T | undefined, wanted: string, fits: (x: Json) => x is T & Json): T {
    const value = this.raw(key)
    if (value === undefined && otherwise !== undefined) return otherwise
    if (value === undefined || !fits(value)) throw this.wrong(key, wanted)
    return value
  }
  /** A whole number of at least `least`, 1 unless said. */
  count(key: string, otherwise?: number, least = 1): number {
    return this.#of(key, otherwise, `a whole number of at least ${least}`, (x): x is number => Number.isSafeInteger(x) && (x as number) >= least)
  }
  number(key: string, otherwise?: number): number {
    return this.#of(key, otherwise, 'a number', (x): x is number => typeof x === 'number' && Number.isFinite(x))
  }
  /** A share to drop. */
  rate(key: string, otherwise: number): number {
    return this.#of(key, otherwise, 'a share from 0 to 0.9', (x): x is number => typeof x === 'number' && x >= 0 && x <= 0.9)
  }
  flag(key: string, otherwise?: boolean): boolean {
    return this.#of(key, otherwise, 'true or false', (x): x is boolean => typeof x === 'boolean')
  }
  text(key: string, otherwise?: string): string {
    return this.#of(key, otherwise, 'text', (x): x is string => typeof x === 'string')
  }
  /** What a table has for the text. */
  oneOf<T>(key: string, table: { readonly [name: string]: T }, otherwise?: string): T {
    const name = this.text(key, otherwise)
    const found = Object.hasOwn(table, name) ? table[name] : undefined
    if (found === undefined) throw this.wrong(key, `one of ${Object.keys(table).join(', ')}: others are not computed`)
    return found
  }
  /** A whole number or two, both at least 1: an image's or a patch's height and width. */
  pair(key: string, otherwise?: number): readonly [number, number] {
    const value = this.raw(key) ?? otherwise
    const [a, b] = Array.isArray(value) ? value as readonly Json[] : [value, value]
    const fits = (x: Json | undefined): x is number => Number.isSafeInteger(x) && (x as number) >= 1
    if (!fits(a) || !fits(b)) throw this.wrong(key, 'a whole number of at least 1, or two')
    return [a, b]
  }
  counts(key: string): readonly number[] {
    const value = this.raw(key)
    if (!Array.isArray(value) || value.length === 0 || !value.every(x => Number.isSafeInteger(x) && (x as number) >= 1)) throw this.wrong(key, 'a list of whole numbers of at least 1')
    return value as readonly number[]
  }
  /** Refuses every value but these; it may be left out where one of them is what that means. */
  only(key: string, ...values: readonly Json[]): void {
    const value = this.raw(key)
    if (value !== undefined && !values.some(v => JSON.stringify(v) === JSON.stringify(value))) throw this.wrong(key, `${values.map(shown).join(' or ')}, or left out: nothing else is computed`)
  }
  /** How many labels there are. */
  labels(): number {
    const [labels, number] = [this.raw('id2label'), this.raw('num_labels')]
    const counted = typeof labels === 'object' && labels !== null ? Object.keys(labels).length : undefined
    if (counted !== undefined && number !== undefined && number !== counted) throw this.wrong('num_labels', `${counted}, as many as id2label has`)
    return counted ?? this.count('num_labels', 2)
  }
  /** Names of keys that change nothing of this architecture. */
  idle(...keys: readonly string[]): void { for (const key of keys) this.#read.add(key) }
  /** @throws UsageError for a key that was not read and is not known to change nothing */
  done(): void {
    const left = Object.keys(this.#config).find(key => !this.#read.has(key) && !neutral.has(key) && this.#config[key] !== null)
    if (left !== undefined) {
      throw new UsageError({ code: 'model-config', what: `config.json of a ${this.#what}: ${left} is ${shown(this.#config[left])}, and what it means is not computed`, fix: 'take a model without it, or leave it out where it changes nothing' })
    }
  }
}
