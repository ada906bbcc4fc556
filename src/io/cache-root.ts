/** Where Meshwork keeps what it can always make again. */
import { userInfo } from 'node:os'
import { isAbsolute, join, resolve } from 'node:path'
import { FileError } from '../core/errors.ts'
import { isSystemError } from './atomic.ts'
import { makeFolders } from './folders.ts'

const set = (value: string | undefined): string | undefined => (value === '' ? undefined : value)

/**
 * `given`, else MESHWORK_CACHE_DIR, else meshwork under XDG_CACHE_HOME, else ~/.cache/meshwork; always an absolute path. A relative
 * XDG_CACHE_HOME counts as none, as its specification has it, and so does a relative HOME.
 * @throws FileError where nothing says where the user's home is.
 */
export function cacheRoot(given?: string, env: NodeJS.ProcessEnv = process.env, account: () => string = () => userInfo().homedir): string {
  const chosen = set(given) ?? set(env['MESHWORK_CACHE_DIR'])
  if (chosen !== undefined) return resolve(chosen)
  const xdg = env['XDG_CACHE_HOME'] ?? ''
  return join(isAbsolute(xdg) ? xdg : join(home(env, account), '.cache'), 'meshwork')
}

/** HOME, else what the system says of the account, which some containers have none of. */
function home(env: NodeJS.ProcessEnv, account: () => string): string {
  const named = env['HOME'] ?? ''
  if (isAbsolute(named)) return named
  const problem = (cause?: unknown): FileError => new FileError({
    code: 'no-home', what: 'there is no home folder to keep the cache in', details: { HOME: named === '' ? 'is not set' : `is "${named}", no absolute path` },
    fix: 'say where: MESHWORK_CACHE_DIR=/a/folder/of/yours', ...cause === undefined ? {} : { cause },
  })
  let found: string
  try { found = account() } catch (cause) { throw problem(cause) }
  if (!isAbsolute(found)) throw problem()
  return found
}

/** Makes a folder of the cache. @throws FileError when it cannot be made. */
export async function makeCacheFolder(folder: string): Promise<void> {
  await makeFolders(folder).catch((cause: unknown) => {
    throw isSystemError(cause) ? new FileError({
      code: 'cache-not-writable', what: 'the cache cannot be written', details: { folder, reason: cause.message },
      fix: 'make it writable, make room, or keep the cache elsewhere: MESHWORK_CACHE_DIR=/a/folder/of/yours', cause,
    }) : cause
  })
}
