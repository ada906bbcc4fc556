/** Opens the runtime that the user names. */
import { UsageError } from '../core/errors.ts'
import type { Backend } from '../runtime/backend.ts'
import { joinJob, nativeParts, requireDevices, type BackendChoice } from '../runtime/job.ts'
import type { Choice } from '../runtime/plugins/choose.ts'
import type { PlatformOptions } from '../runtime/pjrt/platform-options.ts'

export interface BackendOptions {
  /** Devices to ask for; 1 unless said otherwise, or as many as there are ranks. */
  readonly devices?: number
  /** `cpu` (the default), another name or a package of the catalog (docs/plugins.md), `auto` for that of the best device that is here and whose plugin is installed, `simulate`, or the path of a PJRT plugin. */
  readonly plugin?: string
  /** Hears what `auto` came to, and why where that is worth a word. */
  readonly onChoice?: (choice: Choice) => void
  /** Where compiled programs are kept; the user's cache folder unless said otherwise, `false` for nowhere. */
  readonly cache?: string | false
  /**
   * What the platform is told: of a GPU how much memory to take and which cards, how its compiler goes about it, in what numbers factors of f32 are multiplied.
   * Meshwork itself tells a CPU client how many devices to make, and clients that span processes which of them this is.
   */
  readonly platform?: PlatformOptions
  /** Where the devices are: one on each rank of an MPI job, or all in this process; by how the process was started, unless said. */
  readonly backend?: BackendChoice
}

async function chosen(onChoice: BackendOptions['onChoice']): Promise<string> {
  const { choosePlugin } = await import('../runtime/plugins/index.ts')
  const choice = await choosePlugin()
  onChoice?.(choice)
  return choice.plugin
}

/**
 * Opens a backend. A plugin must be installed (`npx meshwork plugins install cpu`); `simulate` needs none.
 * @throws PluginError, UsageError
 */
export async function openBackend({ devices, plugin: wanted = 'cpu', onChoice, cache, platform, backend }: BackendOptions = {}): Promise<Backend> {
  if (devices !== undefined && (!Number.isSafeInteger(devices) || devices < 1)) throw new UsageError({ code: 'devices', what: `${devices} devices asked for`, fix: 'a whole number, at least 1' })
  const processes = await joinJob(backend)
  const native = backend === 'local' ? undefined : nativeParts()
  if (native !== undefined && devices !== undefined) requireDevices(devices, processes)
  // Loaded when asked for: a runtime brings its native parts along.
  const plugin = wanted === 'auto' ? await chosen(onChoice) : wanted
  if (plugin === 'simulate') {
    if (native !== undefined) throw new UsageError({ code: 'simulate-mpi', what: 'simulate has all its devices in one process', fix: 'use --backend local with it, or a plugin' })
    const { openSimulate } = await import('../runtime/simulate/backend.ts')
    if (platform !== undefined && Object.keys(platform).length > 0) throw new UsageError({ code: 'platform-option', what: 'simulate is no platform, and has no options', fix: 'leave them out, or use a plugin' })
    return openSimulate({ devices: devices ?? 1 })
  }
  const [{ openPjrt }, { executableCacheDir, resolvePlugin }] = await Promise.all([import('../runtime/pjrt/client.ts'), import('../runtime/plugins/index.ts')])
  const library = await resolvePlugin(plugin)
  const options = { library, platform, name: plugin === 'cpu' ? 'cpu' : library, ...(cache === false ? {} : { cacheDir: cache ?? executableCacheDir() }) }
  if (native === undefined) return openPjrt({ ...options, devices: devices ?? 1 })
  const { MpiBackend } = await import('../runtime/mpi/backend.ts')
  const among = { inTurn: <T>(work: () => Promise<T>) => processes.inTurn(work), node: { id: processes.rank, count: processes.count }, store: native.store }
  return new MpiBackend(await openPjrt({ ...options, ...among, devices: 1, handlers: native.handlers, onHost: native.onHost }), processes, native.overlaps)
}
