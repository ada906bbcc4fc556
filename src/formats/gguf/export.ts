/** A model of Hugging Face's as a GGUF file, as llama.cpp's convert_hf_to_gguf.py makes it. */
import { FileError } from '../../core/errors.ts'
import type { StoredTensor } from '../stored.ts'
import { families, partOf, renamed, type Family, type Json, type JsonObject } from './architectures.ts'
import type { WrittenType } from './encode.ts'
import type { MetadataValue, ScalarType } from './metadata.ts'
import { interleaved, shifted, transposed } from './moved.ts'
import { llama3Factors } from './rope.ts'
import { writeGguf, type WriteOptions, type WrittenTensor } from './write.ts'

export interface GgufExport extends WriteOptions {
  /** As of `config.json`. */
  readonly config: JsonObject
  /** Under Hugging Face's names, in its order. */
  readonly tensors: ReadonlyMap<string, StoredTensor>
  /** What matrices become; vectors stay F32, and rows that are no whole blocks become F16. */
  readonly type: WrittenType
  /** Metadata of the tokenizer and the chat template, as `tokenizerMetadata` gives them. */
  readonly tokenizer?: Iterable<readonly [string, MetadataValue]> | undefined
  readonly name?: string | undefined
}

/** Options of `config.json` that GGUF's metadata have no word for, and the values that say what llama.cpp does anyway. */
const allowed: { readonly [key: string]: (value: Json, config: JsonObject) => boolean } = {
  hidden_act: v => v === 'silu', hidden_activation: v => v === 'gelu_pytorch_tanh', activation_function: v => v === 'gelu_new',
  use_sliding_window: v => v === false,
  query_pre_attn_scalar: (v, c) => v === headOf(c) || (typeof v === 'number' && v === Number(c['hidden_size']) / Number(c['num_attention_heads']) && [46, 62].includes(Number(c['num_hidden_layers']))),
  rope_local_base_freq: v => v === 10000,
  scale_attn_by_inverse_layer_idx: v => v === false, scale_attn_weights: v => v === true, reorder_and_upcast_attn: v => v === false,
}
const headOf = (config: JsonObject): number => Number(config['head_dim'] ?? Number(config['hidden_size'] ?? config['n_embd']) / Number(config['num_attention_heads'] ?? config['n_head']))

const fileTypes: { readonly [T in WrittenType]: number } = { F32: 0, F16: 1, Q4_0: 2, Q8_0: 7, BF16: 32 }

function familyFor(path: string, config: JsonObject): Family {
  const found = families.find(f => f.modelType === config['model_type'] || (f.gguf === 'gemma3' && config['model_type'] === 'gemma3') || (f.gguf === 'llama' && config['model_type'] === 'mistral'))
  if (found !== undefined) return found
  throw new FileError({ code: 'gguf-architecture', what: `${path}: a model of type ${JSON.stringify(config['model_type'] ?? null)} cannot be written as GGUF`, fix: `export it in Hugging Face's format; those that can are ${families.map(f => f.modelType).join(', ')}, mistral` })
}

/** @throws FileError where llama.cpp could not compute the model as its configuration has it, or the file cannot be written */
export async function exportGguf(path: string, { config, tensors, type, tokenizer = [], name, ...options }: GgufExport): Promise<{ readonly bytes: number; readonly tensors: number }> {
  const family = familyFor(path, config)
  const metadata = new Map<string, MetadataValue>([
    ['general.architecture', { type: 'string', value: family.gguf }], ['general.type', { type: 'string', value: 'model' }],
    ...name === undefined ? [] : [['general.name', { type: 'string', value: name }] as const], ...optionsOf(path, family, config),
    ['general.file_type', { type: 'u32', value: fileTypes[type] }], ['general.quantization_version', { type: 'u32', value: 2 }], ...tokenizer,
  ])
  const written: WrittenTensor[] = []
  for (const [hf, tensor] of tensors) {
    if (hf === 'lm_head.weight' && config['tie_word_embeddings'] === true) continue
    const gguf = renamed(family, hf, 'gguf') ?? renamed(family, hf.replace(/^(?=h\.|wte\.|wpe\.|ln_f\.)/, 'transformer.'), 'gguf')
    if (gguf === undefined) throw new FileError({ code: 'unknown-tensor', what: `${path}: GGUF's architecture ${family.gguf} has no tensor for "${hf}"`, fix: 'export it in Hugging Face\'s format' })
    written.push(stored(family, gguf, tensor, type, headOf(config)))
  }
  written.push(...ropeTensors(path, config))
  const { bytes } = await writeGguf(path, metadata, written, options)
  return { bytes, tensors: written.length }
}

function stored({ stored: kept }: Family, name: string, tensor: StoredTensor, type: WrittenType, head: number): WrittenTensor {
  const part = partOf(name)
  const moved = kept.interleaved?.includes(part) === true ? interleaved(tensor, head)
    : kept.oneMore?.test(name) === true ? shifted(tensor, 1)
      : kept.turned?.includes(part) === true && name.endsWith('.weight') ? transposed(tensor) : tensor
  const whole = (moved.shape.at(-1) ?? 0) % 32 === 0
  // Positions and whatever has one axis are few numbers that much hangs on.
  const flat = moved.shape.length < 2 || part === 'position_embd' || /_norm$/.test(part)
  return { name, tensor: moved, type: flat ? 'F32' : whole || !type.startsWith('Q') ? type : 'F16' }
}

