/** A GGUF file's metadata as the `config.json` that transformers reads. */
import { FileError } from '../../core/errors.ts'
import type { StoredTensor } from '../stored.ts'
import { families, type Family, type Json, type JsonObject } from './architectures.ts'
import type { GgufFile } from './open.ts'
import { llama3Scaling, scalingOf } from './rope.ts'
import { shortest, unfit, valuesOf, type Values } from './values.ts'

/** Keys behind `<architecture>.` that change nothing: they repeat others, or say what only llama.cpp asks. */
const idle = ['rope.dimension_count', 'attention.value_length', 'tensor_data_layout', 'rope.scaling.finetuned', 'rope.scaling.type', 'rope.scaling.factor', 'rope.scaling.original_context_length', 'rope.scaling.attn_factor', 'attention.causal', 'expert_count', 'expert_used_count']

/** @throws FileError for an architecture that has no counterpart here */
export function familyOf(path: string, values: Values): Family {
  const name = values.text('general.architecture')
  if (name === undefined) throw unfit(path, 'general.architecture', 'is missing: it does not say what model it is')
  const found = families.find(f => f.gguf === name)
  if (found !== undefined) return found
  throw new FileError({ code: 'gguf-architecture', what: `${path} is a model of architecture "${name}", which is not read here`, fix: `give one of ${families.map(f => f.gguf).join(', ')}; or the model in Hugging Face's format` })
}

async function floats({ shape, read }: StoredTensor): Promise<Float32Array> {
  const into = new Float32Array(shape.reduce((n, size) => n * size, 1))
  await read(new Uint8Array(into.buffer), 0)
  return into
}

/** @throws FileError where an option is missing, of another kind, or one that is not known */
export async function configOf(file: Pick<GgufFile, 'path' | 'metadata' | 'tensors'>): Promise<JsonObject> {
  const { path, tensors } = file
  const values = valuesOf(path, file.metadata)
  const family = familyOf(path, values)
  const arch = family.gguf
  const known = new Set([...family.options.map(o => o.gguf), ...idle].map(key => `${arch}.${key}`))
  const other = values.keys.find(key => key.startsWith(`${arch}.`) && !known.has(key))
  if (other !== undefined) throw unfit(path, other, 'is an option that is not known here', 'give the model in Hugging Face\'s format')
  if ((values.number(`${arch}.expert_count`) ?? 0) > 0) throw unfit(path, `${arch}.expert_count`, `is ${values.number(`${arch}.expert_count`)}: a model of experts`, 'give the model in Hugging Face\'s format')
  const config: Record<string, Json> = { architectures: [family.className], model_type: family.modelType, ...family.constants }
  for (const { gguf, hf, type, needed } of family.options) {
    const key = `${arch}.${gguf}`
    const value = type === 'bool' ? values.truth(key) : values.number(key)
    if (value !== undefined) config[hf] = value
    else if (needed === true) throw unfit(path, key, 'is missing')
    if (type === 'u32' && value !== undefined && !(Number.isSafeInteger(value) && Number(value) >= 0)) throw unfit(path, key, `is ${value}`)
  }
  config['vocab_size'] ??= tensors.get('token_embd.weight')?.shape[0] ?? values.texts('tokenizer.ggml.tokens')?.length ?? 0
  for (const [hf, gguf] of [['bos_token_id', 'bos'], ['eos_token_id', 'eos'], ['pad_token_id', 'padding']] as const) {
    const id = values.number(`tokenizer.ggml.${gguf}_token_id`)
    if (id !== undefined) config[hf] = id
  }
  config['tie_word_embeddings'] = !tensors.has('output.weight')
  if (family.modelType !== 'gpt2') await decoderOptions(path, values, family, tensors, config)
  return config
}

async function decoderOptions(path: string, values: Values, family: Family, tensors: GgufFile['tensors'], config: Record<string, Json>): Promise<void> {
  const arch = family.gguf
  const number = (key: string): number => Number(config[key])
  config['num_key_value_heads'] ??= number('num_attention_heads')
  const head = config['head_dim'] === undefined ? number('hidden_size') / number('num_attention_heads') : number('head_dim')
  if (!Number.isInteger(head) || head % 2 !== 0 || head === 0) throw unfit(path, `${arch}.attention.head_count`, `is ${number('num_attention_heads')}, which does not divide ${number('hidden_size')} into heads of an even size`)
  const value = values.number(`${arch}.attention.value_length`)
  if (value !== undefined && value !== head) throw unfit(path, `${arch}.attention.value_length`, `is ${value}, and a head's keys have ${head}`, 'give the model in Hugging Face\'s format')
  config['head_dim'] = head
  config['rope_theta'] ??= 10000
  const turned = values.number(`${arch}.rope.dimension_count`)
  if (turned !== undefined && turned !== head) {
    if (family.modelType !== 'phi3') throw unfit(path, `${arch}.rope.dimension_count`, `is ${turned}, and heads have ${head}`, 'give the model in Hugging Face\'s format')
    config['partial_rotary_factor'] = turned / head
  }
  if (['llama', 'qwen3', 'gemma2', 'gemma3_text', 'olmo2'].includes(family.modelType)) config['attention_bias'] = tensors.has('blk.0.attn_q.bias')
  if (family.modelType === 'llama') config['mlp_bias'] = tensors.has('blk.0.ffn_up.bias')
  const { sliding, scaledByWidth } = family
  const layers = number('num_hidden_layers')
  if (sliding !== undefined) {
    if (layers > 2 ** 16) throw unfit(path, `${arch}.block_count`, `is ${layers}`)
    config['layer_types'] = Array.from({ length: layers }, (_, i) => (sliding(i) ? 'sliding_attention' : 'full_attention'))
  }
  if (scaledByWidth !== undefined) config['query_pre_attn_scalar'] = layers === scaledByWidth ? number('hidden_size') / number('num_attention_heads') : head
  if (family.modelType === 'phi3' && config['sliding_window'] === 0) config['sliding_window'] = null
  config['rope_scaling'] = await ropeOf(path, arch, values, tensors, config, head) ?? null
}

async function ropeOf(path: string, arch: string, values: Values, tensors: GgufFile['tensors'], config: Record<string, Json>, head: number): Promise<JsonObject | undefined> {
  const [freqs, long, short] = ['rope_freqs', 'rope_factors_long', 'rope_factors_short'].map(name => tensors.get(`${name}.weight`))
  const turned = (values.number(`${arch}.rope.dimension_count`) ?? head) / 2
  for (const [tensor, name] of [[freqs, 'rope_freqs'], [long, 'rope_factors_long'], [short, 'rope_factors_short']] as const) {
    if (tensor !== undefined && (tensor.dtype !== 'f32' || tensor.shape.join() !== String(turned))) throw unfit(path, `${name}.weight`, `is ${tensor.tag} [${tensor.shape.join(', ')}], and is to be F32 [${turned}]`)
  }
  if (freqs !== undefined) return llama3Scaling(path, await floats(freqs), Number(config['rope_theta']))
  const original = values.number(`${arch}.rope.scaling.original_context_length`)
  if (original !== undefined && arch === 'phi3') config['original_max_position_embeddings'] = original
  if (long === undefined || short === undefined) return scalingOf(path, arch, values)
  const listed = async (tensor: StoredTensor): Promise<number[]> => Array.from(await floats(tensor), shortest)
  return { type: 'longrope', long_factor: await listed(long), short_factor: await listed(short) }
}
