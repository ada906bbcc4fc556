/** How configured models lie in files of other tools: what has a word there, and what has none. */
import { describe, expect, test } from 'vitest'
import { storedTensors } from '../../src/checkpoint/stored.ts'
import { leavesOf } from '../../src/engine/index.ts'
import { filesOf, gptModel, llamaModel, loraModel, type AnyModel } from '../../src/models/index.ts'

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
      'model.layers.1.self_attn.q_proj.lora_A.weight': [3, 8], 'model.layers.1.self_attn.q_proj.lora_B.weight': [8, 3],
      'model.layers.1.self_attn.o_proj.lora_A.weight': [3, 8], 'model.layers.1.self_attn.o_proj.lora_B.weight': [8, 3],
      'model.layers.1.mlp.down_proj.lora_A.weight': [3, 12], 'model.layers.1.mlp.down_proj.lora_B.weight': [8, 3],
    })
  })
  test('no other tool is told that the folder holds the base: it would leave them out', () => {
    expect(filesOf(llama as never, llama.build({ batch: 2 }))?.config).toMatchObject({ model_type: 'llama', hidden_size: 8 })
    expect(filesOf(adapted, adapted.build({ batch: 2 }))?.config).toBeUndefined()
  })
  test('one of a part of a tensor is a tensor of its own', () => {
    expect([...tensors(loraModel(gptModel(gpt) as never, { rank: 3, on: ['value'] }) as unknown as Part)].filter(([name]) => name.includes('lora') && name.includes('.0.'))).toEqual([
      ['transformer.h.0.attn.c_attn.value.lora_A.weight', [3, 8]], ['transformer.h.0.attn.c_attn.value.lora_B.weight', [8, 3]],
    ])
  })
})

test('a GPT that GPT-2 has no word for has no files of other tools', () => {
  const of = (config: Parameters<typeof gptModel>[0]) => { const part = gptModel(config); return filesOf(part as never, part.build({ batch: 2 }) as never) }
  expect(of(gpt)?.config).toMatchObject({ model_type: 'gpt2', n_embd: 8 })
  expect(of({ ...gpt, headDim: 2 })).toBeUndefined()
  expect(of({ ...gpt, attention: 'bidirectional' })).toBeUndefined()
})
