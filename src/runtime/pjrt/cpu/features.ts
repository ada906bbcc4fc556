/** What CPU this is, and how much of it programs may use. */
import { readFileSync } from 'node:fs'

interface Limit {
  /** Features of /proc/cpuinfo that are above it. */
  readonly above: RegExp
  /** What a C compiler is told beside `-march=native`. */
  readonly flags: readonly string[]
}

/** The instruction sets of XLA's `--xla_cpu_max_isa` below AVX-512's for bf16, which decide what our kernels compute, by their names there. */
const limits: { readonly [isa: string]: Limit } = {
  SSE4_2: { above: /^(?:avx|fma$|f16c$|amx)/, flags: ['-mno-avx'] },
  AVX: { above: /^(?:avx(?!$)|fma$|f16c$|amx)/, flags: ['-mno-avx2', '-mno-fma', '-mno-f16c', '-mno-avx512f'] },
  AVX2: { above: /^(?:avx512|avx_vnni|amx)/, flags: ['-mno-avx512f'] },
  AVX512: { above: /^(?:avx512_(?:vnni|bf16|fp16)|avx_vnni|amx)/, flags: ['-mno-avx512bf16'] },
  AVX512_VNNI: { above: /^(?:avx512_(?:bf16|fp16)|amx)/, flags: ['-mno-avx512bf16'] },
}

/** The instruction set to which the user has held XLA by `--xla_cpu_max_isa`: what is ours keeps to it too, so that machines of several kinds run the same code. */
function limit(env: NodeJS.ProcessEnv): Limit | undefined {
  const given = /(?:^|\s)--xla_cpu_max_isa=(\w+)/.exec(env['XLA_FLAGS'] ?? '')?.[1]?.toUpperCase() ?? ''
  return process.arch === 'x64' && Object.hasOwn(limits, given) ? limits[given] : undefined
}

/** What holds a C compiler to the instructions that programs may use here. */
export const compilerFlags = (env: NodeJS.ProcessEnv = process.env): readonly string[] => ['-march=native', ...limit(env)?.flags ?? []]

/** The lines of /proc/cpuinfo that decide what machine code runs here, without what the user keeps programs from; empty where there is no such file. */
export function cpuFeatures(env: NodeJS.ProcessEnv = process.env): { readonly model: string; readonly flags: readonly string[] } {
  let text = ''
  try {
    text = readFileSync('/proc/cpuinfo', 'utf8')
  } catch {
    // This is not Linux, or the container hides the file: then no flag is added, and the cache key does not tell CPUs apart.
  }
  const line = (label: RegExp): string => label.exec(text)?.[1]?.trim() ?? ''
  const above = limit(env)?.above
  return {
    model: line(/^(?:model name|CPU part)\s*:(.*)$/m),
    flags: line(/^(?:flags|Features)\s*:(.*)$/m).split(/\s+/).filter((flag) => flag !== '' && above?.test(flag) !== true),
  }
}
