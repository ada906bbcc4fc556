/** What stands in the way of a plugin of the catalog on a machine: its C library, its device, its driver, its maker's libraries. Told before gigabytes are fetched, or a plugin fails in words of its own. */
import { PluginError, type Problem } from '../../core/errors.ts'
import { acceleratorOf, isAtLeast, thisMachine, type Sight } from '../hardware.ts'
import { findLibraries, type VendorLibrary } from '../vendor-libraries.ts'
import type { CatalogEntry, Wheel } from './entry.ts'

/** Instead of an accelerator. */
const onCpu = 'or compute on the CPU: --plugin cpu'

/** The oldest glibc that a wheel's tag promises to do with. */
const glibcOf = (tag: string): string | undefined => /^manylinux_(\d+)_(\d+)_/.exec(tag)?.slice(1, 3).join('.')

type Entry = Pick<CatalogEntry, 'package' | 'device' | 'driver'> & { readonly wheel: Wheel }

/** The wrong C library, where it is. */
export function libcProblem({ package: name, wheel }: Entry, sight: Sight = thisMachine): Problem | undefined {
  const least = glibcOf(wheel.tag)
  if (sight.platform !== 'linux' || least === undefined) return undefined
  const has = sight.glibc()
  if (has !== undefined && isAtLeast(has, least)) return undefined
  return {
    code: 'libc', what: has === undefined ? `${name} is built for glibc, and this Node runs on another C library (musl, as on Alpine)` : `${name} is built for glibc ${least} or newer, and this machine has ${has}`,
    fix: `use a system with glibc ${least} or newer (Debian, Ubuntu, Fedora, …), in a container too, or --plugin simulate`,
  }
}

/** No device, or a driver that is too old. */
export function deviceProblem({ package: name, device, driver }: Entry, sight: Sight = thisMachine): Problem | undefined {
  if (device === undefined) return undefined
  const found = acceleratorOf(device, sight)
  if (found.hidden !== undefined) return { code: 'no-device', what: `${name}: ${found.what} cannot be used`, details: { reason: found.hidden }, fix: `mend that, ${onCpu}` }
  if (found.devices === 0) return { code: 'no-device', what: `${name} has no device here: ${found.what.replace(/^0/, 'no').replace(/s$/, '')} was found`, fix: `run it where there is one, ${onCpu}` }
  if (driver === undefined || found.driver === undefined || isAtLeast(found.driver, driver)) return undefined
  return {
    code: 'driver', what: `the driver of ${found.what} is too old for ${name}`, details: { driver: found.driver, needed: `${driver} or newer` },
    fix: `install a newer driver, ${onCpu}`,
  }
}

export const machineProblem = (entry: Entry, sight: Sight = thisMachine): Problem | undefined => libcProblem(entry, sight) ?? deviceProblem(entry, sight)

/** Libraries that are neither beside the plugin nor on the system, without which it computes nothing. */
export function librariesProblem({ package: name, libraries }: Pick<CatalogEntry, 'package' | 'libraries' | 'needs'>, plugin: string, sight: Sight = thisMachine): Problem | undefined {
  if (libraries === undefined) return undefined
  const missing = findLibraries(libraries.toolkit, plugin, { sight }).missing.filter(l => l.only === undefined)
  return missing.length === 0 ? undefined : missingLibraries(name, missing, libraries.parts.length > 0)
}

export const missingLibraries = (name: string, missing: readonly VendorLibrary[], asWheels: boolean): Problem => ({
  code: 'missing-libraries', what: `${name} lacks ${missing.length} of its maker's libraries`, details: { missing: missing.map(l => `${l.soname}${l.least === undefined ? '' : ` (${l.least} or newer)`}`).join(', ') },
  fix: asWheels ? `npx meshwork plugins install ${name}, which fetches them, or put the system's on LD_LIBRARY_PATH, ${onCpu}` : `install them, or put their folders on LD_LIBRARY_PATH, ${onCpu}`,
})

/** The first of the candidates that the machine can run. @throws PluginError with what stands in the way of the last, which asks for least */
export function requireFitting<E extends Entry>(candidates: readonly E[], sight: Sight = thisMachine): E[] {
  const problems = candidates.map(entry => machineProblem(entry, sight))
  const fitting = candidates.filter((_, i) => problems[i] === undefined)
  const [first] = problems
  if (fitting.length === 0 && first !== undefined) throw new PluginError(first)
  return fitting
}
