/** Loading a shared library for good, and saying why one cannot be. */
import { accessSync, closeSync, constants, openSync, readSync, realpathSync, statSync } from 'node:fs'
import koffi, { type LibraryHandle } from '../../io/koffi.ts'
import { PluginError, type Problem } from '../../core/errors.ts'

export const pluginFix = 'run `npx meshwork plugins install cpu`, give another --plugin PATH, or use --plugin simulate'

const RTLD_NOW = 2
const RTLD_NODELETE = 0x1000

/** The file itself, behind links. @throws PluginError where there is none that can be read */
export function libraryAt(path: string): string {
  let real: string
  try {
    real = realpathSync(path)
  } catch (cause) {
    throw new PluginError({ code: 'no-such-plugin', what: `there is no plugin library at ${path}`, fix: pluginFix, cause })
  }
  try {
    accessSync(real, constants.R_OK)
    if (statSync(real).isFile()) return real
  } catch (cause) {
    throw new PluginError({ code: 'not-a-library', what: `${path} cannot be read`, fix: pluginFix, cause })
  }
  throw new PluginError({ code: 'not-a-library', what: `${path} is no file`, fix: pluginFix })
}

export function loadShared(path: string): LibraryHandle {
  try {
    const handle = koffi.load(path)
    // Koffi unloads what it loaded when Node ends; the plugin's own exit handlers would then run in unmapped memory.
    koffi.load(null).func('dlopen', 'void *', ['str', 'int'])(path, RTLD_NOW | RTLD_NODELETE)
    return handle
  } catch (cause) {
    throw new PluginError({ ...whyNotLoaded(path, cause instanceof Error ? cause.message : String(cause)), cause })
  }
}

/** Machines by the number that ELF has for them (System V ABI, e_machine). */
const elfMachines: Readonly<Record<number, string>> = { 3: 'x86 of 32 bits', 21: 'PowerPC', 22: 'S/390', 40: 'ARM of 32 bits', 62: 'x86-64', 183: 'aarch64', 243: 'RISC-V', 258: 'LoongArch' }
const ownMachine: Readonly<Record<string, number>> = { ia32: 3, ppc64: 21, s390x: 22, arm: 40, x64: 62, arm64: 183, riscv64: 243, loong64: 258 }
/** What a file begins with, where it is another system's library. */
const otherSystems: readonly (readonly [magic: number, system: string])[] = [[0xcffaedfe, 'macOS'], [0xcafebabe, 'macOS'], [0xcefaedfe, 'macOS']]

interface Built { readonly system: string; readonly machine: number | undefined; readonly shared: boolean }

/** What a library was built for, by its first bytes; undefined where it is no library. */
export function builtAs(path: string): Built | undefined {
  const head = Buffer.alloc(64)
  const file = openSync(path, 'r')
  try {
    if (readSync(file, head, 0, head.length, 0) < 20) return undefined
  } finally {
    closeSync(file)
  }
  const magic = head.readUInt32BE(0)
  if (magic === 0x7f454c46) {
    const little = head[5] !== 2
    const half = (at: number): number => (little ? head.readUInt16LE(at) : head.readUInt16BE(at))
    return { system: 'Linux', machine: half(18), shared: half(16) === 3 }
  }
  const system = otherSystems.find(([bytes]) => bytes === magic)?.[1] ?? (head.subarray(0, 2).toString('latin1') === 'MZ' ? 'Windows' : undefined)
  return system === undefined ? undefined : { system, machine: undefined, shared: true }
}

const systemHere: Readonly<Record<string, string>> = { linux: 'Linux', darwin: 'macOS', win32: 'Windows' }

/** The loader's message in the words of what a person can do about it. */
export function whyNotLoaded(path: string, loader: string, here: { readonly platform: string; readonly arch: string } = process): Problem {
  let built: Built | undefined
  try {
    built = builtAs(path)
  } catch {
    // A file that cannot be read: the loader has said so.
    return { code: 'not-a-library', what: `${path} cannot be loaded`, details: { loader }, fix: pluginFix }
  }
  if (built === undefined) return { code: 'not-a-library', what: `${path} is no shared library`, details: { loader }, fix: pluginFix }
  const mine = systemHere[here.platform] ?? here.platform
  if (built.system !== mine) return { code: 'other-system', what: `${path} is a library for ${built.system}, and this is ${mine}`, fix: pluginFix }
  const wanted = ownMachine[here.arch]
  if (built.machine !== undefined && wanted !== undefined && built.machine !== wanted) {
    return { code: 'other-architecture', what: `${path} is built for ${elfMachines[built.machine] ?? `machine ${built.machine}`}, and this machine is ${elfMachines[wanted] ?? here.arch}`, fix: `get the one for ${elfMachines[wanted] ?? here.arch}: ${pluginFix}` }
  }
  const [, symbols] = /version `(GLIBC(?:XX)?_[\d.]+)' not found/.exec(loader) ?? []
  if (symbols !== undefined) return { code: 'libc', what: `${path} is built for a newer system than this: it needs ${symbols}`, details: { loader }, fix: `use a newer system, in a container too, or ${pluginFix}` }
  const [, lacking] = /(\S+\.so[.\d]*): cannot open shared object file/.exec(loader) ?? []
  if (lacking !== undefined && !path.endsWith(lacking)) {
    return { code: 'missing-library', what: `${path} needs the library ${lacking}, which is not on this machine`, fix: `install it (docs/plugins.md says what each plugin needs), put its folder on LD_LIBRARY_PATH, or ${pluginFix}` }
  }
  // The plugin's own symbol or that of a library which it loads: what should have it is here and is another version's.
  const [, asking, symbol] = /(\S+): undefined symbol: (\w+)/.exec(loader) ?? []
  if (asking !== undefined && symbol !== undefined) {
    return { code: 'other-version', what: `${path} cannot be loaded: a library that ${asking === path ? 'it' : asking} needs is here in another version, which has no ${symbol}`, fix: `install the version that it is built for (docs/plugins.md says what each plugin needs), look what lies in LD_LIBRARY_PATH, or ${pluginFix}` }
  }
  return { code: 'not-a-library', what: `${path} cannot be loaded`, details: { loader }, fix: pluginFix }
}

/** In words of XLA's clients: there is nothing to compute on. */
const nothingThere = /No visible .*devices|no (?:supported|visible|visible GPU|available) devices|No (?:GPU|TPU|CUDA|ROCm|AMD|Metal)[^.]*(?:found|available)|no CUDA-capable device/i

/** A client that could not be made, in one message where that is for want of a device. */
export function refusal(cause: unknown, library: string): unknown {
  if (!(cause instanceof PluginError) || !nothingThere.test(cause.problem.what)) return cause
  return new PluginError({
    code: 'no-device', what: 'the plugin was loaded, and found no device that it can compute on', details: { plugin: library, 'in its words': cause.problem.what.replace(/^Client_Create: /, '') },
    fix: 'npx meshwork doctor --plugin with its name says what it looks for; --plugin cpu computes without', cause,
  })
}
