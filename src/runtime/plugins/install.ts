/** Installs a plugin of the catalog into the user's cache: download, check, unpack, move into place. */
import { mkdir, mkdtemp, readdir, rename, rm } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { MeshworkError, PluginError } from '../../core/errors.ts'
import { cacheRoot } from '../../io/cache-root.ts'
import { withLock } from '../../io/lock.ts'
import { isNotOffered, type Progress } from '../../io/pip.ts'
import { extract } from '../../io/unzip.ts'
import { thisMachine, type Sight } from '../hardware.ts'
import { findLibraries } from '../vendor-libraries.ts'
import { candidates, entriesOf, type Candidate, type Machine } from './catalog.ts'
import { fetchWheel, otherwise } from './download.ts'
import { libcProblem, machineProblem } from './fitness.ts'
import { installParts, partsWanted, type LibrarySource, type PartsOptions } from './parts.ts'
import { installDir, pluginsDir } from './paths.ts'
import { readStamp, writeStamp } from './stamp.ts'

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
  /** What is looked at of it: this machine, unless told. */
  readonly sight?: Sight | undefined
  /** Where a GPU's libraries are to come from; what the system lacks is fetched, unless told. */
  readonly libraries?: LibrarySource | undefined
  readonly onPart?: PartsOptions['onPart']
}

export interface Installed {
  readonly path: string
  readonly package: string
  readonly version: string
  /** Whether anything was fetched. */
  readonly fresh: boolean
}

/** The names of systems as people write them. */
const systemNames: Readonly<Record<string, string>> = { 'linux-x64': 'Linux on x86-64', 'linux-arm64': 'Linux on aarch64', 'darwin-arm64': 'macOS on Apple silicon' }

/** The candidates of a name that are built for a machine. @throws UsageError for an unknown name, PluginError where there are none */
export function builtFor(name: string, machine: Machine): Candidate[] {
  const found = candidates(name, machine)
  if (found.length > 0) return found
  const systems = [...new Set(entriesOf(name).flatMap(entry => Object.keys(entry.wheels)))].map(system => systemNames[system] ?? system)
  throw new PluginError({
    code: 'unsupported-platform', what: `there is no ${name} plugin for ${machine.platform} ${machine.arch}`, details: { 'there are ones for': systems.join(', ') },
    fix: `give a library of your own: --plugin PATH, ${otherwise}`,
  })
}

/**
 * Installs the best plugin of a name, or the one of a package, and the libraries that it needs and this machine lacks. A device need not be there.
 * @throws UsageError for an unknown name; PluginError
 */
export async function installPlugin(name: string, options: InstallOptions = {}): Promise<Installed> {
  const machine = options.machine ?? process
  const sight = options.sight ?? thisMachine
  const built = builtFor(name, machine).filter((entry) => options.package === undefined || entry.package === options.package)
  const [first] = built
  const wrongLibc = first === undefined || options.machine !== undefined ? undefined : libcProblem(first, sight)
  if (wrongLibc !== undefined) throw new PluginError(wrongLibc)
  const fitting = built.filter((entry) => machineProblem(entry, sight) === undefined)
  const able = fitting.length === 0 ? built : fitting
  // Of plugins that take the system's libraries, those first whose libraries are here.
  const lacking = new Set(able.filter(({ libraries }) => libraries?.parts.length === 0 && findLibraries(libraries.toolkit, '', { sight, wheels: false }).missing.length > 0))
  const chosen = [...able.filter((entry) => !lacking.has(entry)), ...lacking]
  const installed = await installCandidates(chosen, options)
  const entry = chosen.find((candidate) => candidate.package === installed.package)
  return entry === undefined ? installed : withParts(entry, installed, options)
}

/** Fetches the libraries that an installed plugin lacks. */
async function withParts(entry: Candidate, installed: Installed, options: InstallOptions): Promise<Installed> {
  if (entry.libraries === undefined || entry.libraries.parts.length === 0) return installed
  const root = cacheRoot(options.cacheDir)
  const parts = partsWanted(entry.libraries, installed.path, options.machine ?? process, { source: options.libraries, ...options.sight === undefined ? {} : { sight: options.sight } })
  try {
    const fetched = await withLock(pluginsDir(root), options, () => installParts(parts, installDir(root, entry), join(pluginsDir(root), STAGING), options))
    return { ...installed, fresh: installed.fresh || fetched > 0 }
  } catch (cause) {
    throw explain(cause, root, options.signal)
  }
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

const STAGING = '.staging-'

/** Under the lock nobody else stages, so whatever is left there is of a process that was killed. */
async function sweep(dir: string): Promise<void> {
  const left = (await readdir(dir)).filter((entry) => entry.startsWith(STAGING))
  await Promise.all(left.map((entry) => rm(join(dir, entry), { recursive: true, force: true })))
}

async function installOne(candidate: Candidate, root: string, options: InstallOptions): Promise<Installed> {
  const staging = await mkdtemp(join(pluginsDir(root), STAGING))
  try {
    const wheel = await fetchWheel(candidate, staging, options)
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
      code: 'cancelled', what: 'the installation was cancelled; nothing by half was left behind', fix: `run it again, ${otherwise}`, cause,
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
