/** Whether every byte of a checkpoint is what was written. */
import { join } from 'node:path'
import { FileError, type MeshworkError } from '../core/errors.ts'
import { disk, type Files } from '../io/files.ts'
import { openRanged, verified } from '../io/ranged.ts'
import { readManifest } from './folder.ts'
import type { Manifest } from './manifest.ts'
import { indexName } from './plan.ts'
import { openGroup, openWeights } from './source.ts'

export interface Verified {
  /** Undefined where it is the manifest that is damaged. */
  readonly manifest: Manifest | undefined
  /** What is wrong, one line each; none where all is well. */
  readonly problems: readonly string[]
}

export interface VerifyOptions {
  /** Bytes read of bytes in all. */
  readonly onProgress?: (done: number, total: number) => void
  readonly signal?: AbortSignal
}

const piece = 8 * 2 ** 20
const line = (e: MeshworkError): string => `${e.problem.what}${e.problem.details?.['reason'] === undefined ? '' : `: ${e.problem.details['reason']}`}`

/** Reads all of it. A damaged checkpoint is no error but a result. @throws the signal's reason */
export async function verifyCheckpoint(folder: string, files: Files = disk, { onProgress = () => {}, signal }: VerifyOptions = {}): Promise<Verified> {
  const problems: string[] = []
  const found = async <T>(work: () => Promise<T>): Promise<T | undefined> => {
    try {
      return await work()
    } catch (e) {
      if (!(e instanceof FileError)) throw e
      problems.push(line(e))
      return undefined
    }
  }
  const manifest = await found(() => readManifest(files, folder))
  if (manifest === undefined) return { manifest, problems }
  const total = manifest.files.reduce((n, f) => n + f.bytes, 0)
  let done = 0
  for (const { name, bytes, crcs } of manifest.files) {
    await found(async () => {
      await using file = verified(await openRanged(files, join(folder, name)), { size: manifest.chunk, crcs })
      for (let at = 0; at < bytes; at += piece) {
        signal?.throwIfAborted()
        const part = new Uint8Array(Math.min(piece, bytes - at))
        await file.read(part, at)
        done += part.byteLength
        onProgress(done, total)
      }
    })
  }
  if (problems.length > 0) return { manifest, problems }
  // What is written is unharmed; whether it also fits together is a matter of who wrote it.
  for (const group of ['weights', 'state'] as const) await found(async () => { await (await openGroup(folder, manifest, group, files)).close() })
  if (manifest.files.some(f => f.name === indexName)) await found(async () => { await (await openWeights(join(folder, indexName), files)).close() })
  return { manifest, problems }
}
