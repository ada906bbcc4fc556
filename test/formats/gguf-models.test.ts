/** GGUF files as models of Hugging Face's and back: names, orders and options as llama.cpp's converter has them, by files that gguf-py wrote. */
import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { FileError } from '../../src/core/errors.ts'
import { families, type JsonObject } from '../../src/formats/gguf/architectures.ts'
import { encodings } from '../../src/formats/gguf/encode.ts'
import { exportGguf } from '../../src/formats/gguf/export.ts'
import type { MetadataValue } from '../../src/formats/gguf/metadata.ts'
import { openGgufModel } from '../../src/formats/gguf/model.ts'
import { halved, interleaved, shifted, transposed } from '../../src/formats/gguf/moved.ts'
import { openGguf } from '../../src/formats/gguf/open.ts'
import { llama3Factors, llama3Scaling } from '../../src/formats/gguf/rope.ts'
import { writeGguf } from '../../src/formats/gguf/write.ts'
import type { StoredTensor } from '../../src/formats/stored.ts'
import { temporaryFolder } from '../data/temporary.ts'

const folder = temporaryFolder()
const fixture = (name: string): string => new URL(`fixtures/${name}`, import.meta.url).pathname
const listed = JSON.parse(readFileSync(fixture('models/tensors.json'), 'utf8')) as { [arch: string]: [string, number[]][] }
const elements = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1)
const numbers = async ({ shape, read }: StoredTensor): Promise<number[]> => {
  const into = new Float32Array(elements(shape))
  await read(new Uint8Array(into.buffer), 0)
  return [...into]
}
const tensorOf = (data: Float32Array | Uint16Array, shape: readonly number[], dtype: 'f32' | 'f16' = 'f32'): StoredTensor => {
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
  return { dtype, tag: dtype, shape, dims: undefined, read: (into, at) => { into.set(bytes.subarray(at, at + into.byteLength)); return Promise.resolve() } }
}

/** What `config.json` is to say of each, besides what is the same for all. */
const base = { hidden_size: 8, num_hidden_layers: 2, intermediate_size: 12, num_attention_heads: 4, num_key_value_heads: 2, head_dim: 4, max_position_embeddings: 64, rms_norm_eps: 1e-6, rope_theta: 500000, vocab_size: 6 }
const gelu = { hidden_activation: 'gelu_pytorch_tanh', sliding_window: 7, query_pre_attn_scalar: 4, attention_bias: false, tie_word_embeddings: true }
const expected: { readonly [arch: string]: JsonObject } = {
  llama: { ...base, architectures: ['LlamaForCausalLM'], model_type: 'llama', hidden_act: 'silu', tie_word_embeddings: true, attention_bias: false, mlp_bias: false, rope_scaling: null },
  qwen2: { ...base, architectures: ['Qwen2ForCausalLM'], model_type: 'qwen2', hidden_act: 'silu', tie_word_embeddings: false, rope_scaling: { rope_type: 'yarn', factor: 8, original_max_position_embeddings: 32 } },
  qwen3: { ...base, architectures: ['Qwen3ForCausalLM'], model_type: 'qwen3', hidden_act: 'silu', tie_word_embeddings: true, attention_bias: false, rope_scaling: null },
  gemma2: { ...base, ...gelu, architectures: ['Gemma2ForCausalLM'], model_type: 'gemma2', attn_logit_softcapping: 50, final_logit_softcapping: 30, layer_types: ['sliding_attention', 'full_attention'], rope_scaling: null },
  gemma3: { ...base, ...gelu, architectures: ['Gemma3ForCausalLM'], model_type: 'gemma3_text', layer_types: ['sliding_attention', 'sliding_attention'], rope_local_base_freq: 10000, rope_scaling: { rope_type: 'linear', factor: 8 } },
  phi3: { ...base, architectures: ['Phi3ForCausalLM'], model_type: 'phi3', hidden_act: 'silu', tie_word_embeddings: false, sliding_window: 7, original_max_position_embeddings: 32, rope_scaling: { type: 'longrope', long_factor: [1.5, 2.25], short_factor: [1, 1.1] } },
  olmo2: { ...base, architectures: ['Olmo2ForCausalLM'], model_type: 'olmo2', hidden_act: 'silu', tie_word_embeddings: false, attention_bias: false, rope_scaling: null },
  gpt2: { architectures: ['GPT2LMHeadModel'], model_type: 'gpt2', activation_function: 'gelu_new', n_positions: 16, n_embd: 8, n_layer: 2, n_inner: 12, n_head: 4, layer_norm_epsilon: 1e-5, vocab_size: 6, tie_word_embeddings: true },
}

