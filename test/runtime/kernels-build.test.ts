/** Our own kernels are built wherever there is a C compiler with its headers: programs do without them, and so do their tests, so that a fault of theirs would be seen by nobody else. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { compilerOf, hasCompiler } from '../../src/runtime/compiler.ts'
import { runCompiler } from '../../src/runtime/native-source.ts'
import { buildKernels } from '../../src/runtime/pjrt/cpu/kernels-build.ts'

test('kernels build', async ({ skip }) => {
  skip(!hasCompiler(), 'there is no C compiler here')
  const folder = await mkdtemp(join(tmpdir(), 'meshwork-kernels-'))
  try {
    const source = join(folder, 'headers.c')
    await writeFile(source, '#include <pthread.h>\n#include <stdatomic.h>\n#include <string.h>\n#include <sys/mman.h>\nint main(void) { return 0; }\n')
    const { ok, text } = await runCompiler(compilerOf(), ['-std=gnu11', '-pthread', '-o', join(folder, 'headers'), source])
    skip(!ok, `the C compiler here lacks its headers: ${text.slice(0, 200)}`)
    expect(await buildKernels()).toHaveProperty('path')
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}, 300_000)
