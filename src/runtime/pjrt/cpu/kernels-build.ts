/** Code of our own in C, our kernels for CPUs above all: found in the cache, or built with the user's C compiler for the machine that this is. */
import { existsSync } from 'node:fs'
import { rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { MeshworkError } from '../../../core/errors.ts'
import { cacheRoot, makeCacheFolder } from '../../../io/cache-root.ts'
import { sha256Parts } from '../../../io/checksum.ts'
import { withLock } from '../../../io/lock.ts'
import { nativeSources, runCompiler } from '../../native-source.ts'
import { cpuFeatures } from './features.ts'

const flags = ['-O3', '-march=native', '-std=gnu11', '-shared', '-fPIC', '-pthread', '-fvisibility=hidden', '-Wl,-z,defs'] as const
export const compilerOf = (env: NodeJS.ProcessEnv = process.env): string => env['CC'] || 'cc'

type Built = { readonly path: string } | { readonly why: string }
/** A folder of native/, what its headers are beside its own, and what is made of it. */
interface Wanted { readonly sources: string; readonly library: string; readonly flags: readonly string[]; readonly headers?: readonly string[] }

export const buildKernels = (): Promise<Built> => buildNative({ sources: 'kernels', library: 'libmeshwork_kernels.so', flags, headers: ['ffi.h'] })

/** Where it is; or, where it cannot be built, why: programs do without. */
export async function buildNative(wanted: Wanted): Promise<Built> {
  try { return await built(wanted) } catch (e) {
    if (e instanceof MeshworkError) return { why: e.problem.what }
    throw e
  }
}

async function built({ sources, library, flags: given, headers = [] }: Wanted): Promise<Built> {
  const { files, hash } = await nativeSources(sources, given, headers)
  // Machines that share a cache may have other instructions.
  const { model, flags: features } = cpuFeatures()
  const machine = sha256Parts([model, features.join(' ')]).slice(0, 12)
  const folder = join(cacheRoot(), 'kernels', `${process.arch}-${machine}-${hash}`)
  const path = join(folder, library)
  if (existsSync(path)) return { path }
  await makeCacheFolder(folder)
  return withLock(folder, {}, async () => {
    if (existsSync(path)) return { path }
    const temporary = join(folder, `.${process.pid}.so`)
    const { ok, text } = await runCompiler(compilerOf(), [...given, '-o', temporary, ...files])
    if (!ok) {
      await rm(temporary, { force: true })
      return { why: text.trim().split('\n').slice(0, 3).join(' | ') }
    }
    await rename(temporary, path)
    return { path }
  })
}
