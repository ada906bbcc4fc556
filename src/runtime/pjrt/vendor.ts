/** What a GPU's plugin needs before it is loaded: its maker's libraries in this process, and where its compiler's tools lie. */
import { basename, dirname } from 'node:path'
import koffi from '../../io/koffi.ts'
import { PluginError } from '../../core/errors.ts'
import { acceleratorOf, thisMachine, vendors, type Sight, type Vendor } from '../hardware.ts'
import { findLibraries, librariesOf, type Toolkit, type VendorLibrary } from '../vendor-libraries.ts'
import { containsText } from './environment.ts'

const isVendor = (platform: string): platform is Vendor => vendors.some(vendor => vendor === platform)

/** Which toolkit a plugin was made for: its name says it, or the library that it needs; CUDA's puts names together when it runs, so that there what is installed decides. */
export function toolkitOf(platform: Vendor, library: string, sight: Sight = thisMachine): Toolkit | undefined {
  const named = /(?:cuda|rocm)(\d+)/i.exec(`${basename(dirname(library))}/${basename(library)}`)?.[1]
  const count = (toolkit: Toolkit): number => findLibraries(toolkit, library, { sight }).found.length
  const table: { readonly [V in Vendor]?: () => Toolkit } = {
    cuda: () => (named === '13' || (named === undefined && count('cuda13') > count('cuda12')) ? 'cuda13' : 'cuda12'),
    rocm: () => ((named ?? (containsText(library, 'libamd_smi.so.27') ? '10' : '7')) === '10' ? 'rocm10' : 'rocm7'),
    oneapi: () => 'oneapi',
  }
  return table[platform]?.()
}

const RTLD_NOW = 2

/** Loads a library for the rest of the process: whoever asks for its soname later gets this one. */
const open = (path: string): boolean => (koffi.load(null).func('dlopen', 'void *', ['str', 'int'])(path, RTLD_NOW) as bigint | null) !== null

/** Whether a library is a build of XLA for GPUs. */
const ofXla = (library: string): boolean => containsText(library, 'xla_gpu_cuda_data_dir')

export interface Prepared {
  /** Flags of XLA that say where the maker's things are. */
  readonly flags: readonly string[]
}

/** Whether a TPU's host says itself what it is, where its chips are not seen. */
const saysTpu = ({ env, entries }: Sight): boolean => Object.keys(env).some(name => name.startsWith('TPU_')) || entries('/dev/vfio').some(name => /^\d+$/.test(name))

/**
 * Loads the libraries of the platform's maker, each after those it needs, wherever they are found, so that no LD_LIBRARY_PATH is to be set. A plugin finds them by soname.
 * @throws PluginError where there is a device and libraries are missing, or where there is none and the plugin would look for it in the network
 */
export function prepareVendor(library: string, platform: string, { sight = thisMachine, load = open }: { readonly sight?: Sight; readonly load?: (path: string) => boolean } = {}): Prepared {
  if (!isVendor(platform)) return { flags: [] }
  const device = acceleratorOf(platform, sight)
  const present = device.devices > 0
  if (platform === 'tpu' && !present && !saysTpu(sight)) {
    // It would ask Google's cloud for minutes what machine this is.
    throw new PluginError({ code: 'no-device', what: 'the plugin has no device here: no TPU chip was found', details: { plugin: library }, fix: 'run it on a Cloud TPU\'s host, or compute on the CPU: --plugin cpu' })
  }
  // What the plugin logs of a device that is not there says nothing that its error does not say.
  if (!present) koffi.load(null).func('setenv', 'int', ['str', 'str', 'int'])('TF_CPP_MIN_LOG_LEVEL', '3', 0)
  const toolkit = toolkitOf(platform, library, sight)
  if (toolkit === undefined) return { flags: [] }
  const { found, tools } = findLibraries(toolkit, library, { sight })
  const paths = new Map<VendorLibrary, string>(found.map(({ library: wanted, path }) => [wanted, path]))
  // What is in none of the folders the system may still find by its own ways.
  const missing = librariesOf[toolkit].filter(wanted => !load(paths.get(wanted) ?? wanted.soname) && wanted.only === undefined)
  // Another's plugin for the same device may need others, and says so itself.
  if (present && missing.length > 0 && ofXla(library)) {
    throw new PluginError({
      code: 'missing-libraries', what: `the plugin lacks ${missing.length} of its maker's libraries`, details: { plugin: library, missing: missing.map(l => l.soname).join(', ') },
      fix: platform === 'cuda' ? 'npx meshwork plugins install cuda, which fetches them, or put the system\'s on LD_LIBRARY_PATH; --plugin cpu computes without' : 'install them, or put their folders on LD_LIBRARY_PATH; --plugin cpu computes without',
    })
  }
  return { flags: tools === undefined ? [] : [`--xla_gpu_cuda_data_dir=${tools}`] }
}
