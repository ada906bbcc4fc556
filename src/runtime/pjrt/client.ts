/** Opens a plugin as a Backend. */
import { basename, dirname } from 'node:path'
import type { TypedArray } from '../../core/dtype.ts'
import { PluginError } from '../../core/errors.ts'
import type { Lowering } from '../../core/platform.ts'
import { range, type Backend, type RestingType, type CompileRequest, type DeviceBuffer, type Executable, type TracedExecutable } from '../backend.ts'
import { alone } from '../processes.ts'
import { putBuffer } from './buffer.ts'
import { ExecutableCache } from './cache.ts'
import { compileProgram } from './compile.ts'
import { registerHandlers, type Handlers } from './ffi.ts'
import { loadPlugin, type PluginLibrary } from './library.ts'
import { platformOf } from './platform.ts'
import { libraryAt } from './shared.ts'
import { contractionsOn } from './platform-options.ts'
import { Session, type SessionOptions } from './session.ts'
import { traceProgram } from './trace/traced.ts'

export interface PjrtOptions extends Omit<SessionOptions, 'devices'> {
  /** Path of the plugin's shared library. */
  readonly library: string
  /** Devices wanted: a CPU plugin makes as many, another must have as many. Of a client that spans processes, those of this one. */
  readonly devices: number
  /** Where compiled programs are kept; without it each is compiled anew. */
  readonly cacheDir?: string | undefined
  /** What the user calls this backend; `cpu` unless told. */
  readonly name?: string | undefined
  /** Native functions that programs call. */
  readonly handlers?: Handlers | undefined
  /** How many processes of this host compute beside one another, this one among them: they share its threads, where the platform uses them. PJRT_NPROC wins. */
  readonly onHost?: number | undefined
}

export async function openPjrt(options: PjrtOptions): Promise<Backend & { readonly spans: boolean }> {
  const platform = platformOf(libraryAt(options.library))
  const threads = options.onHost === undefined ? undefined : platform.threadsAmong(options.onHost)
  const library = loadPlugin(options.library, threads)
  if (options.handlers !== undefined && platform.handlersAs !== undefined) registerHandlers(library, options.handlers, platform.handlersAs)
  const session = await Session.create(library, options)
  if (session.devices.length < options.devices) {
    await session.close()
    throw new PluginError({
      code: 'too-few-devices', what: `the plugin has ${session.devices.length} devices, ${options.devices} are needed`,
      details: { plugin: library.path, platform: session.platform.name },
      fix: 'use a smaller mesh, or --plugin cpu, which makes as many devices as are asked for',
    })
  }
  return new PjrtBackend(session, options, threads)
}

class PjrtBackend implements Backend {
  readonly name: string
  readonly description: string
  readonly plugin: string
  readonly deviceCount: number
  readonly addressable: readonly number[]
  readonly devicesAs = 'replicas'
  /** Whether its client is one with those of other processes. */
  readonly spans: boolean
  readonly lowering: Lowering
  readonly processes = alone
  private readonly session: Session
  private readonly cache: ExecutableCache | undefined
  private readonly threads: number | undefined

  constructor(session: Session, options: PjrtOptions, threads: number | undefined) {
    this.session = session
    this.lowering = { platform: session.kind.name, contractions: contractionsOn(options.platform?.contractions, session.kind.name) }
    this.name = options.name ?? 'cpu'
    this.spans = session.kind.spans && options.node !== undefined
    this.description = describe(session.library, session)
    this.plugin = `${session.platform.name} ${session.platform.version}, ${nameOf(session.library)}`
    this.deviceCount = options.devices
    this.threads = threads
    this.addressable = range(options.devices)
    this.cache = options.cacheDir === undefined ? undefined : new ExecutableCache(options.cacheDir)
  }

  ownerOf(): number { return this.processes.rank }

  compile(request: CompileRequest): Promise<Executable> {
    return this.session.use(() => compileProgram(this.session, request, this.cache))
  }

  traced(request: CompileRequest): Promise<TracedExecutable> {
    return this.session.use(() => traceProgram(this.session, request))
  }

  put(data: TypedArray, type: RestingType, device: number): Promise<DeviceBuffer> {
    return this.session.use(() => putBuffer(this.session, data, type, device))
  }

  async kernels(): Promise<boolean> {
    const { kernels, handlersAs } = this.session.kind
    const found = handlersAs === undefined ? undefined : await kernels?.(this.session.library.addressOf('PJRT_Client_Create'), this.deviceCount, this.threads)
    if (found !== undefined && handlersAs !== undefined) registerHandlers(this.session.library, found, handlersAs)
    return found !== undefined
  }

  liveBuffers(): number { return this.session.buffers.size }

  close(): Promise<void> { return this.session.close() }
  [Symbol.asyncDispose](): Promise<void> { return this.close() }
}

const nameOf = ({ path }: Pick<PluginLibrary, 'path'>): string => `${basename(dirname(path))}/${basename(path)}`
/** An installed plugin's folder carries its package's name and version. */
const describe = ({ path, apiVersion }: PluginLibrary, { platform }: Session): string =>
  `${platform.name} through PJRT ${apiVersion.major}.${apiVersion.minor} (${nameOf({ path })})`
