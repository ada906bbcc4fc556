/** What a user may say to a platform, each with what it does: for its client, or for its compiler, under names that do not change with the plugin. */
import { UsageError } from '../../core/errors.ts'
import { didYouMean } from '../../core/nearest.ts'
import { choices, type Contractions, type PlatformName } from '../../core/platform.ts'
import { shown } from '../../core/shown.ts'

export type OptionValue = string | number | boolean | readonly number[]

/** What XLA records and sends to a GPU as one: of the contractions those of a library, of loops the conditional ones. */
const commands = ['FUSION', 'CUBLAS', 'CUBLASLT', 'CUDNN', 'CUSTOM_CALL', 'COLLECTIVES', 'CONDITIONAL', 'WHILE', 'DYNAMIC_SLICE_FUSION'] as const
export type Command = (typeof commands)[number]

export interface PlatformOptions {
  readonly memory?: {
    /** The share of a device's memory that the client may take, above 0 and at most 1; three quarters, unless said, of a GPU's. */
    readonly fraction?: number
    /** Whether it takes that at its start, or as it needs it. The first is faster and leaves others nothing. */
    readonly preallocate?: boolean
    /** Who gives memory out: `bfc`, XLA's own in one block; `cuda_async`, CUDA's pool; `platform`, each time from the driver, which is slow and returns all that is free; `default`, the plugin's choice. */
    readonly allocator?: 'default' | 'platform' | 'bfc' | 'cuda_async'
    /** Bytes kept for collectives. */
    readonly collectives?: number
    /** Whether batches go to the device by way of pinned memory of the host, so that the copy goes on beside the work. */
    readonly staging?: boolean
  }
  /** The numbers of the cards that the client may use, as the driver counts them; all, unless said. */
  readonly visibleDevices?: readonly number[]
  /** Only kernels whose sums are in one order, so that the same program gives the same bits each time; slower. */
  readonly deterministic?: boolean
  /** Whether the compiler orders collectives and copies so that work hides them. */
  readonly latencyHiding?: boolean
  /** What is recorded as a CUDA graph and sent as one; an empty list is nothing. */
  readonly commandBuffers?: readonly Command[]
  readonly autotuning?: {
    /** How much the compiler tries before it chooses a kernel: 0 nothing; from 1 on it does; 2 and on with memory set before; 4, its own choice, with results compared. */
    readonly level?: number
    /** A folder that keeps what it has found, so that the next start need not try again. */
    readonly cache?: string
  }
  /** Flags of XLA by what they do. */
  readonly xla?: {
    /** Bytes up to which all-reduces, all-gathers and reduce-scatters are put together. */
    readonly combineAllReduces?: number
    readonly combineAllGathers?: number
    readonly combineReduceScatters?: number
    /** Whether products may be kernels that Triton makes. */
    readonly tritonProducts?: boolean
    /** Per cent of what memory there is that scheduling may count on. */
    readonly memoryLimit?: number
    /** A folder in which XLA leaves every program as it got it and as it made it. */
    readonly dump?: string
  }
  /** In what numbers factors of f32 are multiplied: `f32`, unless said. Others are faster on cards that have them, and give other numbers. */
  readonly contractions?: Contractions
  /** What has no name above, by the client's own name, and all that a plugin takes which nobody here knows. */
  readonly client?: Readonly<Record<string, OptionValue>>
}

type Paths<T> = { readonly [K in keyof T & string]-?: NonNullable<T[K]> extends readonly unknown[] ? K : NonNullable<T[K]> extends object ? `${K}.${Paths<NonNullable<T[K]>>}` : K }[keyof T & string]
export type FieldPath = Paths<Omit<PlatformOptions, 'client'>>

type Shape =
  | { readonly is: 'share' } | { readonly is: 'flag' } | { readonly is: 'text' } | { readonly is: 'numbers' }
  | { readonly is: 'whole'; readonly least: number; readonly most: number } | { readonly is: 'word' | 'words'; readonly of: readonly string[] }

type Field = Shape & {
  readonly about: string
  readonly on: readonly PlatformName[]
  /** The name of the client's option, or of the compiler's, that it becomes. */
  readonly client?: string
  readonly compiler?: string
}

