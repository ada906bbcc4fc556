/** The plugins Meshwork knows how to get. An entry without a checksum is not allowed in. */
import { didYouMean } from '../../core/nearest.ts'
import { UsageError } from '../../core/errors.ts'
import { cuda, metal, oneapi, rocm, tpu } from './accelerators.ts'
import type { Arch, CatalogEntry, System, Wheel } from './entry.ts'

const cpu: readonly CatalogEntry[] = [
  {
    package: 'lammps-jax-pjrt-cpu', version: '0.11.2', library: 'lammps_jax_pjrt_cpu/pjrt_c_api_cpu_plugin.so', about: 'XLA of jaxlib 0.11.2',
    speaks: { pjrt: '0.115', stablehlo: '1.20.0' }, needs: 'nothing', tried: 'programs',
    wheels: { 'linux-x64': { sha256: '1319390d948b39f69f7dade496b7c385149d9ca6097a6b62114da113216d9ad1', bytes: 62_711_338, tag: 'manylinux_2_27_x86_64' } },
  },
  {
    package: 'fastatomstruct-xla-cpu', version: '2026.6.23', library: 'fastatomstruct_xla_cpu/libpjrt_cpu.so', about: "ZML's build of June 2026",
    speaks: { pjrt: '0.106', stablehlo: '1.16.1' }, needs: 'nothing', tried: 'programs',
    wheels: { 'linux-x64': { sha256: '88b1c430b341b4bea40a37420311c9c75db6e22b46d2ff95b6986577bee6afe9', bytes: 63_200_622, tag: 'manylinux_2_27_x86_64' } },
  },
  {
    package: 'xla-cpu-pjrt', version: '0.0.1', library: 'xla_plugins/xla_cpu_pjrt/xla_cpu_pjrt.so', about: "OpenXLA's own",
    speaks: { pjrt: '0.81', stablehlo: '1.13.3' }, needs: 'nothing', tried: 'programs',
    wheels: {
      'linux-x64': { sha256: '55837b6b7b47daa717f2d9a5a03563ea0ceaa338d06a81a1e2d3f060d960decc', bytes: 63_461_052, tag: 'manylinux_2_27_x86_64' },
      'linux-arm64': { sha256: '8f613be6e891858f40d64f9799319502fff42689661944fc18a6ffd8210b30c9', bytes: 49_514_947, tag: 'manylinux_2_27_aarch64' },
    },
  },
]

/** Under each name the candidates, best first: the first one that fits the machine is taken. */
export const catalog: { readonly [name: string]: readonly CatalogEntry[] } = { cpu, cuda, rocm, tpu, oneapi, metal }

/** An entry with the wheel for this machine. */
export interface Candidate extends CatalogEntry { readonly name: string; readonly arch: Arch; readonly wheel: Wheel }

export interface Machine { readonly platform: string; readonly arch: string }

const systems: { readonly [S in System]: Arch } = { 'linux-x64': 'x64', 'linux-arm64': 'arm64', 'darwin-arm64': 'arm64' }
const isSystem = (text: string): text is System => Object.hasOwn(systems, text)

/** The system that wheels are looked up by; undefined where nothing is built for it. */
export function systemOf({ platform, arch }: Machine): System | undefined {
  const system = `${platform}-${arch}`
  return isSystem(system) ? system : undefined
}

/** The name that a package of the catalog stands under; a name of the catalog is its own. */
export const catalogName = (nameOrPackage: string): string | undefined =>
  (Object.hasOwn(catalog, nameOrPackage) ? nameOrPackage : Object.keys(catalog).find(name => catalog[name]?.some(entry => entry.package === nameOrPackage)))

/** The entries of a name, or the one of a package. @throws UsageError for an unknown name */
export function entriesOf(nameOrPackage: string): readonly CatalogEntry[] {
  const name = catalogName(nameOrPackage)
  const entries = name === undefined ? undefined : catalog[name]
  if (entries !== undefined) return name === nameOrPackage ? entries : entries.filter(entry => entry.package === nameOrPackage)
  throw new UsageError({
    code: 'unknown-plugin', what: `no plugin is called "${nameOrPackage}"`,
    fix: nameOrPackage === 'simulate' ? 'it is built in: train and generate take --plugin simulate, and nothing is to be installed'
      : nameOrPackage === 'auto' ? 'auto is a choice among those that are installed: name one of npx meshwork plugins list'
        : `${didYouMean(nameOrPackage, [...Object.keys(catalog), 'simulate'])}; a path to a library (PATH/to/plugin.so) is taken too`,
  })
}

/** The entries of a name, or of a package, that are built for the machine's system, best first. @throws UsageError for an unknown name */
export function candidates(nameOrPackage: string, machine: Machine = process): Candidate[] {
  const entries = entriesOf(nameOrPackage)
  const name = catalogName(nameOrPackage)
  const system = systemOf(machine)
  if (system === undefined || name === undefined) return []
  return entries.flatMap((entry) => {
    const wheel = entry.wheels[system]
    return wheel === undefined ? [] : [{ ...entry, name, arch: systems[system], wheel }]
  })
}
