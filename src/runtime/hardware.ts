/** What this machine computes with, as far as files tell: cards and their drivers, and the C library that plugins are loaded into. */
import { readFileSync, readdirSync, realpathSync } from 'node:fs'

/** The platforms of plugins that need a device of their own. */
export type Vendor = 'cuda' | 'rocm' | 'tpu' | 'oneapi' | 'metal'

/** Where it is looked: this machine, or what a test makes up. */
export interface Sight {
  readonly platform: string
  readonly arch: string
  readonly env: NodeJS.ProcessEnv
  /** A file's text; undefined where there is none that may be read. */
  readonly text: (path: string) => string | undefined
  /** What lies in a folder; nothing where there is none. */
  readonly entries: (folder: string) => readonly string[]
  /** Where a path's links lead; undefined where nothing is. */
  readonly real: (path: string) => string | undefined
  /** The version of the C library, where that is glibc. */
  readonly glibc: () => string | undefined
}

const orNothing = <T>(look: () => T): T | undefined => {
  try { return look() } catch { return undefined }
}

/** Node says with which glibc it runs; a Node of musl says nothing. */
function glibcHere(): string | undefined {
  if (process.platform !== 'linux') return undefined
  // Without this the report looks up the names of all peers; older Nodes do not know it.
  Object.assign(process.report, { excludeNetwork: true })
  const { header } = process.report.getReport() as { readonly header?: { readonly glibcVersionRuntime?: string } }
  return header?.glibcVersionRuntime
}

export const thisMachine: Sight = {
  platform: process.platform, arch: process.arch, env: process.env,
  text: path => orNothing(() => readFileSync(path, 'utf8')),
  entries: folder => orNothing(() => readdirSync(folder)) ?? [],
  real: path => orNothing(() => realpathSync(path)),
  glibc: glibcHere,
}

export interface Accelerator {
  readonly vendor: Vendor
  /** As a person calls them, with their number: `2 NVIDIA GPUs`. */
  readonly what: string
  readonly devices: number
  /** The driver's version, where it says. */
  readonly driver: string | undefined
  /** Why devices that the machine has cannot be used. */
  readonly hidden?: string
}

const counted = (n: number, what: string): string => `${n} ${what}${n === 1 ? '' : 's'}`
const matching = (names: readonly string[], pattern: RegExp): number => names.filter(name => pattern.test(name)).length

/** NVIDIA: device files, and the kernel module's own word of its version. In WSL the card is Windows's, and so is the driver. */
function cuda({ text, entries, env, real }: Sight): Accelerator {
  const driver = /Kernel Module(?: for \S+)?\s+(\d+(?:\.\d+)+)/.exec(text('/proc/driver/nvidia/version') ?? '')?.[1]
  const here = matching(entries('/dev'), /^nvidia\d+$/)
  const windows = real('/dev/dxg') !== undefined && real('/usr/lib/wsl/lib/libcuda.so.1') !== undefined ? 1 : 0
  const known = entries('/proc/driver/nvidia/gpus').length
  const visible = env['CUDA_VISIBLE_DEVICES']
  const devices = here > 0 ? here : windows
  const found = (n: number, hidden?: string): Accelerator => ({ vendor: 'cuda', what: counted(n, 'NVIDIA GPU'), devices: hidden === undefined ? n : 0, driver, ...hidden === undefined ? {} : { hidden } })
  if (devices > 0 && visible !== undefined && /^\s*(-1|NoDevFiles)?\s*$/.test(visible)) return found(devices, `CUDA_VISIBLE_DEVICES is "${visible}", which hides them all`)
  if (devices === 0 && known > 0) return found(known, 'their device files are not in this container: start it with the NVIDIA container toolkit (docker run --gpus all)')
  return found(devices)
}

/** AMD: the nodes of the kernel's compute topology that are no CPUs. */
function rocm({ text, entries }: Sight): Accelerator {
  const nodes = '/sys/class/kfd/kfd/topology/nodes'
  const known = entries(nodes).filter(node => Number((text(`${nodes}/${node}/gpu_id`) ?? '0').trim()) > 0).length
  const open = entries('/dev').includes('kfd')
  return {
    vendor: 'rocm', what: counted(known, 'AMD GPU'), devices: open ? known : 0, driver: text('/sys/module/amdgpu/version')?.trim(),
    ...known > 0 && !open ? { hidden: '/dev/kfd is not in this container: start it with --device /dev/kfd --device /dev/dri' } : {},
  }
}

const pci = '/sys/bus/pci/devices'
/** How many PCI devices of a maker there are that a predicate takes, by what their files say. */
const ofMaker = ({ text, entries }: Sight, maker: string, takes: (file: (name: string) => string) => boolean): number => entries(pci).filter(device => {
  const file = (name: string): string => (text(`${pci}/${device}/${name}`) ?? '').trim()
  return file('vendor') === maker && takes(file)
}).length

/** Google's TPUs, from v2 to v7x, by their PCI ids: its network cards have the same maker's. */
const tpuIds = ['0x0027', '0x0056', '0x005e', '0x0062', '0x0063', '0x006f', '0x0076']
function tpu(sight: Sight): Accelerator {
  const chips = Math.max(ofMaker(sight, '0x1ae0', file => tpuIds.includes(file('device'))), matching(sight.entries('/dev'), /^accel\d+$/))
  return { vendor: 'tpu', what: counted(chips, 'TPU chip'), devices: chips, driver: undefined }
}

/** Intel: display controllers with a render node; those in processors are among them. */
function oneapi(sight: Sight): Accelerator {
  const open = matching(sight.entries('/dev/dri'), /^renderD\d+$/) > 0
  const cards = open ? ofMaker(sight, '0x8086', file => file('class').startsWith('0x03')) : 0
  return { vendor: 'oneapi', what: counted(cards, 'Intel GPU'), devices: cards, driver: undefined }
}

function metal({ platform, arch }: Sight): Accelerator {
  const devices = platform === 'darwin' && arch === 'arm64' ? 1 : 0
  return { vendor: 'metal', what: counted(devices, 'Apple GPU'), devices, driver: undefined }
}

const lookers: { readonly [V in Vendor]: (sight: Sight) => Accelerator } = { cuda, rocm, tpu, oneapi, metal }

/** In the order in which one is taken. */
export const vendors = Object.keys(lookers) as readonly Vendor[]

export const acceleratorOf = (vendor: Vendor, sight: Sight = thisMachine): Accelerator => lookers[vendor](sight)

/** Whether one version is at least another, number by number. */
export function isAtLeast(version: string, least: string): boolean {
  const [a, b] = [version, least].map(v => v.split('.').map(Number))
  for (const [i, wanted] of (b ?? []).entries()) {
    const has = a?.[i] ?? 0
    if (has !== wanted) return has > wanted
  }
  return true
}