const gpus: readonly PlatformName[] = ['cuda', 'rocm']
const bytes = { is: 'whole', least: 0, most: Number.MAX_SAFE_INTEGER } as const

/** By path, in the order in which they are listed. */
export const fields: { readonly [P in FieldPath]: Field } = {
  'memory.fraction': { is: 'share', about: 'share of the device\'s memory that is taken', on: gpus, client: 'memory_fraction' },
  'memory.preallocate': { is: 'flag', about: 'take it all at the start', on: gpus, client: 'preallocate' },
  'memory.allocator': { is: 'word', of: ['default', 'platform', 'bfc', 'cuda_async'], about: 'who gives memory out', on: gpus, client: 'allocator' },
  'memory.collectives': { ...bytes, about: 'bytes kept for collectives', on: gpus, client: 'collective_memory_size' },
  'memory.staging': { is: 'flag', about: 'batches by way of pinned memory of the host', on: gpus, client: 'should_stage_host_to_device_transfers' },
  visibleDevices: { is: 'numbers', about: 'cards that may be used, by the driver\'s numbers', on: gpus, client: 'visible_devices' },
  deterministic: { is: 'flag', about: 'the same bits each time, slower', on: gpus, compiler: 'xla_gpu_deterministic_ops' },
  latencyHiding: { is: 'flag', about: 'order collectives so that work hides them', on: gpus, compiler: 'xla_gpu_enable_latency_hiding_scheduler' },
  commandBuffers: { is: 'words', of: commands, about: 'what is sent as a CUDA graph', on: gpus, compiler: 'xla_gpu_enable_command_buffer' },
  'autotuning.level': { is: 'whole', least: 0, most: 4, about: 'how much is tried before a kernel is chosen', on: gpus, compiler: 'xla_gpu_autotune_level' },
  'autotuning.cache': { is: 'text', about: 'a folder that keeps what was found', on: gpus, compiler: 'xla_gpu_per_fusion_autotune_cache_dir' },
  'xla.combineAllReduces': { ...bytes, about: 'bytes up to which all-reduces are one', on: gpus, compiler: 'xla_gpu_all_reduce_combine_threshold_bytes' },
  'xla.combineAllGathers': { ...bytes, about: 'bytes up to which all-gathers are one', on: gpus, compiler: 'xla_gpu_all_gather_combine_threshold_bytes' },
  'xla.combineReduceScatters': { ...bytes, about: 'bytes up to which reduce-scatters are one', on: gpus, compiler: 'xla_gpu_reduce_scatter_combine_threshold_bytes' },
  'xla.tritonProducts': { is: 'flag', about: 'products may be Triton\'s', on: gpus, compiler: 'xla_gpu_enable_triton_gemm' },
  'xla.memoryLimit': { is: 'whole', least: 1, most: 100, about: 'per cent of memory that scheduling counts on', on: gpus, compiler: 'xla_gpu_memory_limit_slop_factor' },
  'xla.dump': { is: 'text', about: 'a folder for programs as XLA gets and makes them', on: ['cpu', 'cuda', 'rocm', 'tpu', 'oneapi', 'other'], compiler: 'xla_dump_to' },
  contractions: { is: 'word', of: ['f32', 'tf32', 'bf16'], about: 'in what numbers factors of f32 are multiplied', on: ['cpu', 'cuda', 'rocm', 'tpu', 'oneapi', 'metal', 'other'] },
}
const known: ReadonlyMap<string, Field> = new Map(Object.entries(fields))
export const fieldNames: readonly string[] = [...known.keys()]

/** The path of the field that is the client's option of this name. */
export const saidAs = (client: string): string | undefined => fieldNames.find(path => known.get(path)?.client === client)

