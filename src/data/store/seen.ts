/** Which store of a cache was made of files as they are: known again by how they lie on the disk, so that none of them is read where none was touched. */
import { statSync, type BigIntStats } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { basename, join, resolve } from 'node:path'
import { writeFileAtomic } from '../../io/atomic.ts'
import { sha256Parts } from '../../io/checksum.ts'
import { version } from '../../io/version.ts'
import { filesOf } from '../sources/names.ts'

export interface Seen {
  /** Where the store would be; whether it is, and whole, is for others to see. Undefined where these files were not seen as they are now. */
  readonly folder: string | undefined
  /** Remembers the store for the next time, if nobody has touched a file since `seen` looked. */
  note(folder: string): Promise<void>
}

/** What is younger may be written once more without a clock that shows it: file systems count in ticks, some in whole seconds. */
const settledNs = 2_000_000_000n

/** Of files: which they are, how long, and when they were last written, or given another time. Undefined where one is none, such as an address or a pipe. */
function stampOf(files: readonly string[]): { readonly stamp: string; readonly changedNs: bigint } | undefined {
  let changedNs = 0n
  const parts: string[] = []
  for (const file of files) {
    const of = statOf(file)
    if (of?.isFile() !== true) return undefined
    parts.push(resolve(file), `${of.dev} ${of.ino} ${of.size} ${of.mtimeNs} ${of.ctimeNs}`)
    for (const at of [of.ctimeNs, of.mtimeNs]) if (at > changedNs) changedNs = at
  }
  return { stamp: sha256Parts(parts), changedNs }
}

function statOf(file: string): BigIntStats | undefined {
  try {
    return statSync(file, { bigint: true })
  } catch {
    return undefined
  }
}

/** `asked` is what else a store hangs on, `further` files beside the documents that say so; `nowMs` is the time. */
export async function seen(cache: string, { names, further, anyFormat, asked }: { readonly names: readonly string[]; readonly further: readonly string[]; readonly anyFormat: boolean; readonly asked: string }, nowMs: number = Date.now()): Promise<Seen> {
  const look = async (): Promise<ReturnType<typeof stampOf>> => {
    // What is not there, or named twice, is told by whoever opens it.
    const files = names.every(n => statOf(n)?.isFile()) ? names : await filesOf(names, anyFormat).catch(() => undefined)
    return files === undefined ? undefined : stampOf([...files, ...further])
  }
  const before = await look()
  if (before === undefined) return { folder: undefined, note: () => Promise.resolve() }
  const path = join(cache, `.seen-${sha256Parts([version, asked, ...names.map(n => resolve(n)), '', ...further.map(n => resolve(n))]).slice(0, 24)}`)
  const [stamp, folder] = (await readFile(path, 'utf8').catch(() => '')).split('\n')
  const known = stamp === before.stamp && folder !== undefined && folder !== ''
  return {
    folder: known ? join(cache, basename(folder)) : undefined,
    async note(folder) {
      if (known || before.changedNs > BigInt(nowMs) * 1_000_000n - settledNs || (await look())?.stamp !== before.stamp) return
      // Without it the files are read the next time, too.
      await writeFileAtomic(path, `${before.stamp}\n${basename(folder)}\n`).catch(() => undefined)
    },
  }
}
