/** A real model's GGUF file, where `meshwork models fetch smollm2` has put it: its tensors, its tokenizer, its template. */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { renderChat } from '../../src/data/tasks/template.ts'
import { parseTokenizer } from '../../src/data/tokenizer-json.ts'
import { chatTemplateOf, openGgufModel, packagedPath, tokenizerOf } from '../../src/formats/index.ts'

const expected = JSON.parse(readFileSync(new URL('fixtures/smollm2.json', import.meta.url), 'utf8')) as { tensors: { [name: string]: string }; texts: [string, number[]][] }

test('SmolLM2-135M-Instruct', async ({ skip }) => {
  const path = await packagedPath('smollm2')
  if (path === undefined) return skip('the model is not in the cache: meshwork models fetch smollm2')
  await using model = await openGgufModel(path)
  expect(model.config).toMatchObject({ model_type: 'llama', num_hidden_layers: 30, hidden_size: 576, num_attention_heads: 9, num_key_value_heads: 3, vocab_size: 49152, rope_theta: 1e5, rms_norm_eps: 1e-5, tie_word_embeddings: true })
  expect(model.tensors.size).toBe(272)
  for (const [name, digest] of Object.entries(expected.tensors)) {
    const { shape, read } = model.tensors.get(name)!
    const into = new Uint8Array(4 * shape.reduce((a, b) => a * b, 1))
    await read(into, 0)
    expect([name, createHash('sha256').update(into).digest('hex')]).toEqual([name, digest])
  }
  const tokenizer = parseTokenizer(JSON.stringify(tokenizerOf(path, model.file.metadata)), path)
  for (const [text, ids] of expected.texts) {
    expect([...tokenizer.encode(text)]).toEqual(ids)
    expect(tokenizer.decode(ids, { special: true })).toBe(text)
  }
  expect(renderChat(chatTemplateOf(path, model.file.metadata)!, [{ role: 'user', content: 'Hi' }], { addGenerationPrompt: true }))
    .toBe('<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n')
})
