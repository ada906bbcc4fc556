/** Damaged GGUF files: a clear error or a right result, never a crash, a hang, or memory beyond a bound. 10,000 of each where all is tested. */
import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { FileError } from '../../src/core/errors.ts'
import { dtypes } from '../../src/core/dtype.ts'
import { openGgufModel } from '../../src/formats/gguf/model.ts'
import { openGguf } from '../../src/formats/gguf/open.ts'
import { chatTemplateOf, tokenizerMetadata, tokenizerOf } from '../../src/formats/gguf/tokenizer.ts'
import { writeGguf } from '../../src/formats/gguf/write.ts'
import { mutated } from '../data/sources/mutate.ts'
import { temporaryFolder } from '../data/temporary.ts'
import { all as deep } from '../support/depth.ts'

const folder = temporaryFolder()
const fixture = (name: string): Buffer => readFileSync(new URL(`fixtures/${name}`, import.meta.url))
const count = deep ? 10_000 : 250
/** What reading one may take besides four times the file: Node's own buffers and tables included. */
const mostMemory = 300 * 2 ** 20

interface Tensor { readonly shape: readonly number[]; readonly dtype: keyof typeof dtypes | undefined; readonly read: (into: Uint8Array, at: number) => Promise<void> }
/** The first and the last bytes of all tensors that are read here. */
async function touched(tensors: ReadonlyMap<string, Tensor>): Promise<number> {
  let bytes = 0
  for (const { shape, dtype, read } of tensors.values()) {
    if (dtype === undefined) continue
    const size = shape.reduce((n, s) => n * s, dtypes[dtype].bytes)
    for (const at of new Set([0, Math.max(0, size - 64)])) {
      const into = new Uint8Array(Math.min(64, size))
      await read(into, at)
      bytes += into.length
    }
  }
  return bytes
}

async function survives(name: string, bytes: Buffer, seed: number, use: (path: string) => Promise<void>, share = 1): Promise<void> {
  const path = folder.file(name, bytes)
  await use(path)
  const before = process.memoryUsage().rss
  const seen = { right: 0, refused: 0 }
  for (let nth = 0; nth < count * share; nth++) {
    writeFileSync(path, mutated(bytes, seed, nth))
    try {
      await use(path)
      seen.right++
    } catch (error) {
      if (!(error instanceof FileError) || error.problem.fix === undefined || !error.message.includes(name)) throw new Error(`mutation ${nth} of ${name}`, { cause: error })
      seen.refused++
    }
    if (process.memoryUsage().rss - before > mostMemory + 4 * statSync(path).size) throw new Error(`mutation ${nth} of ${name} took ${(process.memoryUsage().rss - before) / 2 ** 20} MiB`)
  }
  expect(Math.min(seen.right, seen.refused)).toBeGreaterThan(0)
}

describe('mutations', () => {
  test('GGUF: values and tensors of every type', async () => {
    await survives('blocks.gguf', fixture('blocks.gguf'), 41, async path => {
      await using file = await openGguf(path)
      expect(await touched(file.tensors)).toBeLessThan(1e6)
    })
  })

  test('GGUF: models', async () => {
    for (const arch of ['llama', 'gemma3', 'phi3', 'gpt2']) {
      await survives(`${arch}.gguf`, fixture(`models/${arch}.gguf`), 43, async path => {
        await using model = await openGgufModel(path)
        expect(await touched(model.tensors)).toBeLessThan(1e6)
      }, 1 / 4)
    }
  })

  test('GGUF: tokenizers', async () => {
    const golden = JSON.parse(readFileSync(new URL('../data/golden/general.json', import.meta.url), 'utf8')) as { [name: string]: { file: never } }
    for (const kind of ['llama', 'smollm']) {
      await writeGguf(folder.at('made.gguf'), tokenizerMetadata('made', { tokenizer: golden[kind]!.file, vocab: 500, bos: 1, eos: 2, chatTemplate: '{{ messages }}' }), [])
      await survives(`${kind}.gguf`, readFileSync(folder.at('made.gguf')), 47, async path => {
        await using file = await openGguf(path)
        const made = tokenizerOf(path, file.metadata)
        if (made !== undefined) expect(Object.keys(made)).toContain('model')
        expect(['string', 'undefined']).toContain(typeof chatTemplateOf(path, file.metadata))
      }, 1 / 2)
    }
  })
})
