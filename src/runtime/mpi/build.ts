/** The native library: found in the cache, or built with the user's own MPI compiler. */
import { existsSync } from 'node:fs'
import { readdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { PluginError } from '../../core/errors.ts'
import { cacheRoot, makeCacheFolder } from '../../io/cache-root.ts'
import { withLock } from '../../io/lock.ts'
import { nativeSources, runCompiler } from '../native-source.ts'
import type { Launch } from './environment.ts'

/** The linker reports undefined symbols at build time, not when the library is loaded. */
const flags = ['-O3', '-std=gnu11', '-shared', '-fPIC', '-pthread', '-Wl,-z,defs'] as const
const libraryName = 'libmeshwork_mpi.so'
export const installFix = 'install an MPI with its compiler: on Debian, apt-get install openmpi-bin libopenmpi-dev (or mpich libmpich-dev)'

/** An MPI as its compiler describes it. */
export interface Mpi { readonly flavour: 'Open MPI' | 'MPICH' | 'MPI'; readonly version: string; readonly mpicc: string }
export interface Built { readonly path: string; readonly folder: string }

/** What its header says; undefined where there is no such compiler, or no MPI behind it. */
export async function describeCompiler(mpicc: string): Promise<Mpi | undefined> {
  const { ok, text } = await runCompiler(mpicc, ['-E', '-dM', '-x', 'c', '-'], '#include <mpi.h>\n')
  if (!ok) return undefined
  const value = (name: string): string | undefined => new RegExp(`^#define ${name} "?([^"\\n]+)"?$`, 'm').exec(text)?.[1]
  const open = ['MAJOR', 'MINOR', 'RELEASE'].map(part => value(`OMPI_${part}_VERSION`))
  if (!open.includes(undefined)) return { flavour: 'Open MPI', version: open.join('.'), mpicc }
  const mpich = value('MPICH_VERSION')
  if (mpich !== undefined) return { flavour: 'MPICH', version: mpich, mpicc }
  const standard = value('MPI_VERSION')
  return standard === undefined ? undefined : { flavour: 'MPI', version: `standard-${standard}.${value('MPI_SUBVERSION') ?? '0'}`, mpicc }
}

/** Debian keeps several side by side under these names. */
const compilersOf: Readonly<Record<string, readonly string[]>> = { 'Open MPI': ['mpicc.openmpi'], MPICH: ['mpicc.mpich'] }

/** The compiler to build with: MPICC where it is set, else one of the launcher's flavour. @throws PluginError when there is none. */
export async function findCompiler(launch: Launch | undefined, env: NodeJS.ProcessEnv = process.env): Promise<Mpi> {
  const set = env['MPICC']
  const wanted = launch?.flavour
  const names = set !== undefined && set !== '' ? [set] : [...wanted === undefined ? [] : compilersOf[wanted] ?? [], 'mpicc']
  const others: Mpi[] = []
  for (const name of names) {
    const found = await describeCompiler(name)
    if (found === undefined) continue
    if (wanted === undefined || found.flavour === wanted || set !== undefined) return found
    others.push(found)
  }
  const [other] = others
  if (other !== undefined) {
    throw new PluginError({
      code: 'other-mpi', what: `${launch?.by ?? 'the launcher'} started this, but ${other.mpicc} is ${other.flavour}'s`,
      fix: `start it with ${other.flavour}'s mpirun, or name ${wanted}'s compiler: MPICC=PATH npx meshwork mpi build`,
    })
  }
  throw new PluginError({ code: 'no-mpicc', what: `there is no MPI compiler: ${names.join(' and ')} cannot be run`, fix: `${installFix}; or name it: MPICC=PATH` })
}

const sources = (): ReturnType<typeof nativeSources> => nativeSources('', flags)

const mpiCache = (): string => join(cacheRoot(), 'mpi')
const folderName = ({ flavour, version }: Mpi, hash: string): string => `${flavour.toLowerCase().replaceAll(' ', '-')}-${version}-${process.arch}-${hash}`

/** Builds it, unless the cache has it. @throws PluginError when the compiler fails. */
export async function buildLibrary(mpi: Mpi, { force = false }: { readonly force?: boolean } = {}): Promise<Built> {
  const { files, hash } = await sources()
  const folder = join(mpiCache(), folderName(mpi, hash))
  const path = join(folder, libraryName)
  if (!force && existsSync(path)) return { path, folder }
  await makeCacheFolder(folder)
  return withLock(folder, {}, async () => {
    if (!force && existsSync(path)) return { path, folder }
    const temporary = join(folder, `.${process.pid}.so`)
    const { ok, text } = await runCompiler(mpi.mpicc, [...flags, '-o', temporary, ...files, '-lm'])
    if (!ok) {
      await rm(temporary, { force: true })
      throw new PluginError({
        code: 'mpi-build', what: `${mpi.mpicc} could not build the collectives`, details: { said: text.trim().split('\n').slice(0, 4).join(' | ') }, fix: 'check that this compiler works, or name another: MPICC=PATH npx meshwork mpi build',
      })
    }
    await rename(temporary, path)
    return { path, folder }
  })
}

/** Libraries that were built before from these sources, for a node that has MPI but no compiler; of the launcher's flavour. */
export async function findBuilt(launch: Launch | undefined): Promise<readonly string[]> {
  const { hash } = await sources()
  const prefix = launch?.flavour === undefined ? '' : `${launch.flavour.toLowerCase().replaceAll(' ', '-')}-`
  const folders = await readdir(mpiCache()).catch(() => [])
  return folders.filter(f => f.startsWith(prefix) && f.endsWith(`-${process.arch}-${hash}`)).map(f => join(mpiCache(), f, libraryName)).filter(existsSync)
}

/** The library for how this process was started: built before, or now. @throws PluginError */
export async function libraryFor(launch: Launch): Promise<string> {
  const set = process.env['MPICC'] ?? ''
  const built = set === '' ? await findBuilt(launch) : []
  if (built.length === 1 && built[0] !== undefined) return built[0]
  try {
    return (await buildLibrary(await findCompiler(launch))).path
  } catch (e) {
    // Several libraries were built, and no compiler is here to tell which one is meant. If the one that is taken does not fit, the loader says so.
    if (built[0] !== undefined) return built[0]
    throw e
  }
}
