/** Opens a plugin as a Backend. */
import { basename, dirname } from 'node:path'
import type { TypedArray } from '../../core/dtype.ts'
import { PluginError } from '../../core/errors.ts'
import { range, type Backend, type BufferType, type CompileRequest, type DeviceBuffer, type Executable, type TracedExecutable } from '../backend.ts'
import { alone } from '../processes.ts'
import { putBuffer } from './buffer.ts'
import { ExecutableCache } from './cache.ts'
import { compileProgram } from './compile.ts'
import { registerHandlers, type Handlers } from './ffi.ts'
import { loadPlugin, type PluginLibrary } from './library.ts'
import { Session, type SessionOptions } from './session.ts'
import { traceProgram } from './trace/traced.ts'

export interface PjrtOptions extends Omit<SessionOptions, 'devices'> {
  /** Path of the plugin's shared library. */
  readonly library: string
  /** Devices wanted: a CPU plugin makes as many, another must have as many. */
  readonly devices: number
  /** Where compiled programs are kept; without it each is compiled anew. */
  readonly cacheDir?: string | undefined
  /** What the user calls this backend; `cpu` unless told. */
  readonly name?: string | undefined
  /** Native functions that programs call. */
  readonly handlers?: Handlers | undefined
  /** Threads of a CPU plugin, for the whole process; its own choice unless told. PJRT_NPROC wins. */
  readonly threads?: number | undefined
}

export async function openPjrt(options: PjrtOptions): Promise<Backend> {
  const library = loadPlugin(options.library, options.threads)
  if (options.handlers !== undefined) registerHandlers(library, options.handlers)
  const session = await Session.create(library, options)
  if (session.devices.length < options.devices) {
    await session.close()
    throw new PluginError({
      code: 'too-few-devices', what: `the plugin has ${session.devices.length} devices, ${options.devices} are needed`,
      details: { plugin: library.path, platform: session.platform.name },
      fix: 'use a smaller mesh, or --plugin cpu, which makes as many devices as are asked for',
    })
  }
  return new PjrtBackend(session, options)
}

class PjrtBackend implements Backend {
  readonly name: string
  readonly description: string
  readonly plugin: string
  readonly deviceCount: number
  readonly addressable: readonly number[]
  readonly devicesAs = 'replicas'
  readonly processes = alone
  private readonly session: Session
  private readonly cache: ExecutableCache | undefined
  private readonly threads: number | undefined

  constructor(session: Session, options: PjrtOptions) {
    this.session = session
    this.name = options.name ?? 'cpu'
    this.description = describe(session.library, session)
    this.plugin = `${session.platform.name} ${session.platform.version}, ${nameOf(session.library)}`
    this.deviceCount = options.devices
    this.threads = options.threads
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

  put(data: TypedArray, type: BufferType, device: number): Promise<DeviceBuffer> {
    return this.session.use(() => putBuffer(this.session, data, type, device))
  }

  async kernels(): Promise<boolean> {
    const { library, platform } = this.session
    if (platform.name !== 'cpu') return false
    const { kernelHandlers } = await import('./kernels.ts')
    const found = await kernelHandlers(this.deviceCount, this.threads)
    if (found !== undefined) registerHandlers(library, found)
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
