/** Which library a plugin's name stands for. */
import { stat } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { PluginError } from '../../core/errors.ts'
import { cacheRoot } from '../../io/cache-root.ts'
import { sha256File } from '../../io/checksum.ts'
import { candidates, catalog, entriesOf, systemOf, type Candidate, type Machine } from './catalog.ts'
import { otherwise } from './download.ts'
import type { CatalogEntry } from './entry.ts'
import { builtFor, findInstalled } from './install.ts'
import { installDir } from './paths.ts'
import { readStamp } from './stamp.ts'

export interface Listed {
  readonly name: string
  readonly package: string
  readonly version: string
  readonly about: string
  /** Bytes to fetch, libraries not counted. */
  readonly bytes: number
  /** What it speaks, where that is known. */
  readonly speaks: CatalogEntry['speaks']
  readonly needs: string
  readonly tried: CatalogEntry['tried']
  /** The library, where it is installed. */
  readonly path: string | undefined
}

/** The candidates that fit this machine, best first. */
export async function listPlugins(cacheDir?: string): Promise<Listed[]> {
  const fitting = Object.keys(catalog).flatMap((name) => candidates(name))
  return Promise.all(fitting.map(async (candidate) => ({
    name: candidate.name, package: candidate.package, version: candidate.version, about: candidate.about, bytes: candidate.wheel.bytes, speaks: candidate.speaks, needs: candidate.needs, tried: candidate.tried,
    path: (await findInstalled([candidate], cacheRoot(cacheDir)))?.path,
  })))
}

/** Names of the catalog under which nothing is built for the machine. */
export const namesWithout = (machine: Machine = process): string[] =>
  Object.keys(catalog).filter(name => !entriesOf(name).some(entry => { const system = systemOf(machine); return system !== undefined && entry.wheels[system] !== undefined }))

/** The installed library of a catalog name, if there is one. */
export async function pluginPath(name: string, cacheDir?: string): Promise<string | undefined> {
  return (await findInstalled(candidates(name), cacheRoot(cacheDir)))?.path
}

/** Whether the user means a file rather than a name of the catalog. */
export const isPath = (nameOrPath: string): boolean => nameOrPath.includes('/') || /\.(so|dylib|dll)(\.|$)/.test(nameOrPath)

/** A library of the environment stands for the CPU's: whoever names another plugin means that one. */
export const fromEnvironment = (name: string, env: NodeJS.ProcessEnv = process.env): string | undefined => {
  const set = env['PJRT_PLUGIN_LIBRARY_PATH']
  return name === 'cpu' && set !== undefined && set !== '' ? set : undefined
}

/** A path as it is, else for `cpu` PJRT_PLUGIN_LIBRARY_PATH, else what is installed under the name, or of the package. */
export async function resolvePlugin(nameOrPath: string = 'cpu', cacheDir?: string): Promise<string> {
  if (isPath(nameOrPath)) return existing(nameOrPath, '--plugin')
  // A misspelt name is none.
  entriesOf(nameOrPath)
  const set = fromEnvironment(nameOrPath)
  if (set !== undefined) return existing(set, 'PJRT_PLUGIN_LIBRARY_PATH')
  const path = await pluginPath(nameOrPath, cacheDir)
  if (path !== undefined) return path
  builtFor(nameOrPath, process)
  throw new PluginError({
    code: 'not-installed', what: `the ${nameOrPath} plugin is not installed`, details: { folder: cacheRoot(cacheDir) },
    fix: `npx meshwork plugins install ${nameOrPath}, give a library: --plugin PATH, ${otherwise}`,
  })
}

async function existing(path: string, from: string): Promise<string> {
  const found = await stat(path).catch(() => undefined)
  if (found?.isFile() === true) return resolve(path)
  throw new PluginError({
    code: 'no-such-plugin', what: `there is no plugin library at ${path}`, details: { 'given by': from },
    fix: `correct the path, use --plugin cpu after npx meshwork plugins install cpu, ${otherwise}`,
  })
}

/** Hashes the whole library and compares it with what was unpacked; for `doctor`. */
export async function verifyPlugin(name: string, cacheDir?: string): Promise<Verified | undefined> {
  for (const candidate of candidates(name)) {
    const verified = await verifyCandidate(candidate, cacheRoot(cacheDir))
    if (verified !== undefined) return verified
  }
  return undefined
}

export interface Verified { readonly path: string; readonly intact: boolean }

export async function verifyCandidate(candidate: Candidate, root: string): Promise<Verified | undefined> {
  const stamp = await readStamp(installDir(root, candidate), candidate)
  if (stamp === undefined) return undefined
  const path = join(installDir(root, candidate), stamp.library)
  return { path, intact: await sha256File(path) === stamp.sha256 }
}
