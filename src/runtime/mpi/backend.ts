/** One device on each rank: a backend of this process's own device, and the other processes' beside it. */
import type { TypedArray } from '../../core/dtype.ts'
import { PluginError } from '../../core/errors.ts'
import type { Lowering } from '../../core/platform.ts'
import { sha256 } from '../../io/checksum.ts'
import type { Backend, RestingType, CompileRequest, DeviceBuffer, Executable, TracedExecutable } from '../backend.ts'
import { anyOf, barrier, leadersFirst, queue, requireSame, type Processes } from '../processes.ts'

/** A backend of one process; `spans` says whether its client is one with those of the other ranks. */
export interface LocalBackend extends Backend { readonly spans: boolean }

/** `local` is opened with the native library's handlers and one device. */
export class MpiBackend implements Backend {
  readonly name: string
  readonly description: string
  readonly plugin: string
  readonly deviceCount: number
  readonly addressable: readonly number[]
  /** Where the client spans the ranks, a program keeps StableHLO's collectives, which are the plugin's; else they are ours, between ranks. */
  readonly devicesAs: 'replicas' | 'ranks'
  readonly lowering: Lowering
  readonly overlaps: boolean
  readonly processes: Processes
  private readonly local: LocalBackend
  private readonly inTurn = queue()
  private made: Promise<boolean> | undefined

  constructor(local: LocalBackend, processes: Processes, overlaps = false) {
    this.devicesAs = local.spans ? 'replicas' : 'ranks'
    this.lowering = local.lowering
    this.overlaps = overlaps && !local.spans
    this.local = local
    this.processes = processes
    this.name = 'mpi'
    this.plugin = local.plugin
    this.description = `${local.description}, ${processes.description}`
    this.deviceCount = processes.count
    this.addressable = [processes.rank]
  }

  /** A rank is a device. */
  ownerOf(device: number): number { return device }

  /** A program that is not the same on all ranks would never end. @throws JobError when it is not. */
  compile(request: CompileRequest): Promise<Executable> {
    return this.inTurn(() => this.compileAlike(request))
  }

  private async compileAlike(request: CompileRequest): Promise<Executable> {
    await requireSame(this.processes, 'comparing programs', { 'the program': sha256(request.text), 'what it takes over': request.donated.join(' ') }, 'start all ranks with one recipe, one version and one kind of machine')
    // Compilers of one client share out what they try, so none may wait for another.
    const executable = this.local.spans ? await this.local.compile({ ...request, devices: 1, replicas: this.deviceCount }) : await leadersFirst(this.processes, 'compiling', () => this.local.compile({ ...request, devices: 1 }))
    // Here a slow compiler is waited for; within a program it would count as standing still.
    await barrier(this.processes, 'compiling')
    return executable
  }

  traced(): Promise<TracedExecutable> {
    return Promise.reject(new PluginError({ code: 'no-trace', what: 'what runs between processes is not traced', fix: 'profile the same mesh in one process: leave out mpirun, or --backend local' }))
  }

  put(data: TypedArray, type: RestingType, device: number): Promise<DeviceBuffer> {
    if (device === this.processes.rank) return this.local.put(data, type, 0)
    throw new PluginError({ code: 'not-addressable', what: `rank ${this.processes.rank} cannot reach device ${device}`, fix: 'give each rank its own part' })
  }

  /** All processes have them, or none: they run one program. Asked once. */
  kernels(): Promise<boolean> {
    return this.made ??= this.inTurn(async () => {
      const mine = await leadersFirst(this.processes, 'building kernels', () => this.local.kernels())
      return !await anyOf(this.processes, 'who has no kernels', !mine)
    })
  }
  liveBuffers(): number { return this.local.liveBuffers() }
  close(): Promise<void> { return this.local.close() }
  [Symbol.asyncDispose](): Promise<void> { return this.close() }
}
