/** Damaged configurations and indexes of models in Hugging Face's layout: a clear error or a right result. 10,000 of each where all is tested. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { FileError, UsageError } from '../../src/core/errors.ts'
import { writeSafetensors } from '../../src/checkpoint/safetensors.ts'
import { openWeights } from '../../src/checkpoint/source.ts'
import { openGgufModel } from '../../src/formats/gguf/model.ts'
import { architectureNamed } from '../../src/models/hugging-face/registry.ts'
import type { JsonObject } from '../../src/models/hugging-face/architecture.ts'
import { mutated } from '../data/sources/mutate.ts'
import { temporaryFolder } from '../data/temporary.ts'
import { all as deep } from '../support/depth.ts'

const folder = temporaryFolder()
const count = deep ? 10_000 : 250

test('an index of shards', async () => {
  const path = folder.at('shards')
  mkdirSync(path)
  const names = ['model.embed_tokens.weight', 'model.norm.weight', 'lm_head.weight']
  const map: Record<string, string> = {}
  for (const [i, name] of names.entries()) {
    map[name] = `model-0000${i + 1}-of-00003.safetensors`
    await writeSafetensors(join(path, map[name]), [{ name, dtype: 'f32', shape: [4], data: Float32Array.of(i, i, i, i) }])
  }
  const index = Buffer.from(JSON.stringify({ metadata: { total_size: 48 }, weight_map: map }))
  const seen = { right: 0, refused: 0 }
  // The first as it was written.
  for (let nth = -1; nth < count; nth++) {
    writeFileSync(join(path, 'model.safetensors.index.json'), nth < 0 ? index : mutated(index, 53, nth))
    try {
      await using source = await openWeights(path)
      // Whatever else it says, every tensor is the one of its name.
      expect([...source.tensors.keys()].sort()).toEqual([...names].sort())
      for (const [i, name] of names.entries()) {
        const into = new Float32Array(4)
        await source.tensors.get(name)!.read(new Uint8Array(into.buffer), 0)
        expect([...into]).toEqual([i, i, i, i])
      }
      seen.right++
    } catch (e) {
      if (nth < 0 || !(e instanceof FileError) || e.problem.fix === undefined || !e.message.includes('shards')) throw new Error(`mutation ${nth}`, { cause: e })
      seen.refused++
    }
  }
  expect(Math.min(seen.right, seen.refused)).toBeGreaterThan(0)
})

const archs = ['llama', 'qwen2', 'qwen3', 'gemma2', 'gemma3', 'phi3', 'olmo2', 'gpt2']
const fixture = (arch: string): string => new URL(`fixtures/models/${arch}.gguf`, import.meta.url).pathname

test.each(archs)('config.json of %s', async arch => {
  await using model = await openGgufModel(fixture(arch))
  const bytes = Buffer.from(JSON.stringify(model.config))
  const seen = { right: 0, refused: 0 }
  for (let nth = 0; nth < Math.ceil(count / archs.length); nth++) {
    let config: unknown
    try { config = JSON.parse(mutated(bytes, 59, nth).toString()) } catch { continue }
    if (typeof config !== 'object' || config === null || Array.isArray(config)) continue
    try {
      const given = architectureNamed(config as JsonObject).fromConfig(config as JsonObject, { seq: 8 })
      expect(typeof given).toBe('object')
      seen.right++
    } catch (e) {
      if (!(e instanceof UsageError) || e.problem.fix === undefined) throw new Error(`mutation ${nth} of ${JSON.stringify(config)}`, { cause: e })
      seen.refused++
    }
  }
  // Most of what still is JSON says something else.
  expect(seen.refused + seen.right).toBeGreaterThan(0)
})

test.each(archs)('a model of ours takes what a GGUF file of %s says', async arch => {
  await using model = await openGgufModel(fixture(arch))
  const found = architectureNamed(model.config)
  const given = found.fromConfig(model.config, { seq: 8 }) as { readonly [field: string]: unknown }
  expect([given['embed'], given['layers'], given['heads']]).toEqual([8, 2, 4])
})
