/** Reading `config.json`: every key is asked for, known to change nothing, or refused. */
import { UsageError } from '../../core/errors.ts'
import { shown } from '../../core/shown.ts'
import type { Json, JsonObject } from './architecture.ts'

/** Keys of any architecture that change nothing in what a model computes from its weights and what it is given. */
const idle: ReadonlySet<string> = new Set([
  // Who wrote it, and what it is called.
  'architectures', 'model_type', 'transformers_version', '_name_or_path', 'name_or_path', 'auto_map', '_commit_hash', '_attn_implementation_autoset', 'attn_implementation', '_attn_implementation', 'finetuning_task',
  'task_specific_params', 'tokenizer_class', 'custom_pipelines', 'unsloth_version', 'unsloth_fixed', 'transformers.js_config',
  // How weights lie in files and in memory: files say themselves.
  'torch_dtype', 'dtype', 'torchscript', 'pretraining_tp', 'pruned_heads', 'use_bfloat16', 'tie_encoder_decoder',
  // What is returned, and what is kept between calls.
  'use_cache', 'return_dict', 'return_dict_in_generate', 'output_attentions', 'output_hidden_states', 'output_scores', 'cache_implementation', 'chunk_size_feed_forward', 'cross_attention_hidden_size', 'tie_last_hidden_states',
  'is_llama_config', 'rope_interleaved',
  // Tokens that a tokenizer and whoever generates must know.
  'bos_token_id', 'eos_token_id', 'pad_token_id', 'sep_token_id', 'cls_token_id', 'mask_token_id', 'decoder_start_token_id', 'forced_bos_token_id', 'forced_eos_token_id', 'bad_words_ids', 'prefix', 'suffix', 'begin_suppress_tokens', 'suppress_tokens',
  // How text is generated.
  'max_length', 'min_length', 'max_new_tokens', 'do_sample', 'early_stopping', 'num_beams', 'num_beam_groups', 'diversity_penalty', 'temperature', 'top_k', 'top_p', 'typical_p', 'repetition_penalty', 'length_penalty', 'no_repeat_ngram_size',
  'encoder_no_repeat_ngram_size', 'num_return_sequences', 'remove_invalid_values', 'exponential_decay_length_penalty',
  // What weights are drawn as before any are read, and names of classes where there is no head for them.
  'initializer_range', 'initializer_factor', 'id2label', 'label2id', 'num_labels', 'problem_type',
])

/** What a key may have: a check, and how it is called in a message. */
interface Kind<T> { readonly is: (x: Json) => x is T & Json; readonly called: string }
const whole: Kind<number> = { is: (x): x is number => typeof x === 'number' && Number.isSafeInteger(x) && x >= 1 && x < 2 ** 31, called: 'a whole number above 0' }
const real: Kind<number> = { is: (x): x is number => typeof x === 'number' && Number.isFinite(x), called: 'a number' }
const truth: Kind<boolean> = { is: (x): x is boolean => typeof x === 'boolean', called: 'true or false' }
const isObject = (x: Json | undefined): x is JsonObject => typeof x === 'object' && x !== null && !Array.isArray(x)
const told = (x: Json): string => (typeof x === 'object' && x !== null ? JSON.stringify(x).slice(0, 80) : shown(x))

