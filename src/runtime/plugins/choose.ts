/** `--plugin auto`: the plugin of the best device that this machine has and that can be used, else the CPU's, with the reason. */
import { cacheRoot } from '../../io/cache-root.ts'
import { acceleratorOf, thisMachine, vendors, type Accelerator, type Sight, type Vendor } from '../hardware.ts'
import { candidates, type Candidate } from './catalog.ts'
import { machineProblem } from './fitness.ts'
import { findInstalled } from './install.ts'
import { fromEnvironment, pluginPath } from './resolve.ts'

export interface Choice {
  /** A name of the catalog. */
  readonly plugin: string
  /** What a person should know of it: which device is taken, or why one that is here is not. Undefined where there is nothing but the CPU. */
  readonly note: string | undefined
}

/** Most machines have such a GPU beside their processor, so that one whose plugin is not installed is not worth a word. */
const usual: readonly Vendor[] = ['oneapi', 'metal']

/** What speaks against a device's plugin; undefined where it can be taken. */
async function against(device: Accelerator, fitting: readonly Candidate[], sight: Sight, cacheDir: string | undefined): Promise<string | undefined> {
  const { vendor } = device
  if (fitting.length === 0) return `the catalog has no ${vendor} plugin for ${sight.platform} ${sight.arch}`
  const usable = fitting.filter(entry => machineProblem(entry, sight) === undefined)
  const [first] = fitting.flatMap(entry => machineProblem(entry, sight) ?? [])
  if (usable.length === 0 && first !== undefined) return [first.what, ...Object.entries(first.details ?? {}).map(([label, value]) => `${label} ${value}`)].join(', ')
  return await findInstalled(usable, cacheRoot(cacheDir)) === undefined ? `its plugin is not installed: npx meshwork plugins install ${vendor}` : undefined
}

/** Chooses among the plugins that are installed; nothing is fetched but, by whoever uses it, the CPU's. A library that the environment names is taken before all. */
export async function choosePlugin({ sight = thisMachine, cacheDir }: { readonly sight?: Sight; readonly cacheDir?: string | undefined } = {}): Promise<Choice> {
  if (fromEnvironment('cpu', sight.env) !== undefined) return { plugin: 'cpu', note: undefined }
  const reasons: string[] = []
  for (const vendor of vendors) {
    const device = acceleratorOf(vendor, sight)
    if (device.devices === 0 && device.hidden === undefined) continue
    const reason = device.hidden ?? await against(device, candidates(vendor, sight), sight, cacheDir)
    if (reason === undefined) return { plugin: vendor, note: `computing on ${device.what}${device.driver === undefined ? '' : `, driver ${device.driver}`} (--plugin ${vendor})` }
    if (!usual.includes(vendor) || await pluginPath(vendor, cacheDir) !== undefined) reasons.push(`${device.what}: ${reason}`)
  }
  return { plugin: 'cpu', note: reasons.length === 0 ? undefined : `computing on the CPU. ${reasons.join('; ')} (--plugin cpu says nothing of it)` }
}