function optionsOf(path: string, family: Family, config: JsonObject): [string, MetadataValue][] {
  const found: [string, MetadataValue][] = []
  const put = (key: string, type: ScalarType, value: Json | undefined): void => {
    if (value !== undefined && value !== null) found.push([`${family.gguf}.${key}`, { type, value: value as number }])
  }
  for (const [key, fits] of Object.entries(allowed)) {
    const value = config[key]
    if (value !== undefined && value !== null && !fits(value, config)) throw new FileError({ code: 'gguf-option', what: `${path}: ${key} is ${JSON.stringify(value)}, which a GGUF file cannot say`, fix: 'export it in Hugging Face\'s format' })
  }
  const layers = Number(config['num_hidden_layers'])
  const { layer_types: types } = config
  const sliding = family.sliding ?? ((): boolean => false)
  if (Array.isArray(types) && types.some((t, i) => (t === 'sliding_attention') !== sliding(i)) && !(family.gguf === 'llama' && types.every(t => t === 'full_attention'))) {
    throw new FileError({ code: 'gguf-option', what: `${path}: layer_types are not those that every ${family.gguf} of GGUF has`, details: { layers: String(layers) }, fix: 'export it in Hugging Face\'s format' })
  }
  const rope = (config['rope_parameters'] ?? {}) as JsonObject
  const flat: JsonObject = { ...config, rope_theta: config['rope_theta'] ?? rope['rope_theta'] ?? null, ...config['n_inner'] === null || config['n_inner'] === undefined ? { n_inner: 4 * Number(config['n_embd']) } : {} }
  const isGpt2 = family.gguf === 'gpt2'
  for (const { gguf, hf, type } of family.options) put(gguf, type, hf === 'head_dim' && !isGpt2 ? headOf(config) : flat[hf])
  if (isGpt2) return found
  if (family.gguf === 'llama' && typeof config['sliding_window'] === 'number') throw new FileError({ code: 'gguf-option', what: `${path}: sliding_window is ${config['sliding_window']}, which the architecture llama of GGUF does not have`, fix: 'export it in Hugging Face\'s format' })
  put('attention.value_length', 'u32', headOf(config))
  put('rope.dimension_count', 'u32', Math.floor(headOf(config) * Number(config['partial_rotary_factor'] ?? 1)))
  const scaling = scalingIn(config)
  const kind = scaling?.['rope_type'] ?? scaling?.['type'] ?? 'default'
  if (['linear', 'yarn', 'longrope'].includes(String(kind))) {
    put('rope.scaling.type', 'string', kind)
    put('rope.scaling.factor', 'f32', scaling?.['factor'])
    put('rope.scaling.original_context_length', 'u32', scaling?.['original_max_position_embeddings'] ?? config['original_max_position_embeddings'])
  } else if (!['default', 'llama3'].includes(String(kind))) {
    throw new FileError({ code: 'gguf-option', what: `${path}: a scaling of rotary positions of type ${JSON.stringify(kind)}, which a GGUF file cannot say`, fix: 'export it in Hugging Face\'s format' })
  }
  return found
}

const scalingIn = (config: JsonObject): JsonObject | undefined => (config['rope_scaling'] ?? config['rope_parameters'] ?? undefined) as JsonObject | undefined

/** What the scaling of rotary positions has tensors for. */
function ropeTensors(path: string, config: JsonObject): WrittenTensor[] {
  const scaling = scalingIn(config)
  const kind = scaling?.['rope_type'] ?? scaling?.['type']
  const tensorOf = (name: string, numbers: ArrayLike<number>): WrittenTensor => {
    const data = new Uint8Array(Float32Array.from(numbers).buffer)
    return { name: `${name}.weight`, type: 'F32', tensor: { dtype: 'f32', tag: 'F32', shape: [numbers.length], dims: undefined, read: (into, at) => { into.set(data.subarray(at, at + into.byteLength)); return Promise.resolve() } } }
  }
  if (scaling === undefined) return []
  if (kind === 'longrope') return [['rope_factors_long', scaling['long_factor']], ['rope_factors_short', scaling['short_factor']]].map(([name, factors]) => tensorOf(String(name), factors as number[]))
  if (kind !== 'llama3') return []
  const [factor, low, high, original] = ['factor', 'low_freq_factor', 'high_freq_factor', 'original_max_position_embeddings'].map(key => Number(scaling[key]))
  if (factor === undefined || low === undefined || high === undefined || original === undefined || ![factor, low, high, original].every(Number.isFinite)) throw new FileError({ code: 'gguf-option', what: `${path}: rope_scaling lacks a number`, fix: 'mend the configuration' })
  const base = Number(config['rope_theta'] ?? (config['rope_parameters'] as JsonObject | undefined)?.['rope_theta'] ?? 10000)
  return [tensorOf('rope_freqs', llama3Factors(headOf(config), base, { factor, low_freq_factor: low, high_freq_factor: high, original_max_position_embeddings: original }))]
}