describe.each(Object.keys(listed))('%s', arch => {
  test('its configuration', async () => {
    await using model = await openGgufModel(fixture(`models/${arch}.gguf`))
    expect(model.config).toEqual(expected[arch])
  })

  test('every tensor by Hugging Face\'s name, in its order', async () => {
    await using model = await openGgufModel(fixture(`models/${arch}.gguf`))
    expect([...model.tensors.keys()].sort()).toEqual(listed[arch]!.map(([name]) => name).sort())
    for (const [k, [name, shape]] of listed[arch]!.entries()) {
      const tensor = model.tensors.get(name)!
      expect(tensor.shape, name).toEqual(shape)
      expect(await numbers(tensor), name).toEqual(Array.from({ length: elements(shape) }, (_, i) => (k + i) / 64))
    }
  })

  test('written, it is the file again', async () => {
    const path = folder.at(`${arch}.gguf`)
    await using model = await openGgufModel(fixture(`models/${arch}.gguf`))
    const made = await exportGguf(path, { config: model.config, tensors: model.tensors, type: 'F32' })
    await using ours = await openGguf(path)
    await using theirs = await openGguf(fixture(`models/${arch}.gguf`))
    expect(made.tensors).toBe(theirs.tensors.size)
    expect([...ours.tensors.keys()].sort()).toEqual([...theirs.tensors.keys()].sort())
    for (const [name, tensor] of theirs.tensors) expect([name, ours.tensors.get(name)!.shape, await numbers(ours.tensors.get(name)!)]).toEqual([name, tensor.shape, await numbers(tensor)])
    for (const [key, value] of theirs.metadata) if (key.startsWith(`${arch}.`)) expect([key, ours.metadata.get(key)]).toEqual([key, value])
    await using again = await openGgufModel(path)
    expect(again.config).toEqual(model.config)
  })
})

test('each family was judged', () => { expect(families.map(f => f.gguf).sort()).toEqual(Object.keys(expected).sort()) })

test('weights of 8 and 4 bits are encoded as by the judge', () => {
  const weights = new Float32Array(new Uint8Array(readFileSync(fixture('blocks.f32'))).buffer, 0, 512)
  const judged = readFileSync(fixture('encoded.bin'))
  const sizes = [512 / 32 * 34, 512 / 32 * 18] as const
  const ours = (['Q8_0', 'Q4_0'] as const).map((type, i) => {
    const into = new Uint8Array(sizes[i]!)
    encodings[type].encode(weights, into)
    return Buffer.from(into)
  })
  expect(Buffer.compare(ours[0]!, judged.subarray(0, sizes[0]))).toBe(0)
  expect(Buffer.compare(ours[1]!, judged.subarray(sizes[0]))).toBe(0)
})

test('all types are written, halves and odd rows too', async () => {
  const path = folder.at('types.gguf')
  const values = Float32Array.from({ length: 128 }, (_, i) => Math.sin(i) * 2 ** (i % 7 - 3))
  const metadata: [string, MetadataValue][] = [
    ['general.architecture', { type: 'string', value: 'none' }], ['a', { type: 'array', of: 'string', value: ['', 'é'] }], ['b', { type: 'array', of: 'f32', value: Float32Array.of(1, 2) }], ['c', { type: 'i64', value: -5 }],
    ['d', { type: 'u64', value: 2n ** 63n }], ['e', { type: 'bool', value: true }], ['f', { type: 'f64', value: 0.1 }],
  ]
  const types = ['F32', 'F16', 'BF16', 'Q8_0', 'Q4_0'] as const
  await writeGguf(path, metadata, [...types.map(type => ({ name: type, type, tensor: tensorOf(values, [2, 64]) })), { name: 'odd', type: 'F16' as const, tensor: tensorOf(Uint16Array.of(0x3c00, 0xbc00, 0x4000), [3], 'f16') }])
  await using file = await openGguf(path)
  expect([...file.metadata]).toEqual(metadata)
  expect([...file.tensors].map(([name, t]) => [name, t.tag, t.shape])).toEqual([...types.map(t => [t, t, [2, 64]]), ['odd', 'F16', [3]]])
  const worst = { F32: 0, F16: 2e-3, BF16: 2e-2, Q8_0: 0.04, Q4_0: 0.6 }
  for (const type of ['F32', 'Q8_0', 'Q4_0'] as const) for (const [i, x] of (await numbers(file.tensors.get(type)!)).entries()) expect(Math.abs(x - values[i]!)).toBeLessThanOrEqual(worst[type])
  const refused = writeGguf(path, [], [{ name: 'w', type: 'Q4_0', tensor: tensorOf(new Float32Array(33), [33]) }])
  await expect(refused).rejects.toThrow(/Q4_0 has blocks of 32, which do not divide the rows of "w", 33/)
})

test('seen in another order, any range is that of the whole', async () => {
  const data = Float32Array.from({ length: 24 * 5 }, (_, i) => i)
  const plain = tensorOf(data, [24, 5])
  expect(await numbers(interleaved(halved(plain, 6), 6))).toEqual([...data])
  expect(await numbers(transposed(transposed(plain)))).toEqual([...data])
  for (const tensor of [halved(plain, 6), shifted(plain, 1), transposed(plain)]) {
    const all = new Uint8Array(data.byteLength)
    await tensor.read(all, 0)
    await fc.assert(fc.asyncProperty(fc.nat(all.length), fc.nat(all.length), async (a, b) => {
      const into = new Uint8Array(Math.abs(a - b))
      await tensor.read(into, Math.min(a, b))
      expect(Buffer.compare(into, all.subarray(Math.min(a, b), Math.max(a, b)))).toBe(0)
    }), { numRuns: 100 })
  }
})

