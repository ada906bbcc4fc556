/** Code of our own in C that programs can do without: found in the cache, or built with the user's C compiler. */
import { existsSync } from 'node:fs'
import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { basename, join } from 'node:path'
import { MeshworkError } from '../core/errors.ts'
import { cacheRoot, makeCacheFolder } from '../io/cache-root.ts'
import { withLock } from '../io/lock.ts'
import { compilerOf, unbuiltNote } from './compiler.ts'
import { nativeSources, runCompiler, type Ran } from './native-source.ts'

export type Built = { readonly path: string } | { readonly why: string }

/** A folder of native/, what its headers are beside its own, and what is made of it. `machine`: for which instructions, where these are more than every machine of the architecture has. */
export interface Wanted { readonly sources: string; readonly library: string; readonly flags: readonly string[]; readonly headers?: readonly string[]; readonly machine?: string }

/** Where it is; or, where it cannot be built, why: programs do without. */
export async function buildNative(wanted: Wanted): Promise<Built> {
  try { return await built(wanted) } catch (e) {
    if (e instanceof MeshworkError) return { why: e.problem.what }
    throw e
  }
}

async function built({ sources, library, flags, headers = [], machine = 'any' }: Wanted): Promise<Built> {
  const { files, hash } = await nativeSources(sources, flags, headers)
  const folder = join(cacheRoot(), 'kernels', `${process.arch}-${machine}-${hash}`)
  const path = join(folder, library)
  if (existsSync(path)) return { path }
  await makeCacheFolder(folder)
  return withLock(folder, {}, async () => {
    if (existsSync(path)) return { path }
    const temporary = await mkdtemp(join(folder, '.'))
    try {
      const linked = join(temporary, library)
      const { ok, text } = await compiled(files, flags, temporary, linked)
      if (!ok) {
        // A cache that cannot be written keeps no note: the next start is then as this one.
        await writeFile(unbuiltNote(library), compilerOf()).catch(() => undefined)
        return { why: text.trim().split('\n').slice(0, 3).join(' | ') }
      }
      await rename(linked, path)
      await rm(unbuiltNote(library), { force: true })
      return { path }
    } finally {
      await rm(temporary, { recursive: true, force: true })
    }
  })
}

/** Each file by itself, as many at once as there are cores, and then all together: one call of the compiler takes them one after another. */
async function compiled(files: readonly string[], flags: readonly string[], folder: string, library: string): Promise<Ran> {
  const objects = files.map(file => join(folder, `${basename(file)}.o`))
  const open = [...files.entries()]
  const found: Ran[] = []
  const some = async (): Promise<void> => {
    for (let next = open.shift(); next !== undefined && found.every(ran => ran.ok); next = open.shift()) {
      const [i, file] = next
      found.push(await runCompiler(compilerOf(), [...flags, '-c', '-o', objects[i] ?? '', file]))
    }
  }
  await Promise.all(Array.from({ length: availableParallelism() }, some))
  return found.find(ran => !ran.ok) ?? runCompiler(compilerOf(), [...flags, '-o', library, ...objects])
}
