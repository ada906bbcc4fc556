/** Where Meshwork keeps what it can always make again. */
import { homedir } from 'node:os'
import { join } from 'node:path'

/** `given`, else MESHWORK_CACHE_DIR, else meshwork under XDG_CACHE_HOME, else ~/.cache/meshwork. */
export function cacheRoot(given?: string, env: NodeJS.ProcessEnv = process.env): string {
  const set = (value: string | undefined): string | undefined => value === '' ? undefined : value
  return given ?? set(env['MESHWORK_CACHE_DIR']) ?? join(set(env['XDG_CACHE_HOME']) ?? join(homedir(), '.cache'), 'meshwork')
}
