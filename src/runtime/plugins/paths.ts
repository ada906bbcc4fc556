/** Where plugins and compiled programs lie in the user's cache folder. */
import { join } from 'node:path'
import { cacheRoot } from '../../io/cache-root.ts'
import type { Candidate } from './catalog.ts'

/** Where compiled programs go: `openPjrt`'s `cacheDir`. */
export const executableCacheDir = (root: string = cacheRoot()): string => join(root, 'executables')

export const pluginsDir = (root: string): string => join(root, 'plugins')

export const installDir = (root: string, { package: name, version, arch }: Candidate): string =>
  join(pluginsDir(root), `${name}-${version}-${arch}`)
