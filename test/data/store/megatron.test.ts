/** Megatron's files: those that golden/megatron.py made with NumPy, read; and ours, byte for byte what it makes. */
import { copyFileSync, readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { finishStore } from '../../../src/data/store/finish.ts'
import { Segment, placedChunks } from '../../../src/data/store/segment.ts'
import { openStore } from '../../../src/data/store/store.ts'
import { crc32 } from 'node:zlib'
import { temporaryFolder } from '../temporary.ts'

const golden = (name: string): string => fileURLToPath(new URL(`golden/${name}`, import.meta.url))
const at = temporaryFolder()

describe('reading', () => {
  test('sequences of a document are one, also where it has none', async () => {
    const store = await openStore(golden('small'))
    expect(Array.from({ length: store.documents }, (_, d) => [...store.document(d)])).toEqual([[1, 2, 3], [4, 5, 6], [], [65499, 0]])
    expect([store.type, store.source(0), await store.tokenizer()]).toEqual(['uint16', undefined, undefined])
    store.close()
  })

  test('by either file\'s name, and wide tokens', async () => {
    const store = await openStore(golden('wide.idx'))
    expect([[...store.document(0)], [...store.document(1)]]).toEqual([[1, 2, 3, 70000], [-1, 2 ** 31 - 1]])
    store.close()
  })

  test('any index cut short, or beside other tokens, is refused', async () => {
    const bytes = readFileSync(golden('small.idx'))
    copyFileSync(golden('small.bin'), at.at('cut.bin'))
    for (let n = 0; n < bytes.length; n++) {
      writeFileSync(at.at('cut.idx'), bytes.subarray(0, n))
      await expect(openStore(at.at('cut'))).rejects.toThrow(/store-index/)
    }
    writeFileSync(at.at('cut.idx'), bytes)
    truncateSync(at.at('cut.bin'), 14)
    await expect(openStore(at.at('cut'))).rejects.toThrow(/the \.bin has 14 bytes/)
  })

  test('sizes beyond the file are refused before memory is taken', async () => {
    const bytes = readFileSync(golden('small.idx'))
    bytes.writeBigUInt64LE(2n ** 50n, 18)
    writeFileSync(at.at('huge.idx'), bytes)
    copyFileSync(golden('small.bin'), at.at('huge.bin'))
    await expect(openStore(at.at('huge'))).rejects.toThrow(/store-index/)
  })
})

test('writing', async () => {
  const segment = await Segment.open(at.at('segment-0'))
  const bytes = (a: ArrayBufferView): Uint8Array => new Uint8Array(a.buffer as ArrayBuffer, a.byteOffset, a.byteLength)
  const parts = { tokens: bytes(Uint16Array.of(1, 2, 3, 4, 5, 6, 7)), lengths: bytes(Int32Array.of(3, 3, 1)), sources: new TextEncoder().encode('[0,"a"]\n[1,"b"]\n[2,"c"]\n'), mask: new Uint8Array() }
  const crc = { tokens: crc32(parts.tokens), lengths: crc32(parts.lengths), sources: crc32(parts.sources), mask: 0 }
  await segment.append({ documents: 3, empty: 0, text: 9, ...parts, crc }, { part: 'a', fingerprint: 'x', piece: 0, size: 9 })
  await segment.close()
  const settings = { tokenizer: { learnt: 300 }, begin: null, end: 0, format: null, chat: 'chatml', loss: [], piece: 9 }
  await finishStore({ work: at.path, chunks: await placedChunks(at.path), parts: [{ name: 'a', fingerprint: 'x' }], settings, tokenizer: '{}', dtype: 'uint16', vocab: 300 })
  expect(readFileSync(at.at('tokens.idx')).equals(readFileSync(golden('single.idx')))).toBe(true)
  expect(readFileSync(at.at('tokens.bin')).equals(readFileSync(golden('single.bin')))).toBe(true)
})
