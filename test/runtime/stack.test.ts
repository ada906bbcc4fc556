/** Native calls run on stacks that XLA and MPI fit in, whichever of ours loads a library first. */
import koffi from 'koffi'
import { expect, test } from 'vitest'
import '../../src/runtime/pjrt/index.ts'

test('asynchronous calls have as much as a thread of the system', () => {
  expect(koffi.config().async_stack_size).toBe(8 << 20)
})
