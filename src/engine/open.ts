/** Opens the runtime that the user names. */
import { UsageError } from '../core/errors.ts'
import type { Backend } from '../runtime/backend.ts'

export interface BackendOptions {
  /** Devices to ask for; 1 unless said otherwise. */
  readonly devices?: number
  /** `cpu` (the default), `simulate`, or the path of a PJRT plugin. */
  readonly plugin?: string
  /** Where compiled programs are kept; the user's cache folder unless said otherwise, `false` for nowhere. */
  readonly cache?: string | false
}

/**
 * Opens a backend. A plugin must be installed (`npx meshwork plugins install cpu`); `simulate` needs none.
 * @throws PluginError, UsageError
 */
export async function openBackend({ devices = 1, plugin = 'cpu', cache }: BackendOptions = {}): Promise<Backend> {
  if (!Number.isSafeInteger(devices) || devices < 1) throw new UsageError({ code: 'devices', what: `${devices} devices asked for`, fix: 'a whole number, at least 1' })
  // Loaded when asked for: a runtime brings its native parts along.
  if (plugin === 'simulate') {
    const { openSimulate } = await import('../runtime/simulate/backend.ts')
    return openSimulate({ devices })
  }
  const [{ openPjrt }, { executableCacheDir, resolvePlugin }] = await Promise.all([import('../runtime/pjrt/client.ts'), import('../runtime/plugins/index.ts')])
  const library = await resolvePlugin(plugin)
  return openPjrt({ library, devices, name: plugin === 'cpu' ? 'cpu' : library, ...(cache === false ? {} : { cacheDir: cache ?? executableCacheDir() }) })
}
