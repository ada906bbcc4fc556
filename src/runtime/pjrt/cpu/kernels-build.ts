/** Our own kernels for CPUs: found in the cache, or built with the user's C compiler for the machine that this is. */
import { sha256Parts } from '../../../io/checksum.ts'
import { buildNative, type Built } from '../../native-build.ts'
import { compilerFlags, cpuFeatures } from './features.ts'
import { kernelsLibrary } from './library.ts'

// Without the search for expressions that are computed twice on some paths: in functions as long as these it takes half of the compiler's time.
const flags = ['-O3', '-fno-gcse', '-fno-gcse-after-reload', '-std=gnu11', '-shared', '-fPIC', '-pthread', '-fvisibility=hidden', '-Wl,-z,defs'] as const

/** Machines that share a cache may have other instructions. */
function machineOf(): string {
  const { model, flags: features } = cpuFeatures()
  return sha256Parts([model, features.join(' ')]).slice(0, 12)
}

export const buildKernels = (): Promise<Built> => buildNative({ sources: 'kernels', library: kernelsLibrary, flags: [...compilerFlags(), ...flags], headers: ['ffi.h'], machine: machineOf() })
