/** How configured models lie in files of other tools: what has a word there, and what has none. */
import { describe, expect, test } from 'vitest'
import { storedTensors } from '../../src/checkpoint/stored.ts'
import { leavesOf } from '../../src/engine/index.ts'
import { adaptersOf, filesOf, gptModel, llamaModel, loraModel, t5Model, type AnyModel } from '../../src/models/index.ts'

const llama = llamaModel({ vocab: 32, seq: 8, layers: 2, embed: 8, heads: 4, kvHeads: 2, headDim: 2, hidden: 12, tied: true })
const gpt = { vocab: 32, seq: 8, layers: 2, embed: 8, heads: 2, headDim: 4, hidden: 16 }
type Part = Parameters<typeof filesOf>[0] & { build(options: { readonly batch: number }): Pick<AnyModel, 'params'> }
const tensors = (part: Part): ReadonlyMap<string, readonly number[]> => {
  const model = part.build({ batch: 2 })
  const files = filesOf(part, model)
  if (files === undefined) throw new Error('no files')
  return new Map(storedTensors(files.naming, leavesOf(model.params).map(({ path, leaf }) => ({ path, value: leaf }))).map(t => [t.name, t.axes.map(a => a.size)]))
}

describe('adapters', () => {
  const adapted = loraModel(llama as never, { rank: 3, on: ['query', 'out', 'down'] }) as unknown as Part
  test('have peft\'s names and shapes, beside the names of the base', () => {
    const [base, all] = [tensors(llama as never), tensors(adapted)]
    expect([...base].every(([name, shape]) => all.get(name)?.join() === shape.join())).toBe(true)
    expect(Object.fromEntries([...all].filter(([name]) => !base.has(name) && name.includes('.1.')))).toEqual({
      'base_model.model.model.layers.1.self_attn.q_proj.lora_A.weight': [3, 8], 'base_model.model.model.layers.1.self_attn.q_proj.lora_B.weight': [8, 3],
      'base_model.model.model.layers.1.self_attn.o_proj.lora_A.weight': [3, 8], 'base_model.model.model.layers.1.self_attn.o_proj.lora_B.weight': [8, 3],
      'base_model.model.model.layers.1.mlp.down_proj.lora_A.weight': [3, 12], 'base_model.model.model.layers.1.mlp.down_proj.lora_B.weight': [8, 3],
    })
  })
  const adapterOf = (part: Part) => filesOf(part, part.build({ batch: 2 }))?.adapter
  test('are told to peft by the short names of their layers, or by all names where others are called so too', () => {
    expect(adapterOf(adapted)).toMatchObject({ peft_type: 'LORA', task_type: 'CAUSAL_LM', r: 3, lora_alpha: 6, target_modules: ['q_proj', 'o_proj', 'down_proj'], fan_in_fan_out: false })
    expect(adapterOf(llama as never)).toBeUndefined()
    const half = loraModel(t5Model({ vocab: 32, source: 8, target: 8, encoderLayers: 1, decoderLayers: 1, embed: 8, heads: 2, headDim: 4, hidden: 16 }) as never, { rank: 2, on: ['decoder.self.query'] }) as unknown as Part
    expect(adapterOf(half)).toMatchObject({ task_type: 'SEQ_2_SEQ_LM', target_modules: ['decoder.block.0.layer.0.SelfAttention.q'] })
  })
  test('are read back from what they are told by: rank, alpha and layers', () => {
    const names = [...tensors(adapted).keys()]
    const all = loraModel(llama as never, { rank: 3 }) as unknown as Part
    const naming = filesOf(llama as never, llama.build({ batch: 2 }))?.naming
    if (naming === undefined) throw new Error('no naming')
    const config = adapterOf(adapted) ?? {}
    const read = (changed: object, of = names): unknown => adaptersOf({ ...config, ...changed }, of, naming, all.build({ batch: 2 }))
    expect(read({})).toEqual({ rank: 3, alpha: 6, on: ['blocks.query', 'blocks.out', 'blocks.down'] })
    for (const [changed, said] of [[{ peft_type: 'IA3' }, /peft_type is "IA3"/], [{ use_dora: true }, /use_dora is true/], [{ rank_pattern: { q_proj: 4 } }, /rank_pattern/], [{ bias: 'all' }, /bias is "all"/], [{ r: 0 }, /r is 0/], [{ lora_alpha: '3' }, /lora_alpha is "3"/], [{ modules_to_save: ['lm_head'] }, /modules_to_save/]] as const) expect(() => read(changed)).toThrow(said)
    expect(() => read({}, ['base_model.model.model.layers.0.other.lora_A.weight'])).toThrow(/changes no linear layer/)
  })
  test('one of a part of a tensor is a tensor of its own', () => {
    expect([...tensors(loraModel(gptModel(gpt) as never, { rank: 3, on: ['value'] }) as unknown as Part)].filter(([name]) => name.includes('lora') && name.includes('.0.'))).toEqual([
      ['base_model.model.transformer.h.0.attn.c_attn.value.lora_A.weight', [3, 8]], ['base_model.model.transformer.h.0.attn.c_attn.value.lora_B.weight', [8, 3]],
    ])
  })
})

test('a GPT that GPT-2 has no word for has no files of other tools', () => {
  const of = (config: Parameters<typeof gptModel>[0]) => { const part = gptModel(config); return filesOf(part as never, part.build({ batch: 2 }) as never) }
  expect(of(gpt)?.config).toMatchObject({ model_type: 'gpt2', n_embd: 8 })
  expect(of({ ...gpt, headDim: 2 })).toBeUndefined()
  expect(of({ ...gpt, attention: 'bidirectional' })).toBeUndefined()
})
