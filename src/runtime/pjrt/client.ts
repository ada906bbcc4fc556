/** Opens a plugin as a Backend. */
import { basename, dirname } from 'node:path'
import type { TypedArray } from '../../core/dtype.ts'
import { PluginError } from '../../core/errors.ts'
import type { Backend, BufferType, CompileRequest, DeviceBuffer, Executable } from '../backend.ts'
import { putBuffer } from './buffer.ts'
import { ExecutableCache } from './cache.ts'
import { compileProgram } from './compile.ts'
import { loadPlugin, type PluginLibrary } from './library.ts'
import { Session } from './session.ts'

export interface PjrtOptions {
  /** Path of the plugin's shared library. */
  readonly library: string
  /** Devices wanted: a CPU plugin makes as many, another must have as many. */
  readonly devices: number
  /** Where compiled programs are kept; without it each is compiled anew. */
  readonly cacheDir?: string | undefined
  /** What the user calls this backend; `cpu` unless told. */
  readonly name?: string | undefined
}

export async function openPjrt(options: PjrtOptions): Promise<Backend> {
  const library = loadPlugin(options.library)
  const session = await Session.create(library, options.devices)
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
  readonly deviceCount: number
  private readonly session: Session
  private readonly cache: ExecutableCache | undefined

  constructor(session: Session, options: PjrtOptions) {
    this.session = session
    this.name = options.name ?? 'cpu'
    this.description = describe(session.library, session)
    this.deviceCount = options.devices
    this.cache = options.cacheDir === undefined ? undefined : new ExecutableCache(options.cacheDir)
  }

  compile(request: CompileRequest): Promise<Executable> {
    return this.session.use(() => compileProgram(this.session, request, this.cache))
  }

  put(data: TypedArray, type: BufferType, device: number): Promise<DeviceBuffer> {
    return this.session.use(() => putBuffer(this.session, data, type, device))
  }

  liveBuffers(): number { return this.session.buffers.size }

  close(): Promise<void> { return this.session.close() }
}

/** An installed plugin's folder carries its package's name and version. */
const describe = ({ path, apiVersion }: PluginLibrary, { platform }: Session): string =>
  `${platform.name} through PJRT ${apiVersion.major}.${apiVersion.minor} (${basename(dirname(path))}/${basename(path)})`
