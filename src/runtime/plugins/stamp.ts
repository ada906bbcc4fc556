/** The note beside an installed library that says what it must look like. */
import { readFile, stat, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { sha256File } from '../../io/checksum.ts'
import type { Candidate } from './catalog.ts'

export interface Stamp {
  readonly package: string
  readonly version: string
  readonly wheel: string
  readonly library: string
  readonly bytes: number
  readonly sha256: string
}

export async function writeStamp(dir: string, candidate: Candidate): Promise<void> {
  const library = basename(candidate.library)
  const path = join(dir, library)
  const stamp: Stamp = {
    package: candidate.package, version: candidate.version, wheel: candidate.wheel.sha256, library,
    bytes: (await stat(path)).size, sha256: await sha256File(path),
  }
  await writeFile(join(dir, 'stamp.json'), `${JSON.stringify(stamp, undefined, 2)}\n`)
}

/** Reads the stamp; undefined where the folder, the note or the library is not as the catalog says. Cheap: compares sizes. */
export async function readStamp(dir: string, candidate: Candidate): Promise<Stamp | undefined> {
  try {
    const stamp = JSON.parse(await readFile(join(dir, 'stamp.json'), 'utf8')) as Partial<Stamp>
    const library = basename(candidate.library)
    const { size } = await stat(join(dir, library))
    const fits = stamp.wheel === candidate.wheel.sha256 && stamp.library === library && stamp.bytes === size
      && typeof stamp.sha256 === 'string'
    return fits ? stamp as Stamp : undefined
  } catch {
    return undefined
  }
}
