/** The settings of the C allocator that the command starts itself again with. */
import { expect, test } from 'vitest'
import { hasCompiler } from '../../src/runtime/compiler.ts'
import { withOurs } from '../../src/runtime/pjrt/cpu/allocator.ts'

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