test('the scaling of rotary positions that Llama 3 has is told by its tensor', () => {
  for (const [factor, high, original] of [[8, 4, 8192], [32, 4, 8192], [4, 8, 2048]] as const) {
    const scaling = { factor, low_freq_factor: 1, high_freq_factor: high, original_max_position_embeddings: original }
    expect(llama3Scaling('f', llama3Factors(128, 500000, scaling), 500000)).toEqual({ rope_type: 'llama3', ...scaling })
  }
  expect(() => llama3Scaling('f', Float32Array.from({ length: 64 }, (_, i) => 1 + i % 3), 500000)).toThrow(/rope_freqs\.weight is no scaling/)
})

describe('refused', () => {
  const changed = async (arch: string, change: (metadata: Map<string, MetadataValue>) => void, extra: readonly string[] = []): Promise<string> => {
    const path = folder.at(`changed-${arch}.gguf`)
    await using file = await openGguf(fixture(`models/${arch}.gguf`))
    const metadata = new Map(file.metadata)
    change(metadata)
    await writeGguf(path, metadata, [...[...file.tensors].map(([name, tensor]) => ({ name, type: 'F32' as const, tensor })), ...extra.map(name => ({ name, type: 'F32' as const, tensor: tensorOf(new Float32Array(4), [4]) }))])
    return path
  }
  test.each<[string, string, (m: Map<string, MetadataValue>) => void, RegExp]>([
    ['another architecture', 'llama', m => { m.set('general.architecture', { type: 'string', value: 'mamba' }) }, /architecture "mamba", which is not read here/],
    ['no architecture', 'llama', m => { m.delete('general.architecture') }, /general\.architecture is missing/],
    ['an option that is not known', 'llama', m => { m.set('llama.attention.clamp_kqv', { type: 'f32', value: 1 }) }, /llama\.attention\.clamp_kqv is an option that is not known/],
    ['experts', 'llama', m => { m.set('llama.expert_count', { type: 'u32', value: 8 }) }, /expert_count is 8/],
    ['an option that is missing', 'llama', m => { m.delete('llama.block_count') }, /llama\.block_count is missing/],
    ['an option of another kind', 'llama', m => { m.set('llama.block_count', { type: 'string', value: 'two' }) }, /llama\.block_count is "two", and is to be a number/],
    ['heads of no size', 'llama', m => { m.delete('llama.attention.key_length'); m.set('llama.attention.head_count', { type: 'u32', value: 3 }) }, /head_count is 3, which does not divide 8/],
    ['another scaling', 'qwen2', m => { m.set('qwen2.rope.scaling.type', { type: 'string', value: 'dynamic' }) }, /scaling\.type is "dynamic"/],
    ['a part of heads', 'qwen3', m => { m.set('qwen3.rope.dimension_count', { type: 'u32', value: 2 }) }, /dimension_count is 2, and heads have 4/],
  ])('%s', async (_, arch, change, reason) => {
    const error: unknown = await openGgufModel(await changed(arch, change)).then(m => m.close(), (e: unknown) => e)
    expect(error).toBeInstanceOf(FileError)
    expect((error as FileError).message).toMatch(reason)
  })
  test('a tensor too many', async () => {
    await expect(openGgufModel(await changed('llama', () => {}, ['blk.0.attn_sinks.weight']))).rejects.toThrow(/architecture llama has no tensor "blk\.0\.attn_sinks\.weight"/)
  })
  test.each<[string, JsonObject, RegExp]>([
    ['another type of model', { model_type: 'mamba' }, /"mamba" cannot be written/],
    ['another activation', { hidden_act: 'relu' }, /hidden_act is "relu", which a GGUF file cannot say/],
    ['a window of Mistral', { sliding_window: 4096 }, /sliding_window is 4096/],
    ['another scaling', { rope_scaling: { rope_type: 'dynamic', factor: 2 } }, /"dynamic", which a GGUF file cannot say/],
  ])('writing %s', async (_, more, reason) => {
    await expect(exportGguf(folder.at('no.gguf'), { config: { ...expected['llama']!, ...more }, tensors: new Map(), type: 'F16' })).rejects.toThrow(reason)
  })
})

test('rows that are no whole blocks become F16, vectors stay F32', async () => {
  const path = folder.at('small.gguf')
  await using model = await openGgufModel(fixture('models/llama.gguf'))
  const wide = tensorOf(new Float32Array(64), [2, 32])
  await exportGguf(path, { config: model.config, tensors: new Map([...model.tensors, ['model.embed_tokens.weight', wide]]), type: 'Q4_0' })
  await using file = await openGguf(path)
  expect([...new Set([...file.tensors].map(([name, t]) => `${/norm/.test(name) ? 'norm' : t.shape.at(-1)! % 32 === 0 ? 'whole' : 'odd'} ${t.tag}`))].sort()).toEqual(['norm F32', 'odd F16', 'whole Q4_0'])
})
