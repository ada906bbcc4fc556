/** What belongs to one kind of plugin and not to others: which options its client takes, and which flags of XLA it reads. */
import { basename, dirname } from 'node:path'
import { UsageError } from '../../core/errors.ts'
import { didYouMean } from '../../core/nearest.ts'
import type { KeyValueStore } from '../backend.ts'
import { containsText } from './environment.ts'

export type OptionValue = string | number | boolean | readonly number[]
type Kind = 'text' | 'whole' | 'float' | 'flag' | 'list'

/** Which process this is of those whose clients are one; 0 of 1 unless told. */
export interface Node { readonly id: number; readonly count: number }

export interface ClientOptions {
  /** Devices wanted. */
  readonly devices: number
  /** As the plugin names them; they win over Meshwork's own. */
  readonly client?: Readonly<Record<string, OptionValue>> | undefined
  readonly node?: Node | undefined
  /** What clients that span processes find each other by; it is opened where the platform's do. */
  readonly store?: (() => KeyValueStore) | undefined
}

interface Platform {
  readonly name: string
  /** How its libraries are called, folder and file. */
  readonly path: RegExp
  /** What the client may be told. */
  readonly options: Readonly<Record<string, Kind>>
  /** What it is told unless the user says otherwise. */
  readonly defaults: (wanted: ClientOptions, env: NodeJS.ProcessEnv) => Readonly<Record<string, OptionValue | undefined>>
  /** Whether one client spans all processes, which find each other through a key-value store. */
  readonly spans: boolean
  /** Whether XLA compiles for the host's CPU, and reads flags that begin with `xla_cpu_`. */
  readonly hostCode: boolean
}

const number = (text: string | undefined): number | undefined => (text === undefined || text.trim() === '' || Number.isNaN(Number(text)) ? undefined : Number(text))

/** As jaxlib's GPU clients take them, and by the variables of the environment that its users know. */
const gpu = {
  options: {
    platform_name: 'text', visible_devices: 'list', node_id: 'whole', num_nodes: 'whole', allocator: 'text', memory_fraction: 'float', preallocate: 'flag',
    collective_memory_size: 'whole', should_stage_host_to_device_transfers: 'flag', enable_mock_nccl: 'flag', mock_gpu_topology: 'text', partition_index: 'whole',
  },
  defaults: ({ node }, env) => ({
    node_id: node?.id, num_nodes: node?.count, allocator: env['XLA_PYTHON_CLIENT_ALLOCATOR'],
    memory_fraction: number(env['XLA_CLIENT_MEM_FRACTION'] ?? env['XLA_PYTHON_CLIENT_MEM_FRACTION']),
    preallocate: env['XLA_PYTHON_CLIENT_PREALLOCATE'] === undefined ? undefined : !/^(0|false)$/i.test(env['XLA_PYTHON_CLIENT_PREALLOCATE']),
  }),
  spans: true, hostCode: false,
} as const satisfies Omit<Platform, 'name' | 'path'>

const none = { options: {}, defaults: () => ({}), spans: false, hostCode: false } as const satisfies Omit<Platform, 'name' | 'path'>

/** The option by which a CPU client is told how many devices it should pretend to have. */
const deviceCount = 'cpu_device_count'
const cpu: Platform = {
  name: 'cpu', path: /cpu/i, options: { [deviceCount]: 'whole' }, defaults: ({ devices }) => ({ [deviceCount]: devices }), spans: false, hostCode: true,
}

/** The first whose name stands in the path: `xla_cuda13/xla_cuda_plugin.so`, `libtpu.so`. */
const platforms: readonly Platform[] = [
  { name: 'cuda', path: /cuda/i, ...gpu },
  { name: 'rocm', path: /rocm/i, ...gpu },
  { name: 'tpu', path: /tpu/i, ...none, options: { ml_framework_name: 'text', ml_framework_version: 'text', max_inflight_computations: 'whole' } },
  { name: 'oneapi', path: /oneapi|sycl|xpu/i, ...none },
  { name: 'metal', path: /metal/i, ...none },
  cpu,
]
const unknown: Platform = { name: 'unknown', path: /^/, ...none }

/** What kind of plugin a library is: by its name, else by whether it reads the CPU client's option. */
export function platformOf(library: string): Platform {
  const named = `${basename(dirname(library))}/${basename(library)}`
  return platforms.find(({ path }) => path.test(basename(library))) ?? platforms.find(({ path }) => path.test(named)) ?? (containsText(library, deviceCount) ? cpu : unknown)
}

const fits: { readonly [K in Kind]: (value: OptionValue) => boolean } = {
  text: v => typeof v === 'string', whole: v => Number.isSafeInteger(v), float: v => typeof v === 'number' && Number.isFinite(v), flag: v => typeof v === 'boolean',
  list: v => Array.isArray(v) && v.every(Number.isSafeInteger),
}
const words: { readonly [K in Kind]: string } = { text: 'text', whole: 'a whole number', float: 'a number', flag: 'true or false', list: 'a list of whole numbers' }

/** An option as the plugin takes it. */
export interface TypedOption { readonly kind: Kind; readonly value: OptionValue }

/** What the client is told: the platform's own options, the user's over them. @throws UsageError for one that the platform does not know. */
export function clientOptions(library: string, wanted: ClientOptions, env: NodeJS.ProcessEnv = process.env): ReadonlyMap<string, TypedOption> {
  const { name: platform, options, defaults } = platformOf(library)
  const found = new Map<string, TypedOption>()
  for (const [name, value] of [...Object.entries(defaults(wanted, env)), ...Object.entries(wanted.client ?? {})]) {
    if (value === undefined) continue
    const kind = options[name]
    // Of a plugin that nobody knows here, only the user can know the options.
    if (kind === undefined && platform !== unknown.name) {
      throw new UsageError({ code: 'client-option', what: `a client of the platform ${platform} has no option "${name}"`, fix: didYouMean(name, Object.keys(options)) })
    }
    if (kind !== undefined && !fits[kind](value)) {
      throw new UsageError({ code: 'client-option', what: `the client's option ${name} is ${JSON.stringify(value)}`, fix: `give ${words[kind]}` })
    }
    found.set(name, { kind: kind ?? kindOf(value), value })
  }
  return found
}

const kindOf = (value: OptionValue): Kind =>
  (typeof value === 'string' ? 'text' : typeof value === 'boolean' ? 'flag' : typeof value !== 'number' ? 'list' : Number.isSafeInteger(value) ? 'whole' : 'float')
