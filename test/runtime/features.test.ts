/** How far the user holds programs below what this CPU can do: what is ours keeps to it as XLA does. */
import { execFileSync } from 'node:child_process'
import { describe, expect, test } from 'vitest'
import { compilerOf, hasCompiler } from '../../src/runtime/compiler.ts'
import { compilerFlags, cpuFeatures } from '../../src/runtime/pjrt/cpu/features.ts'

const held = (isa: string): NodeJS.ProcessEnv => ({ XLA_FLAGS: `--xla_cpu_enable_fast_math=false --xla_cpu_max_isa=${isa} --xla_force=1` })
const isX64 = process.arch === 'x64'

describe.runIf(isX64)('--xla_cpu_max_isa', () => {
  test.each([['SSE4_2', /^avx|^fma$|^amx/], ['AVX', /^avx.|^fma$|^amx/], ['avx2', /^avx512|^amx/], ['AVX512', /^avx512_bf16|^amx/], ['AVX512_VNNI', /^avx512_bf16|^amx/]])('%s leaves no feature above it', (isa, above) => {
    const { flags } = cpuFeatures(held(isa))
    expect(flags.filter(f => above.test(f))).toEqual([])
    expect(flags).toEqual(cpuFeatures({}).flags.filter(f => flags.includes(f)))
    expect(flags).toContain('sse2')
  })
  test.each([['AVX512_BF16'], ['AMX_FP16'], ['nothing']])('%s, which is no lower than what our kernels use, or is none, changes nothing', isa => {
    expect(cpuFeatures(held(isa))).toEqual(cpuFeatures({}))
    expect(compilerFlags(held(isa))).toEqual(['-march=native'])
  })
  // What the compiler then defines is what the kernels ask it for.
  test.runIf(hasCompiler()).each([['SSE4_2', ['__AVX__', '__FMA__']], ['AVX', ['__AVX2__', '__FMA__', '__F16C__', '__AVX512F__']], ['AVX2', ['__AVX512F__', '__AVX512BW__', '__AVX512BF16__']], ['AVX512', ['__AVX512BF16__']], ['AVX512_VNNI', ['__AVX512BF16__']]])('%s holds the compiler to it', (isa, absent) => {
    const defined = execFileSync(compilerOf(), [...compilerFlags(held(isa)), '-dM', '-E', '-xc', '/dev/null'], { encoding: 'utf8' })
    expect(absent.filter(name => defined.includes(`#define ${name} `))).toEqual([])
  })
})

test.runIf(!isX64)('other architectures know no such names', () => { expect(compilerFlags(held('AVX2'))).toEqual(['-march=native']) })
