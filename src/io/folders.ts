/** Folders made one by one: Node's recursive mkdir never returns where a file system refuses with ENOENT, as /proc does. */
import { mkdir, rmdir, stat } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { isSystemError } from './atomic.ts'
import type { Files } from './files.ts'

/**
 * Makes a folder and those above it that are not there. Resolves to the ones made, the outermost first.
 * @throws the system's error; what was made until then is taken away again.
 */
export async function makeFolders(path: string): Promise<string[]> {
  const missing: string[] = []
  for (let at = resolve(path); await absent(at) && dirname(at) !== at; at = dirname(at)) missing.unshift(at)
  const made: string[] = []
  for (const folder of missing) {
    await mkdir(folder).then(() => { made.push(folder) }, async (cause: unknown) => {
      // Another process has made it in the meantime.
      if (isSystemError(cause) && cause.code === 'EEXIST') return
      await removeEmpty(made)
      throw cause
    })
  }
  return made
}

/** The same, by a file layer, so that they are there after a loss of power too. @throws the system's error */
export async function makeParents(files: Files, path: string): Promise<void> {
  if (await files.info(path) !== undefined) return
  const above = dirname(path)
  if (above !== path) await makeParents(files, above)
  await files.makeFolder(path).catch((cause: unknown) => { if (!isSystemError(cause) || cause.code !== 'EEXIST') throw cause })
  await files.syncFolder(above)
}

/** Takes folders away, the last first; one that holds something stays. */
export async function removeEmpty(folders: readonly string[]): Promise<void> {
  for (const folder of folders.toReversed()) await rmdir(folder).catch(() => undefined)
}

const absent = (path: string): Promise<boolean> => stat(path).then(() => false, (cause: unknown) => {
  if (isSystemError(cause) && cause.code === 'ENOENT') return true
  throw cause
})
