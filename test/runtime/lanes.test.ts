/** What kernels do with sixteen numbers at a time has the same bits whatever the width of the machine's registers: with the instructions that it has, and held to those of older ones. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, expect, test } from 'vitest'
import { compilerOf, hasCompiler } from '../../src/runtime/compiler.ts'
import { runCompiler } from '../../src/runtime/native-source.ts'

const at = (path: string): string => fileURLToPath(new URL(path, import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'meshwork-lanes-'))
afterAll(() => { rmSync(folder, { recursive: true, force: true }) })

const told = async (name: string, flags: readonly string[]): Promise<string> => {
  const program = join(folder, name)
  // Where a machine adds what it multiplies in one step, the bits are others, as of all that is compiled for it.
  const { ok, text } = await runCompiler(compilerOf(), ['-march=native', ...flags, '-ffp-contract=off', '-std=gnu11', '-O2', '-Wno-psabi', `-I${at('../../native')}`, '-o', program, at('../native/lanes_test.c')])
  if (!ok) throw new Error(text)
  return execFileSync(program, { encoding: 'utf8' })
}

test('sums, arithmetic, and numbers of few bits', async ({ skip }) => {
  skip(!hasCompiler(), 'there is no C compiler here')
  skip(process.arch !== 'x64', 'the compiler is held to other instructions by names of x86')
  const [own, eights, fours] = await Promise.all([told('own', []), told('eights', ['-mno-avx512f']), told('fours', ['-mno-avx'])])
  expect(own.trim().split('\n')).toHaveLength(8 * 50)
  expect(eights).toBe(own)
  expect(fours).toBe(own)
})
