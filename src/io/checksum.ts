/** SHA-256 of texts, bytes and files, in hexadecimal: what caches are named by, and how a file shows that it is unharmed. */
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { pipeline } from 'node:stream/promises'

export const sha256 = (data: string | Uint8Array): string => createHash('sha256').update(data).digest('hex')

/** The checksum of several parts. Each is preceded by its length, so that two different lists never hash alike. Texts are hashed as UTF-8. */
export function sha256Parts(parts: Iterable<string | Uint8Array>): string {
  const hash = createHash('sha256')
  for (const part of parts) {
    const bytes = typeof part === 'string' ? Buffer.from(part) : part
    hash.update(`${bytes.byteLength}:`).update(bytes)
  }
  return hash.digest('hex')
}

/** The checksum of a file, read as a stream. @throws the system's error, or the signal's reason. */
export async function sha256File(path: string, signal?: AbortSignal): Promise<string> {
  const hash = createHash('sha256')
  await pipeline(createReadStream(path), hash, signal === undefined ? {} : { signal })
  return hash.digest('hex')
}
