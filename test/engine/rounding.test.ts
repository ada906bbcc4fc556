/** How many numbers of f32 are rounded to bf16 on CPUs: every bit as the rule has it, which is to the nearest, and of two as near to the even one. */
import { expect, test } from 'vitest'
import { roundBf16 } from '../../src/core/half-precision.ts'
import { compile, input, loose, mesh, plan, type AnyTensor, type Tree } from '../../src/engine/index.ts'
import { backendOfKernels, taken } from '../support/kernels.ts'

const backend = backendOfKernels(1)

/** Of every sign, exponent and kept fraction what is cut off: nothing, least, just below the middle, the middle, just above it, most. */
const cut = [0, 1, 0x7fff, 0x8000, 0x8001, 0xffff]
const words = Uint32Array.from({ length: 2 ** 16 * cut.length }, (_, i) => ((i % 2 ** 16) << 16 | (cut[Math.floor(i / 2 ** 16)] ?? 0)) >>> 0)
const isNormal = (x: number): boolean => Math.abs(x) >= 2 ** -126 || x === 0
const round = (x: AnyTensor): AnyTensor => loose(loose(x).cast('bf16')).cast('f32')

test('all halves, and what lies between them', async () => {
  const x = input('x', [{ name: 'rows', size: cut.length }, { name: 'n', size: words.length / cut.length }])
  const where = { mesh: mesh({}), layout: {} }
  expect(plan(round as (...args: readonly Tree[]) => AnyTensor, [x], { ...where, kernels: true }).text).toContain('xui16>')
  using program = await compile(round, [x] as const, { ...where, backend: backend() })
  const given = new Float32Array(words.buffer)
  const found = await taken(await program(given))
  // XLA's CPU plugin may take for 0 what is below the normal numbers.
  const wrong = [...given.keys()].filter(i => isNormal(given[i] ?? 0) && !Object.is(found[i], roundBf16(given[i] ?? 0)))
  expect(wrong.slice(0, 5).map(i => [given[i], found[i], roundBf16(given[i] ?? 0)])).toEqual([])
})
