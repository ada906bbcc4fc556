/** Models of other tools' files: every fixture's logits, loss and gradients are transformers', whatever the mesh; configurations go there and back. */
import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openBackend, type Backend } from '../../src/engine/index.ts'
import { UsageError } from '../../src/core/errors.ts'
import { architectureNamed, architectureFor } from '../../src/models/hugging-face/registry.ts'
import type { AnyArchitecture, JsonObject } from '../../src/models/hugging-face/architecture.ts'
import { cases, compared, fixtures, loadCase } from './parity.ts'

let backend: Backend
beforeAll(async () => { backend = await openBackend({ plugin: 'simulate', devices: 4 }) })
afterAll(async () => { await backend.close() })

describe.each(cases(fixtures))('%s', name => {
  test('is what transformers computes', async () => {
    const c = await loadCase(fixtures, name)
    for (const sizes of [{ batch: 2, model: 2 }] as const) {
      const found = await compared(c, backend, sizes)
      expect(found.length).toBeGreaterThan(3)
      expect(found.filter(d => !(d.error < 1e-4))).toEqual([])
    }
  })
})

test.each(['gemma2', 'qwen2', 'gpt2'])('%s is so where attention is computed in blocks', async name => {
  const found = await compared(await loadCase(fixtures, name, { blockwise: 3 }), backend, { batch: 2, model: 2 })
  expect(found.filter(d => !(d.error < 1e-4))).toEqual([])
})

const configOf = (name: string): JsonObject => JSON.parse(readFileSync(`${fixtures}/${name}/config.json`, 'utf8')) as JsonObject
const wanted = { seq: 7, masked: true }
type Erased = AnyArchitecture & { readonly toConfig: (c: unknown) => JsonObject }
const erased = (config: JsonObject): Erased => architectureNamed(config) as never
/** Whole, with what has a default. */
const parsed = (a: Erased, given: unknown): unknown => a.kind.kind.schema.parse(given)

describe('configurations', () => {
  test.each(cases(fixtures))('of %s go there and back', name => {
    const config = configOf(name)
    const a = erased(config)
    const ours = parsed(a, a.fromConfig(config, wanted))
    const theirs = a.toConfig(ours)
    expect(parsed(a, a.fromConfig(theirs, wanted))).toEqual(ours)
    expect(theirs['architectures']).toEqual(config['architectures'])
    // The architecture that a configuration is written as where nothing says which can say all of it.
    const other = architectureFor(a.kind.kind.name, ours) as Erased | undefined
    expect(parsed(other ?? a, other?.fromConfig(other.toConfig(ours), wanted))).toEqual(ours)
  })
  test('in the form of transformers 4 say the same', () => {
    const config = configOf('llama-yarn')
    const { rope_parameters: parameters, ...rest } = config
    const { rope_theta: base, rope_type: type, ...scaling } = parameters as JsonObject
    const a = erased(config)
    for (const key of ['type', 'rope_type']) expect(a.fromConfig({ ...rest, rope_theta: base ?? null, rope_scaling: { [key]: type ?? null, ...scaling } }, wanted)).toEqual(a.fromConfig(config, wanted))
  })
  test.each([['llama-plain', 'attention_dropout'], ['phi3', 'attention_dropout'], ['gpt2', 'attn_pdrop']])('%s trains with the share of attention that its %s drops', (name, key) => {
    const a = erased(configOf(name))
    for (const rate of [0, 0.25]) {
      const ours = parsed(a, a.fromConfig({ ...configOf(name), [key]: rate }, wanted))
      expect((ours as { readonly attentionDropout: number }).attentionDropout).toBe(rate)
      expect(a.toConfig(ours)[key]).toBe(rate)
    }
    expect(message(() => a.fromConfig({ ...configOf(name), [key]: 1 }, wanted))).toBe(`config.json: ${key} is 1`)
  })
  const message = (f: () => unknown): string => { try { f(); return 'none' } catch (e) { return e instanceof UsageError ? e.problem.what : String(e) } }
  test.each([
    ['llama-plain', { hidden_act: 'relu' }, 'config.json: hidden_act is "relu"'],
    ['llama-plain', { num_key_value_heads: 3 }, 'config.json: num_key_value_heads is 3'],
    ['llama-plain', { num_hidden_layers: 2.5 }, 'config.json: num_hidden_layers is 2.5'],
    ['llama-plain', { vocab_size: null }, 'config.json: vocab_size is null'],
    ['llama-plain', { partial_rotary_factor: 0.5 }, 'config.json: partial_rotary_factor is 0.5'],
    ['llama-plain', { rope_parameters: { rope_type: 'proportional', factor: 2 } }, 'config.json: rope_parameters: rope_type is "proportional"'],
    ['llama-plain', { rope_parameters: { rope_type: 'linear', factor: 2, gain: 1 } }, 'config.json: rope_parameters: gain is 1'],
    ['llama-plain', { sliding_window: 4 }, 'config.json: sliding_window is 4'],
    ['llama-plain', { quantization_config: { bits: 4 } }, 'config.json: quantization_config is {"bits":4}'],
    ['phi3-longrope', { rope_parameters: { rope_type: 'longrope', short_factor: [1], long_factor: [1] } }, 'config.json: rope_parameters: short_factor is [1]'],
    ['gemma2', { use_bidirectional_attention: true }, 'config.json: use_bidirectional_attention is true'],
    ['gemma2', { layer_types: ['full_attention'] }, 'config.json: layer_types is ["full_attention"]'],
    ['gemma3', { attn_logit_softcapping: 50 }, 'config.json: attn_logit_softcapping is 50'],
    ['gpt2', { activation_function: 'relu' }, 'config.json: activation_function is "relu"'],
    ['gpt2', { n_positions: 4 }, 'config.json: n_positions is 4'],
    ['gpt2', { scale_attn_by_inverse_layer_idx: true }, 'config.json: scale_attn_by_inverse_layer_idx is true'],
    ['llama-plain', { model_type: 'lama' }, 'config.json: a model of type "lama" is not known'],
    ['llama-plain', { model_type: null }, 'config.json: model_type is missing'],
    ['llama-plain', { architectures: ['LlamaForSequenceClassification'] }, 'config.json: the model is LlamaForSequenceClassification'],
  ] as const)('of %s with %j are refused', (name, change, what) => {
    const config = { ...configOf(name), ...change }
    expect(message(() => architectureNamed(config).fromConfig(config, wanted))).toBe(what)
  })
  test('that an architecture has no words for are not written as it', () => {
    const config = configOf('gemma2')
    const ours = parsed(erased(config), erased(config).fromConfig(config, wanted))
    expect(message(() => erased(configOf('llama-plain')).toConfig(ours))).toBe('llama has no word for norms = "both"')
    const gpt = erased(configOf('gpt2'))
    expect(message(() => gpt.toConfig({ ...parsed(gpt, gpt.fromConfig(configOf('gpt2'), wanted)) as object, headDim: 3 }))).toBe('gpt2 has no word for heads of 3, 4 of which are not 16 wide')
  })
})