/** What a value of the shape must be; undefined where it is that. */
function lacking(field: Field, value: unknown): string | undefined {
  const list = (fits: (x: unknown) => boolean): boolean => Array.isArray(value) && value.every(fits)
  const tests: { readonly [I in Shape['is']]: () => string | undefined } = {
    share: () => (typeof value === 'number' && value > 0 && value <= 1 ? undefined : 'a number above 0, at most 1'),
    flag: () => (typeof value === 'boolean' ? undefined : 'true or false'),
    text: () => (typeof value === 'string' && value !== '' ? undefined : 'a folder'),
    numbers: () => (list(x => Number.isSafeInteger(x) && Number(x) >= 0) && (value as readonly unknown[]).length > 0 ? undefined : 'whole numbers, such as 0,1'),
    whole: () => {
      const { least = 0, most = 0 } = field as { readonly least?: number; readonly most?: number }
      return Number.isSafeInteger(value) && Number(value) >= least && Number(value) <= most ? undefined : `a whole number from ${least}${most === Number.MAX_SAFE_INTEGER ? ' on' : ` to ${most}`}`
    },
    word: () => (wordsOf(field).includes(value as string) ? undefined : `one of ${wordsOf(field).join(', ')}`),
    words: () => (list(x => wordsOf(field).includes(x as string)) ? undefined : `some of ${wordsOf(field).join(', ')}`),
  }
  return tests[field.is]()
}
const wordsOf = (field: Field): readonly string[] => ('of' in field ? field.of : [])

const wrongField = (what: string, fix: string): UsageError => new UsageError({ code: 'platform-option', what, fix })

/** The fields that are given, by their paths. @throws UsageError for one that there is not, or a value that is none */
function given(options: PlatformOptions): [path: string, value: unknown][] {
  const walk = (value: unknown, path: string): [string, unknown][] => {
    if (value === undefined) return []
    if (path !== '' && known.has(path)) return [[path, value]]
    const inside = path === '' || fieldNames.some(name => name.startsWith(`${path}.`))
    if (!inside) throw wrongField(`a platform has no option "${path}"`, didYouMean(path, [...fieldNames, 'client']))
    if (typeof value !== 'object' || value === null || Array.isArray(value)) throw wrongField(`the platform's ${path} is ${shown(value)}`, `it has ${fieldNames.filter(name => name.startsWith(`${path}.`)).join(', ')}`)
    return Object.entries(value).flatMap(([key, v]) => walk(v, path === '' ? key : `${path}.${key}`))
  }
  const { client: _, ...named } = options
  return walk(named, '')
}

/** What is wrong whatever the platform is. @throws UsageError */
export function checkValues(options: PlatformOptions): void {
  for (const [path, value] of given(options)) {
    const field = known.get(path)
    const needed = field === undefined ? undefined : lacking(field, value)
    if (needed !== undefined) throw wrongField(`the platform's ${path} is ${shown(value)}`, `give ${needed}${path === 'contractions' && value === 'fp8' ? '; 8 bits need scales, which are a program\'s: fp8(f), or of a run precision.contractions=fp8' : ''}`)
  }
}

type Named = Readonly<Record<string, OptionValue>>

/** What the options are to the client and to the compiler of a platform. @throws UsageError for what it has not */
export function checkFields(options: PlatformOptions, platform: PlatformName): { readonly client: Named; readonly compiler: Named } {
  checkValues(options)
  const [client, compiler]: [Record<string, OptionValue>, Record<string, OptionValue>] = [{}, {}]
  for (const [path, value] of given(options)) {
    const field = known.get(path)
    if (field === undefined) continue
    if (!field.on.includes(platform)) throw wrongField(`the platform ${platform} has no option ${path}`, `it is of ${field.on.join(', ')}: leave it out, or use such a plugin`)
    const word = field.is === 'words' ? (value as readonly string[]).join(',') : value as OptionValue
    if (field.client !== undefined) client[field.client] = word
    if (field.compiler !== undefined) compiler[field.compiler] = word
  }
  contractionsOn(options.contractions, platform)
  return { client, compiler }
}

/** What is multiplied in what. @throws UsageError for what the platform does not do */
export function contractionsOn(wanted: Contractions = 'f32', platform: PlatformName): Contractions {
  const has = choices[platform].contractions
  if (has[wanted] !== undefined) return wanted
  throw wrongField(`the platform ${platform} multiplies nothing in ${wanted}`, `it has ${Object.keys(has).join(', ')}`)
}
