/** The native library, loaded: functions of native/meshwork_mpi.h with promises around those that wait. */
import koffi, { type LibraryHandle } from '../../io/koffi.ts'
import { PluginError } from '../../core/errors.ts'
import type { KeyValueStore } from '../backend.ts'

type Failed = Error | null

/** What native/handlers.c answers programs with: name in a program → symbol. */
const handlers = {
  'meshwork.all_reduce': 'mw_all_reduce', 'meshwork.all_gather': 'mw_all_gather', 'meshwork.reduce_scatter': 'mw_reduce_scatter',
  'meshwork.all_to_all': 'mw_all_to_all', 'meshwork.permute': 'mw_permute', 'meshwork.device': 'mw_device',
  'meshwork.start': 'mw_start', 'meshwork.await': 'mw_await', 'meshwork.skip': 'mw_skip',
} as const

export interface MpiLibrary {
  /** As MPI itself says at run time; may be asked before `open`. */
  readonly library: string
  /** What it was built with: "Open MPI 4.1.4". */
  readonly built: string
  /** Addresses of the functions that programs call. */
  readonly handlers: Readonly<Record<keyof typeof handlers, bigint>>
  /** Joins the others; `threaded` says whether several threads may call it at once. @throws PluginError */
  open(limitSeconds: number): { readonly rank: number; readonly size: number; readonly localSize: number; readonly hosts: readonly string[]; readonly threaded: boolean }
  /** `mine` and everybody's, one after another; all ranks give equally many bytes. */
  allGather(mine: Uint8Array, all: Uint8Array, what: string): Promise<void>
  /** What the clients of all ranks tell each other through; every rank calls it. @throws PluginError where this MPI is not made for threads. */
  store(): KeyValueStore
  close(): void
  abort(code: number): void
}

const RTLD_NOW = 2
const RTLD_GLOBAL = 0x100
const RTLD_NODELETE = 0x1000

/**
 * UCX, below some MPIs, patches the code of mmap and munmap while it runs, to hear of freed memory: under Node's threads and with huge
 * pages that corrupted the heap. And its handlers for fatal signals hide what Node and the kernel would say. What the user sets stays.
 */
const environment = { UCX_MEM_EVENTS: 'n', UCX_ERROR_SIGNALS: '' } as const

/** @throws PluginError when it does not load: MPI's own library is missing, or another. */
export function loadMpi(path: string): MpiLibrary {
  const failed = (loader: string, cause?: unknown): PluginError => new PluginError({
    code: 'mpi-load', what: 'the collectives were built with an MPI that cannot be loaded here', details: { library: path, loader }, cause,
    fix: 'make that MPI\'s libraries visible (module load, LD_LIBRARY_PATH), or build with this host\'s: npx meshwork mpi build',
  })
  // MPI finds its own parts by symbols that must be visible, and its threads must never lose their code.
  const setenv = koffi.load(null).func('setenv', 'int', ['str', 'str', 'int'])
  for (const [name, value] of Object.entries(environment)) setenv(name, value, 0)
  const dlopen = koffi.load(null).func('dlopen', 'void *', ['str', 'int'])
  const dlerror = koffi.load(null).func('dlerror', 'str', [])
  if (dlopen(path, RTLD_NOW | RTLD_GLOBAL | RTLD_NODELETE) === null) throw failed(String(dlerror()))
  let lib: LibraryHandle
  try { lib = koffi.load(path) } catch (cause) { throw failed(cause instanceof Error ? cause.message : String(cause), cause) }

  const number = (name: string): number => Number(lib.func(name, 'int', [])())
  const text = (name: string): string => String(lib.func(name, 'str', [])())
  const problem = (): PluginError => new PluginError({ code: 'mpi', what: `MPI: ${text('mw_error')}`, fix: 'see docs/clusters.md: what to read when a job does not start' })
  const open = lib.func('mw_open', 'int', ['double'])
  const close = lib.func('mw_close', 'int', [])
  const abort = lib.func('mw_abort', 'void', ['int'])
  const host = lib.func('mw_host', 'str', ['int'])
  const allGather = lib.func('mw_allgather', 'int', ['void *', 'int64_t', 'void *', 'str']) as { async(mine: Uint8Array, bytes: number, all: Uint8Array, what: string, done: (e: Failed, code: number) => void): void }
  return {
    library: text('mw_library'), built: text('mw_built'),
    handlers: Object.fromEntries(Object.entries(handlers).map(([name, symbol]) => [name, lib.symbol(symbol, 'void') as bigint])) as MpiLibrary['handlers'],
    open(limitSeconds) {
      if (open(limitSeconds) !== 0) throw problem()
      const size = number('mw_size')
      return { rank: number('mw_rank'), size, localSize: number('mw_local_size'), threaded: number('mw_goes_beside') !== 0, hosts: Array.from({ length: size }, (_, r) => String(host(r))) }
    },
    allGather: (mine, all, what) => new Promise((resolve, reject) => {
      allGather.async(mine, mine.byteLength, all, what, (e, code) => {
        if (e !== null) reject(e)
        else if (code !== 0) reject(problem())
        else resolve()
      })
    }),
    store() {
      if (number('mw_store_open') !== 0) throw problem()
      const address = (symbol: string): bigint => lib.symbol(symbol, 'void') as bigint
      return { get: address('mw_store_get'), put: address('mw_store_put'), tryGet: address('mw_store_try_get') }
    },
    close: () => { close() },
    abort: code => { abort(code) },
  }
}
