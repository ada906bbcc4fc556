/** The settings of the C allocator that the command starts itself again with. */
import { afterAll, expect, test } from 'vitest'
import { hasCompiler } from '../../src/runtime/compiler.ts'
import { withOurs } from '../../src/runtime/pjrt/cpu/allocator.ts'
import { run, temporaryPlace } from './support.ts'

const place = temporaryPlace()
afterAll(() => { place.remove() })

test('settings of the user stay, ours come behind them, and where all are there nothing is left to do', () => {
  const ours = withOurs('') ?? ''
  expect(ours).toContain('glibc.malloc.hugetlb=1')
  expect(withOurs(ours)).toBeUndefined()
  const mixed = withOurs('glibc.malloc.trim_threshold=5:glibc.rtld.nns=8') ?? ''
  expect(mixed.startsWith('glibc.malloc.trim_threshold=5:glibc.rtld.nns=8:')).toBe(true)
  expect(mixed.split('glibc.malloc.trim_threshold')).toHaveLength(2)
  expect(withOurs(mixed)).toBeUndefined()
})

test('a compiler is there where its file is, or one of its name on the path', () => {
  expect(hasCompiler({ PATH: '/nowhere' })).toBe(false)
  expect(hasCompiler({})).toBe(false)
  expect(hasCompiler({ CC: '/nowhere/cc', PATH: process.env['PATH'] })).toBe(false)
  expect(hasCompiler({ CC: process.execPath })).toBe(true)
  expect(hasCompiler({ CC: 'sh', PATH: '/nowhere::/bin' })).toBe(true)
})

test('where the compiler could not build our own code, the next command starts with the settings', async () => {
  place.file('tells.ts', 'throw new Error(`tunables ${process.env.GLIBC_TUNABLES ?? "none"}`)\n')
  const failing = { CC: place.file('failing-cc', '#!/bin/sh\necho no headers >&2\nexit 1\n', 0o755), MESHWORK_CACHE_DIR: place.folder('cache'), GLIBC_TUNABLES: '' }
  const told = async (env: Readonly<Record<string, string>>): Promise<string> => /tunables \S*/.exec((await run(['train', 'tells.ts'], { cwd: place.path, env })).err)?.[0] ?? ''
  expect(await told(failing)).toBe('tunables ')
  expect((await run(['doctor'], { cwd: place.path, env: failing })).out).toContain('cannot build them (no headers')
  expect(await told(failing)).toContain('glibc.malloc.mmap_max=0')
  // Another compiler has not failed yet.
  expect(await told({ ...failing, CC: process.execPath })).toBe('tunables ')
})
