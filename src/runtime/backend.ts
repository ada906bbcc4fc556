/** What every runtime offers: StableHLO text in, device buffers in and out. It knows no graphs and no dims. */
import type { DType, TypedArray } from '../core/dtype.ts'
import type { MeshworkError, Site } from '../core/errors.ts'
import type { Lowering } from '../core/platform.ts'
import type { Processes } from './processes.ts'

/** Shape (row-major) and element type of one array on one device. */
export interface BufferType { readonly shape: readonly number[]; readonly dtype: DType }
/** And where it is to lie: in the memory of the host that belongs to the device, where the platform tells them apart. */
export interface RestingType extends BufferType { readonly memory?: 'host' }

/** An array on one device. It is freed by `dispose`, which may be called twice and after a donation. */
export interface DeviceBuffer extends BufferType {
  /** Its number among those of this process. */
  readonly device: number
  /**
   * Copies the array to the host, once it has been computed. Rejects if the buffer was disposed or donated, and with what went wrong
   * in the program that was to compute it or what it was computed from.
   * `into`: memory for its bytes, all of an `ArrayBuffer`, of which the result is a view; it is not to be touched before.
   */
  read(into?: ArrayBuffer): Promise<TypedArray>
  dispose(): void
}

export interface CompileRequest {
  /** A StableHLO module with a public `@main`, one program for all devices, written for the backend's `devicesAs`. */
  readonly text: string
  /** Of all processes. */
  readonly devices: number
  /** How many run it together, where one client spans several processes and `devices` are this one's: all of theirs. */
  readonly replicas?: number
  /** Parameter numbers of `@main` whose buffers the program takes over (marked `tf.aliasing_output` in the text). */
  readonly donated: readonly number[]
  /** Nothing but the plugin keeps the order of its collectives: one that loses it when it stores a program must not have it stored. */
  readonly unordered?: boolean
}

/** Bytes per device, as the compiler states them. */
export interface MemoryStats { readonly arguments: number; readonly outputs: number; readonly aliased: number; readonly temporaries: number }

/** A part of a compiled program that runs as one: a contraction, a fused loop, a collective. */
export interface TracedPart {
  /** As the compiler calls it. */
  readonly name: string
  /** In HLO's words: `dot`, `fusion`, `all-reduce`, `custom-call`. */
  readonly op: string
  /** What was fused into it, the most telling first; empty where it is no fusion. */
  readonly inside: readonly string[]
  /** The user's lines whose work it does, `models/gpt.ts:31`, that of its result first. */
  readonly lines: readonly string[]
  /** Multiplications and additions of its contractions, and bytes that it reads and writes, each time it runs. */
  readonly flops: number
  readonly bytes: number
  /** Of its result; none of a tuple. */
  readonly sizes: readonly number[]
  /** What a custom call calls. */
  readonly target: string
  /** Devices that it brings together, where it is a collective. */
  readonly groups: readonly (readonly number[])[] | undefined
}
/** A part ran on a device, from one time to another, in nanoseconds of the system's monotonic clock. */
export interface Span { readonly part: number; readonly device: number; readonly from: number; readonly to: number }

/** A program whose parts say when they run. */
export interface TracedExecutable extends Executable {
  readonly parts: readonly TracedPart[]
  /** Runs `work` and resolves to what ran meanwhile, and how many of its times were lost for want of room. One at a time in a process; runs have to be awaited within. */
  record(work: () => Promise<void>): Promise<{ readonly spans: readonly Span[]; readonly lost: number }>
}

export interface Executable {
  readonly results: readonly BufferType[]
  /** Undefined where the backend cannot say. */
  readonly memory: MemoryStats | undefined
  /** Whether it came out of the disk cache. */
  readonly fromCache: boolean
  /**
   * Queues a run of the program on all devices: `args[i][parameter]` → `[i][result]`, `i` counting the backend's `addressable` devices.
   * Runs are in the order of the calls, also where a call's arguments come later than those of the next. Resolves to the results' buffers
   * before anything is computed; where `mostInFlight` runs are out already, when one of them is done. Never blocks Node's loop.
   * Arguments may be disposed right after the call; donated ones are disposed by it, the others stay the caller's.
   * Rejects where the arguments do not fit, and nothing has changed then; what goes wrong later is thrown by `read` of the results.
   */
  execute(args: Arguments | Promise<Arguments>, options?: ExecuteOptions): Promise<DeviceBuffer[][]>
  dispose(): void
}

/** By device and parameter. */
export type Arguments = readonly (readonly DeviceBuffer[])[]

/** The user's line of a call, made out only where an error needs it. */
export type CallSite = () => Site | undefined

/** An error as the user should hear it: with what the caller alone knows of the program. */
export type Told = (failure: MeshworkError) => MeshworkError

export interface ExecuteOptions {
  /** The user's line, which errors name. */
  readonly at?: CallSite | undefined
  /** What is said of a failure, beside its place. */
  readonly told?: Told | undefined
}

export interface Backend {
  /** As the user names it: `cpu`, `simulate`. */
  readonly name: string
  /** One line for people: which plugin or interpreter, its version. */
  readonly description: string
  /** The runtime and its version, the same wherever it is installed. */
  readonly plugin: string
  /** Of all processes. */
  readonly deviceCount: number
  /** Those whose buffers are in this process, in rising order. */
  readonly addressable: readonly number[]
  /** What programs are written for. */
  readonly lowering: Lowering
  /** How a program tells devices apart and writes collectives: replicas in one process, or one device on each rank. */
  readonly devicesAs: 'replicas' | 'ranks'
  /** Whether collectives can be under way while a device computes: then programs are written so. */
  readonly overlaps?: boolean
  readonly processes: Processes
  /** The rank of the process that holds a device. */
  ownerOf(device: number): number
  compile(request: CompileRequest): Promise<Executable>
  /** Compiles a program whose parts say when they run. @throws PluginError where this runtime cannot tell */
  traced(request: CompileRequest): Promise<TracedExecutable>
  /** Copies a host array to an addressable device. `data` may be reused once the promise resolves. */
  put(data: TypedArray, type: RestingType, device: number): Promise<DeviceBuffer>
  /** Makes our own kernels ready for programs to call; false where the runtime calls none, or they cannot be built here. */
  kernels(): Promise<boolean>
  /** Buffers alive now: a leak test counts them. */
  liveBuffers(): number
  /** Waits for what runs and frees everything. @throws what went wrong in a program whose results nobody has read. */
  close(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

/** Addresses of native functions through which the clients of several processes tell each other where they are. */
export interface KeyValueStore { readonly get: bigint; readonly put: bigint; readonly tryGet: bigint }

/** 0 … n−1. */
export const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i)
