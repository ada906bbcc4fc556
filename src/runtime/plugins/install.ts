/** Installs a plugin of the catalog into the user's cache: download, check, unpack, move into place. */
import { mkdir, mkdtemp, readdir, rename, rm } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { MeshworkError, PluginError } from '../../core/errors.ts'
import { cacheRoot } from '../../io/cache-root.ts'
import { sha256File } from '../../io/checksum.ts'
import { withLock } from '../../io/lock.ts'
import { downloadWheel, isNotOffered, type Progress, type Words } from '../../io/pip.ts'
import { extract } from '../../io/unzip.ts'
import { candidates, type Candidate, type Machine } from './catalog.ts'
import { installDir, pluginsDir } from './paths.ts'
import { readStamp, writeStamp } from './stamp.ts'

/** What else a person may do. */
export const otherwise = 'or run without a plugin: --plugin simulate'

export interface InstallOptions {
  readonly onProgress?: Progress | undefined
  /** Called when another process is installing and this one waits for it. */
  readonly onWait?: ((holder: string) => void) | undefined
  /** Instead of MESHWORK_CACHE_DIR or the user's cache folder. */
  readonly cacheDir?: string | undefined
  /** Installs anew even where it is installed. */
  readonly force?: boolean | undefined
  readonly signal?: AbortSignal | undefined
  /** Only this package of the name's candidates. */
  readonly package?: string | undefined
  /** The machine to install for; this one unless told. */
  readonly machine?: Machine | undefined
}

export interface Installed { readonly path: string; readonly package: string; readonly version: string; readonly fresh: boolean }

export async function installPlugin(name: string, options: InstallOptions = {}): Promise<Installed> {
  const machine = options.machine ?? process
  const fitting = candidates(name, machine).filter((entry) => options.package === undefined || entry.package === options.package)
  if (fitting.length === 0) {
    throw new PluginError({
      code: 'unsupported-platform', what: `there is no ${options.package ?? name} plugin for ${machine.platform} ${machine.arch}`,
      fix: `give a library of your own: --plugin PATH, ${otherwise}`,
    })
  }
  return installCandidates(fitting, options)
}

/** Installs the first of the candidates that the package index offers, unless one is installed. */
export async function installCandidates(fitting: readonly Candidate[], options: InstallOptions): Promise<Installed> {
  const root = cacheRoot(options.cacheDir)
  const found = options.force === true ? undefined : await findInstalled(fitting, root)
  if (found !== undefined) return found
  try {
    return await withLock(pluginsDir(root), options, async () => {
      const others = options.force === true ? undefined : await findInstalled(fitting, root)
      return others ?? await firstOffered(fitting, root, options)
    })
  } catch (cause) {
    throw explain(cause, root, options.signal)
  }
}

/** The best candidate that is installed whole. */
export async function findInstalled(fitting: readonly Candidate[], root: string): Promise<Installed | undefined> {
  for (const candidate of fitting) {
    const dir = installDir(root, candidate)
    if (await readStamp(dir, candidate) !== undefined) return installed(dir, candidate, false)
  }
  return undefined
}

const installed = (dir: string, candidate: Candidate, fresh: boolean): Installed =>
  ({ path: join(dir, basename(candidate.library)), package: candidate.package, version: candidate.version, fresh })

async function firstOffered(fitting: readonly Candidate[], root: string, options: InstallOptions): Promise<Installed> {
  await sweep(pluginsDir(root))
  let refusal: unknown
  for (const candidate of fitting) {
    try {
      return await installOne(candidate, root, options)
    } catch (failure) {
      if (!isNotOffered(failure)) throw failure
      refusal ??= failure
    }
  }
  throw refusal
}

const words: Words = { thing: 'the plugin', instead: 'or give a library: --plugin PATH', otherwise, error: problem => new PluginError(problem) }

const STAGING = '.staging-'

/** Under the lock nobody else stages, so whatever is left there is of a process that was killed. */
async function sweep(dir: string): Promise<void> {
  const left = (await readdir(dir)).filter((entry) => entry.startsWith(STAGING))
  await Promise.all(left.map((entry) => rm(join(dir, entry), { recursive: true, force: true })))
}

async function installOne(candidate: Candidate, root: string, options: InstallOptions): Promise<Installed> {
  const staging = await mkdtemp(join(pluginsDir(root), STAGING))
  try {
    const wheel = await downloadWheel(candidate, staging, words, options)
    const sum = await sha256File(wheel, options.signal)
    if (sum !== candidate.wheel.sha256) {
      throw new PluginError({
        code: 'checksum', what: `the downloaded ${basename(wheel)} is not the file it should be; it was deleted`,
        details: { expected: candidate.wheel.sha256, got: sum },
        fix: `check pip's index (pip config list) and the network between, then try again, ${otherwise}`,
      })
    }
    const unpacked = join(staging, 'unpacked')
    await mkdir(unpacked)
    await extract(wheel, candidate.library, join(unpacked, basename(candidate.library)), options.signal)
    await writeStamp(unpacked, candidate)
    options.signal?.throwIfAborted()
    const dir = installDir(root, candidate)
    await rm(dir, { recursive: true, force: true })
    await rename(unpacked, dir)
    return installed(dir, candidate, true)
  } finally {
    await rm(staging, { recursive: true, force: true })
  }
}

const UNWRITABLE = new Set(['EACCES', 'EPERM', 'EROFS', 'ENOSPC', 'EDQUOT', 'ENOTDIR', 'EEXIST'])

function explain(cause: unknown, root: string, signal: AbortSignal | undefined): unknown {
  if (signal?.aborted === true) {
    return new PluginError({
      code: 'cancelled', what: 'the installation was cancelled; nothing was left behind', fix: `run it again, ${otherwise}`, cause,
    })
  }
  if (cause instanceof MeshworkError) return cause
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : ''
  const message = cause instanceof Error ? cause.message : String(cause)
  if (UNWRITABLE.has(code)) {
    return new PluginError({
      code: 'cache-not-writable', what: 'the plugin cannot be written to the cache', details: { folder: root, reason: message },
      fix: `make it writable, make room, or set MESHWORK_CACHE_DIR, ${otherwise}`, cause,
    })
  }
  return new PluginError({
    code: 'install', what: 'the plugin could not be installed', details: { folder: root, reason: message },
    fix: `try again, give a library: --plugin PATH, ${otherwise}`, cause,
  })
}
