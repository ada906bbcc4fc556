/** The settings of the C allocator that the command starts itself again with. */
import { execFileSync } from 'node:child_process'
import { expect, test } from 'vitest'
import { root } from './support.ts'

/** What would stand in GLIBC_TUNABLES, given what stands there. */
const settings = (given: string): string | null => JSON.parse(execFileSync(process.execPath, ['--input-type=module', '-e', `
  const { withOurs } = await import('./dist/src/runtime/pjrt/cpu/allocator.js')
  console.log(JSON.stringify(withOurs(${JSON.stringify(given)}) ?? null))`], { cwd: root, encoding: 'utf8' })) as string | null

test('settings of the user stay, ours come behind them, and where all are there nothing is left to do', () => {
  const ours = settings('') ?? ''
  expect(ours).toContain('glibc.malloc.hugetlb=1')
  expect(settings(ours)).toBeNull()
  const mixed = settings('glibc.malloc.trim_threshold=5:glibc.rtld.nns=8') ?? ''
  expect(mixed.startsWith('glibc.malloc.trim_threshold=5:glibc.rtld.nns=8:')).toBe(true)
  expect(mixed.split('glibc.malloc.trim_threshold')).toHaveLength(2)
  expect(settings(mixed)).toBeNull()
})
