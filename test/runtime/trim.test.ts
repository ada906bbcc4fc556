/** What a compiler leaves in the heap is given back to the system: blocks that lie below one that is still in use, which the C library itself would keep. */
import { expect, test } from 'vitest'
import koffi from '../../src/io/koffi.ts'
import { withTrimmedHeaps } from '../../src/runtime/pjrt/cpu/trim.ts'

// Smaller than what is mapped for itself, so that they come from the heap.
const [blocks, bytes] = [1024, 96 * 1024]
const isGlibc = process.platform === 'linux' && (process.report.getReport() as { readonly header?: { readonly glibcVersionRuntime?: string } }).header?.glibcVersionRuntime !== undefined

test.skipIf(!isGlibc)('what was freed below a block that is in use is no longer resident; what compiled gives its result', async () => {
  const libc = koffi.load(null)
  const malloc = libc.func('void *malloc(size_t size)') as (size: number) => unknown
  const memset = libc.func('void *memset(void *at, int value, size_t size)') as (at: unknown, value: number, size: number) => unknown
  const free = libc.func('void free(void *at)') as (at: unknown) => void
  const taken: unknown[] = []
  let most = 0
  const before = process.memoryUsage.rss()
  const result = await withTrimmedHeaps(() => {
    for (let i = 0; i < blocks; i++) {
      const at = malloc(bytes)
      memset(at, 1, bytes)
      taken.push(at)
    }
    for (const at of taken.slice(0, -1)) free(at)
    most = process.memoryUsage.rss()
    return Promise.resolve('compiled')
  })
  const after = process.memoryUsage.rss()
  free(taken.at(-1))
  expect(result).toBe('compiled')
  expect(most - before).toBeGreaterThan(0.8 * blocks * bytes)
  expect(after - before).toBeLessThan(0.3 * blocks * bytes)
})

test('what fails to compile fails as it did', async () => {
  await expect(withTrimmedHeaps(() => Promise.reject(new Error('no such op')))).rejects.toThrow('no such op')
})
