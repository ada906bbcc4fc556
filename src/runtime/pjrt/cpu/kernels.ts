/** Our own kernels, loaded: what programs call by name. */
import { availableParallelism } from 'node:os'
import koffi from '../../../io/koffi.ts'
import { buildKernels } from './kernels-build.ts'

const RTLD_NOW = 2
const RTLD_NODELETE = 0x1000

/** Name in a program → symbol. */
const symbols = { 'meshwork.dot_columns': 'mwk_dot_columns', 'meshwork.dot_rows': 'mwk_dot_rows', 'meshwork.dot_few': 'mwk_dot_few', 'meshwork.sum': 'mwk_sum', 'meshwork.attend': 'mwk_attend', 'meshwork.flash_forward': 'mwk_flash_forward', 'meshwork.flash_backward': 'mwk_flash_backward', 'meshwork.product': 'mwk_product', 'meshwork.conv': 'mwk_conv', 'meshwork.tick': 'mwk_tick', 'meshwork.after': 'mwk_after', 'meshwork.unwritten': 'mwk_unwritten' } as const
type Handlers = Readonly<Record<keyof typeof symbols, bigint>>
/** Where `meshwork.tick` writes, for as long as somebody listens: room for so many ticks of 16 bytes. */
export interface Ticks { readonly begin: (memory: bigint, count: number) => void; /** How many there were, more than there was room for where some are lost. */ readonly end: () => number }
/** Large blocks that programs take and free with every run, as native/kernels/blocks.c keeps them: bytes in use, bytes held, and how many were made of pages that nobody held. */
export interface Blocks { readonly live: number; readonly held: number; readonly fresh: number }
interface Loaded { readonly handlers: Handlers; readonly helpers: (count: number) => void; readonly sharing: (threads: number) => void; readonly keepBlocks: (inside: bigint) => boolean; readonly blocks: () => Blocks; readonly ticks: Ticks }
let loaded: Promise<Loaded | undefined> | undefined

function kernels(): Promise<Loaded | undefined> {
  return loaded ??= (async () => {
    const built = await buildKernels()
    if (!('path' in built)) return undefined
    // Programs call them for as long as the process runs, and its helpers run their code: it must never be unloaded.
    if (koffi.load(null).func('dlopen', 'void *', ['str', 'int'])(built.path, RTLD_NOW | RTLD_NODELETE) === null) return undefined
    const library = koffi.load(built.path)
    const told = library.func('mwk_blocks', 'void', ['void *']) as (told: BigInt64Array) => void
    const end = library.func('mwk_ticks_end', 'int64', []) as () => number | bigint
    return {
      helpers: library.func('mwk_helpers', 'void', ['int']) as Loaded['helpers'],
      sharing: library.func('mwk_sharing', 'void', ['int']) as Loaded['sharing'],
      keepBlocks: library.func('mwk_keep_blocks', 'bool', ['void *']) as Loaded['keepBlocks'],
      blocks: () => {
        const numbers = new BigInt64Array(3)
        told(numbers)
        const [live = 0, held = 0, fresh = 0] = [...numbers].map(Number)
        return { live, held, fresh }
      },
      handlers: Object.fromEntries(Object.entries(symbols).map(([name, symbol]) => [name, library.symbol(symbol, 'void') as bigint])) as Handlers,
      ticks: { begin: library.func('mwk_ticks_begin', 'void', ['void *', 'int64']) as Ticks['begin'], end: () => Number(end()) },
    }
  })()
}

/** What tells when the parts of a program run, and its handlers; undefined where they cannot be built. */
export async function tickHandlers(): Promise<Pick<Loaded, 'handlers' | 'ticks'> | undefined> { return kernels() }

/** What is kept of large blocks; undefined where nothing is. */
export async function keptBlocks(): Promise<Blocks | undefined> { return (await kernels())?.blocks() }

/**
 * Addresses of the functions, by their names in programs; undefined where they cannot be built. They are one for the process: what the last client has said of its threads holds.
 * @param inside an address in the plugin, whose large blocks are kept from here on
 * @param devices of which each computes on a thread of its own @param threads of this process that compute: those that are left help
 */
export async function kernelHandlers(inside: bigint, devices: number, threads: number = availableParallelism()): Promise<Handlers | undefined> {
  const found = await kernels()
  found?.keepBlocks(inside)
  found?.helpers(Math.max(0, threads - devices))
  found?.sharing(Math.max(1, Math.floor(threads / devices)))
  return found?.handlers
}
