/** What is built of our sources in C is told by what they say, not by where they lie: a second copy of the package builds nothing anew. */
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, expect, test } from 'vitest'
import { nativeSources } from '../../src/runtime/native-source.ts'

const native = fileURLToPath(new URL('../../native', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'meshwork-native-source-'))
afterAll(() => { rmSync(folder, { recursive: true, force: true }) })
const hashOf = async (within?: string): Promise<string> => (await nativeSources('kernels', ['-O3'], ['ffi.h'], within)).hash

test('a copy in another folder has the same hash, until a source or a header says something else', async () => {
  const copy = join(folder, 'of another name', 'elsewhere')
  cpSync(native, copy, { recursive: true })
  const here = await hashOf()
  expect(await hashOf(copy)).toBe(here)
  for (const file of ['ffi.h', 'kernels/dot.c']) {
    const before = await hashOf(copy)
    writeFileSync(join(copy, file), '// other words\n')
    expect(await hashOf(copy)).not.toBe(before)
  }
})
