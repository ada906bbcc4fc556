/** The kinds of plugins: how each is known, and what its client and its compiler are told. What only CPUs need lies in `cpu/`. */
import { basename, dirname } from 'node:path'
import { UsageError } from '../../core/errors.ts'
import { didYouMean } from '../../core/nearest.ts'
import { gpu, tpu } from './accelerators.ts'
import { cpu, deviceCount } from './cpu/platform.ts'
import { containsText } from './environment.ts'
import { checkFields, saidAs, type OptionValue, type PlatformOptions } from './platform-options.ts'
import { plainPlatform, type ClientOptions, type Kind, type Platform } from './platform-type.ts'

/** The first whose name stands in the path: `xla_cuda13/xla_cuda_plugin.so`, `libtpu.so`. */
const platforms: readonly Platform[] = [
  { ...plainPlatform, name: 'cuda', path: /cuda/i, ...gpu },
  { ...plainPlatform, name: 'rocm', path: /rocm/i, ...gpu },
  { ...plainPlatform, name: 'tpu', path: /tpu/i, ...tpu },
  { ...plainPlatform, name: 'oneapi', path: /oneapi|sycl|xpu/i },
  { ...plainPlatform, name: 'metal', path: /metal/i },
  cpu,
]
const other: Platform = { ...plainPlatform, name: 'other', path: /^/, handlersAs: 'Host' }

/** What kind of plugin a library is: by its name, else by whether it reads the CPU client's option. */
export function platformOf(library: string): Platform {
  const named = `${basename(dirname(library))}/${basename(library)}`
  return platforms.find(({ path }) => path.test(basename(library))) ?? platforms.find(({ path }) => path.test(named)) ?? (containsText(library, deviceCount) ? cpu : other)
}

/** The same once its client says what it is for, by PJRT's name of the platform, where the library's own says nothing. */
export const platformNamed = (library: string, name: string): Platform => {
  const found = platformOf(library)
  return found === other ? platforms.find(p => p.name === name.toLowerCase()) ?? other : found
}

const fits: { readonly [K in Kind]: (value: OptionValue) => boolean } = {
  text: v => typeof v === 'string', whole: v => Number.isSafeInteger(v), float: v => typeof v === 'number' && Number.isFinite(v), flag: v => typeof v === 'boolean',
  list: v => Array.isArray(v) && v.every(Number.isSafeInteger),
}
const words: { readonly [K in Kind]: string } = { text: 'text', whole: 'a whole number', float: 'a number', flag: 'true or false', list: 'a list of whole numbers' }

/** An option as the plugin takes it. */
export interface TypedOption { readonly kind: Kind; readonly value: OptionValue }

/** What the client is told: what the platform is told always, the user's over it. @throws UsageError for what the platform does not know */
export function clientOptions(library: string, wanted: ClientOptions, env: NodeJS.ProcessEnv = process.env): ReadonlyMap<string, TypedOption> {
  const { name: platform, options, defaults } = platformOf(library)
  const given = checkFields(wanted.platform ?? {}, platform)
  const raw = wanted.platform?.client ?? {}
  const found = new Map<string, TypedOption>()
  for (const [name, value] of [...Object.entries(defaults(wanted, env)), ...Object.entries(raw), ...Object.entries(given.client)]) {
    if (value === undefined) continue
    const kind = options[name]
    const field = saidAs(name)
    if (field !== undefined && Object.hasOwn(raw, name)) throw new UsageError({ code: 'client-option', what: `the client's option ${name} has a name of its own`, fix: `say it as ${field}` })
    // Of a plugin that nobody knows here, only the user can know the options.
    if (kind === undefined && platform !== other.name) {
      throw new UsageError({ code: 'client-option', what: `a client of the platform ${platform} has no option "${name}"`, fix: didYouMean(name, Object.keys(options)) })
    }
    if (kind !== undefined && !fits[kind](value)) {
      throw new UsageError({ code: 'client-option', what: `the client's option ${name} is ${JSON.stringify(value)}`, fix: `give ${words[kind]}` })
    }
    found.set(name, { kind: kind ?? kindOf(value), value })
  }
  return found
}

/** What the compiler is told with every program: names of XLA's debug options. @throws UsageError for what the platform does not know */
export const compilerOptions = (library: string, platform: PlatformOptions = {}): ReadonlyMap<string, TypedOption> =>
  new Map(Object.entries(checkFields(platform, platformOf(library).name).compiler).map(([name, value]) => [name, { kind: kindOf(value), value }]))

const kindOf = (value: OptionValue): Kind =>
  (typeof value === 'string' ? 'text' : typeof value === 'boolean' ? 'flag' : typeof value !== 'number' ? 'list' : Number.isSafeInteger(value) ? 'whole' : 'float')
