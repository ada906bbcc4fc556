/** Bytes by name: a path or an address. */
import { openFile } from './file.ts'
import { isAddress, openAddress } from './http.ts'
import type { ByteSource } from './source.ts'

/**
 * Opens a path or an http(s) address. `version` is the one it must have.
 * @throws DataError when it is not there, is unreadable or has changed.
 */
export const openBytes = (name: string, version?: string): Promise<ByteSource> => isAddress(name) ? openAddress(name, version) : openFile(name, version)

/** Opens, uses, closes. */
export async function withBytes<R>(name: string, version: string | undefined, use: (source: ByteSource) => Promise<R>): Promise<R> {
  const source = await openBytes(name, version)
  try {
    return await use(source)
  } finally {
    await source.close()
  }
}
