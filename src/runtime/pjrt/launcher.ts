/** Launches that free what they have taken over themselves, on their own thread, by a function of ours in C: where it cannot be built, buffers are freed one by one. */
import koffi from '../../io/koffi.ts'
import { buildNative } from '../native-build.ts'
import type { Native, PluginLibrary } from './library.ts'
import { Memory, Struct } from './memory.ts'

/** Programs that are launched so often are launched again: before that, building what launches them is not worth it. */
export const launchesBefore = 64
/** So many buffers at least, to be freed at once. */
export const fewest = 16
/** And so many more at most, which were left to the next launch. */
export const mostLeft = 64

let loaded: Promise<Native | undefined> | undefined
/** The function; undefined where there is no C compiler. */
export const launcher = (): Promise<Native | undefined> => loaded ??= (async () => {
  const built = await buildNative({ sources: 'launch', library: 'libmeshwork_launch.so', flags: ['-O2', '-std=gnu11', '-shared', '-fPIC', '-fvisibility=hidden', '-Wl,-z,defs'] })
  return 'path' in built ? koffi.load(built.path).func('mwl_launch', 'void *', ['void *']) as unknown as Native : undefined
})()

/** Of one client: its launches are counted, and then the function is there. */
export class Launches {
  private count = 0
  private found: Native | undefined
  /** Does work that the client waits for before it is closed. */
  private readonly use: (work: () => Promise<void>) => Promise<void>

  constructor(use: (work: () => Promise<void>) => Promise<void>) { this.use = use }

  /** Whether launches free what they are told to. */
  get free(): boolean { return this.found !== undefined }

  /** What a launch that frees much is made by; undefined where the plugin's own function has to do. */
  native(): Native | undefined {
    if (++this.count === launchesBefore) void this.use(async () => { this.found = await launcher() }).catch(() => undefined)
    return this.found
  }
}

/** Where the words of `struct launch` of native/launch/launch.c stand. */
const word = { execute: 0, executeArguments: 1, destroy: 2, destroyArguments: 3, handleAt: 4, handles: 5, count: 6, freed: 7, failure: 8 } as const

/** What the function is told for one program, again and again. */
export class Request {
  /** Filled in with what is to be freed. */
  readonly handles: BigUint64Array
  private readonly memory = new Memory(8 * Object.keys(word).length)
  private readonly words = wordsOf(this.memory)
  /** What the words point at. */
  readonly kept: readonly unknown[]

  constructor(library: PluginLibrary, call: Struct<'PJRT_LoadedExecutable_Execute_Args'>, most: number) {
    const destroy = new Struct('PJRT_Buffer_Destroy_Args')
    const handles = new Memory(8 * most)
    this.handles = wordsOf(handles)
    this.kept = [call, destroy, handles]
    const { words } = this
    words[word.execute] = library.addressOf('PJRT_LoadedExecutable_Execute')
    words[word.executeArguments] = call.address
    words[word.destroy] = library.addressOf('PJRT_Buffer_Destroy')
    words[word.destroyArguments] = destroy.address
    words[word.handleAt] = BigInt(destroy.offset('buffer'))
    words[word.handles] = handles.address
  }

  get address(): bigint { return this.memory.address }
  set count(count: number) {
    this.words[word.count] = BigInt(count)
    this.words[word.freed] = 0n
  }
  /** How many were freed, or tried to be. */
  get freed(): number { return Number(this.words[word.freed]) }
  /** The plugin's error where one could not be freed, else 0. */
  get failure(): bigint { return this.words[word.failure] ?? 0n }
}

const wordsOf = ({ bytes }: Memory): BigUint64Array => new BigUint64Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 8)