/** A configuration as it is read. A key that is null counts as missing. What has no fallback must be there. */
export interface Settings {
  readonly modelType: string
  /** A whole number above 0. */
  readonly count: (key: string, fallback?: number) => number
  readonly number: (key: string, fallback?: number) => number
  readonly flag: (key: string, fallback?: boolean) => boolean
  readonly oneOf: <const V extends string>(key: string, among: readonly V[], fallback?: V) => V
  /** As many numbers; undefined where there is no list. */
  readonly numbers: (key: string, length: number) => readonly number[] | undefined
  /** As many words of some; undefined where there is no list. */
  readonly words: <const V extends string>(key: string, length: number, among: readonly V[]) => readonly V[] | undefined
  /** The settings under a key; undefined where there are none. */
  readonly within: (key: string) => Settings | undefined
  /** The value as it is, null as undefined. */
  readonly raw: (key: string) => Json | undefined
  /** Whether there is such a key, with a value other than null. */
  readonly has: (key: string) => boolean
  /** Whether there is such a key, though it be null. */
  readonly given: (key: string) => boolean
  /** Keys whose values are of no matter here, though elsewhere they may be. */
  readonly ignore: (...keys: readonly string[]) => void
  /** Refuses a value other than these of a key that is there: nothing else is computed. */
  readonly only: (key: string, ...values: readonly Json[]) => void
  /** An error about a key. */
  readonly wrong: (key: string, fix: string) => UsageError
  /** @throws UsageError for the first key that nobody asked for */
  readonly done: () => void
}

/** Every method throws a UsageError that names the key. `where` is what the keys lie in: `config.json`. */
export function settingsOf(config: JsonObject, modelType: string, where = 'config.json'): Settings {
  const asked = new Set<string>()
  const nested = new Map<string, Settings>()
  const at = (key: string): Json | undefined => {
    asked.add(key)
    return Object.hasOwn(config, key) ? config[key] ?? undefined : undefined
  }
  const wrong = (key: string, fix: string): UsageError => {
    const value = Object.hasOwn(config, key) ? config[key] : undefined
    return new UsageError({ code: 'model-config', what: `${where}: ${key} is ${value === undefined ? 'missing' : told(value)}`, details: { model: modelType }, fix })
  }
  const read = <T>(key: string, kind: Kind<T>, fallback: T | undefined): T => {
    const value = at(key)
    if (value === undefined && fallback !== undefined) return fallback
    if (value === undefined || !kind.is(value)) throw wrong(key, `give it ${kind.called}`)
    return value
  }
  const list = <T>(key: string, length: number, item: Kind<T>): readonly T[] | undefined => {
    const value = at(key)
    if (value === undefined) return undefined
    if (!Array.isArray(value) || value.length !== length || !value.every((x: Json) => item.is(x))) throw wrong(key, `give it a list of ${length}, each ${item.called}`)
    return value as readonly T[]
  }
  const found: Settings = {
    modelType, wrong, raw: at,
    count: (key, fallback) => read(key, whole, fallback),
    number: (key, fallback) => read(key, real, fallback),
    flag: (key, fallback) => read(key, truth, fallback),
    oneOf: (key, among, fallback) => read(key, { is: (x): x is typeof among[number] => (among as readonly Json[]).includes(x), called: `one of ${among.join(', ')}: others are not computed` }, fallback),
    numbers: (key, length) => list(key, length, real),
    words: (key, length, among) => list(key, length, { is: (x): x is typeof among[number] => (among as readonly Json[]).includes(x), called: `one of ${among.join(', ')}` }),
    within: key => {
      const value = at(key)
      if (value === undefined) return undefined
      if (!isObject(value)) throw wrong(key, 'give it an object')
      const inner = nested.get(key) ?? settingsOf(value, modelType, `${where}: ${key}`)
      nested.set(key, inner)
      return inner
    },
    has: key => Object.hasOwn(config, key) && config[key] !== null && config[key] !== undefined,
    given: key => Object.hasOwn(config, key),
    ignore: (...keys) => { for (const key of keys) asked.add(key) },
    only: (key, ...values) => {
      const value = at(key)
      if (value !== undefined && !values.some(v => v === value)) throw wrong(key, values.length === 0 ? 'take it away: it is not computed' : `it can only be ${values.map(told).join(' or ')}: nothing else is computed`)
    },
    done: () => {
      const left = Object.keys(config).find(key => !asked.has(key) && !idle.has(key) && config[key] !== null)
      if (left !== undefined) throw wrong(left, 'this option is not computed: take it away only if the model is the same without it')
      for (const inner of nested.values()) inner.done()
    },
  }
  return found
}
