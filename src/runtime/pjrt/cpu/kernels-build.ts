/** Our own kernels for CPUs: found in the cache, or built with the user's C compiler for the machine that this is. */
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

/** Where they are; or, where they cannot be built, why: programs do without. */
export async function buildKernels(): Promise<Built> {
  try { return await built() } catch (e) {
    if (e instanceof MeshworkError) return { why: e.problem.what }
    throw e
  }
}

async function built(): Promise<Built> {
  const { files, hash } = await nativeSources('kernels', flags, ['ffi.h'])
  // Machines that share a cache may have other instructions.
  const { model, flags: features } = cpuFeatures()
  const machine = sha256Parts([model, features.join(' ')]).slice(0, 12)
  const folder = join(cacheRoot(), 'kernels', `${process.arch}-${machine}-${hash}`)
  const path = join(folder, 'libmeshwork_kernels.so')
  if (existsSync(path)) return { path }
  await makeCacheFolder(folder)
  return withLock(folder, {}, async () => {
    if (existsSync(path)) return { path }
    const temporary = join(folder, `.${process.pid}.so`)
    const { ok, text } = await runCompiler(compilerOf(), [...flags, '-o', temporary, ...files])
    if (!ok) {
      await rm(temporary, { force: true })
      return { why: text.trim().split('\n').slice(0, 3).join(' | ') }
    }
    await rename(temporary, path)
    return { path }
  })
}
