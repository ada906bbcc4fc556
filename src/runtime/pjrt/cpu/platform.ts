/** What Meshwork knows of CPUs: pretended devices, threads, flags of XLA, and kernels of our own. */
import { availableParallelism, cpus } from 'node:os'
import type { Platform } from '../platform-type.ts'
import { cpuFeatures } from './features.ts'
import { kernelHandlers } from './kernels.ts'
import { withTrimmedHeaps } from './trim.ts'

/** The option by which a CPU client is told how many devices it should pretend to have. */
export const deviceCount = 'cpu_device_count'

/** The XLA flags Meshwork wants on a CPU with these features. */
export const wantedFlags = (features: readonly string[], model = ''): string[] => [
  // Elementwise code runs two to four times as fast; XLA's own choice is 256 bits.
  ...features.includes('avx512f') ? ['--xla_cpu_prefer_vector_width=512'] : [],
  // Where it was measured, Eigen multiplies large matrices in four fifths of the time that YNNPACK takes; other CPUs keep XLA's own choice.
  ...features.includes('avx512f') && model.includes('Intel') ? ['--xla_cpu_experimental_ynn_fusion_type=-LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT'] : [],
  // The larger of a number and NaN is NaN, as everywhere else; XLA's own choice drops it here and there.
  '--xla_cpu_enable_fast_min_max=false',
  // XLA ends the process when a device waits 40 s for the others: many devices on few cores do that on a long step.
  '--xla_cpu_collective_call_terminate_timeout_seconds=3600', '--xla_cpu_collective_call_warn_stuck_timeout_seconds=300',
]

/** Ranks of one host share its cores, unless the launcher has bound them: then the affinity says it already. */
function threadsAmong(onHost: number): number | undefined {
  const mine = availableParallelism()
  return mine < cpus().length ? undefined : Math.max(1, Math.floor(mine / onHost))
}

export const cpu: Platform = {
  name: 'cpu', path: /cpu/i, options: { [deviceCount]: 'whole' }, defaults: ({ devices }) => ({ [deviceCount]: devices }), spans: false,
  flags: () => {
    const { flags, model } = cpuFeatures()
    return wantedFlags(flags, model)
  },
  environment: threads => (threads === undefined ? {} : { PJRT_NPROC: String(threads) }),
  threadsAmong,
  machine: () => {
    const { model, flags } = cpuFeatures()
    return [process.arch, model, flags.join(' ')]
  },
  compiling: withTrimmedHeaps,
  // One resource orders all collectives of a program; of one that was stored each loop's body has its own (ADR 72).
  storesOrder: false,
  handlersAs: 'Host',
  kernels: kernelHandlers,
}
