/** An array on a device of a plugin. */
import { dtypes, type DType, type TypedArray } from '../../core/dtype.ts'
import { PluginError } from '../../core/errors.ts'
import type { BufferType, DeviceBuffer, RestingType } from '../backend.ts'
import { awaitEvent } from './event.ts'
import { enums, structs } from './header.gen.ts'
import type { Owned } from './living.ts'
import { Memory, Struct } from './memory.ts'
import type { PjrtRun } from './run.ts'
import type { Session } from './session.ts'
import { bufferType } from './types.ts'

const elements = (shape: readonly number[]): number => shape.reduce((product, size) => product * size, 1)

/** Copies under this size are made on the main thread: a hop to another thread would cost more. */
const INLINE_BYTES = 1 << 18

export class PjrtBuffer implements DeviceBuffer, Owned {
  readonly shape: readonly number[]
  readonly dtype: DType
  readonly device: number
  /** The call that found it among its arguments last. */
  mark = 0
  /** Its neighbours among those that are alive. */
  before: Owned | undefined
  behind: Owned | undefined
  private readonly session: Session
  /** What computes it; undefined for what came from the host. */
  private readonly run: PjrtRun | undefined
  /** The plugin's; 0 until its program has been launched, and for ever where that failed. */
  private handle: bigint
  private alive = true
  private freed = false
  private pins: number

  /** A buffer that the plugin has made, or that a run will make: then `arrive` follows, and it is pinned until it does. */
  constructor(session: Session, made: bigint | PjrtRun, type: BufferType, device: number) {
    this.session = session
    this.handle = typeof made === 'bigint' ? made : 0n
    this.run = typeof made === 'bigint' ? undefined : made
    this.pins = typeof made === 'bigint' ? 0 : 1
    this.shape = type.shape
    this.dtype = type.dtype
    this.device = device
    session.buffers.add(this)
  }

  /** @throws PluginError where a client cannot be given it */
  checkUsable(session: Session): void {
    if (this.alive && session === this.session) return
    throw new PluginError({
      code: this.alive ? 'foreign-buffer' : 'disposed-buffer',
      what: this.alive ? 'a buffer of another backend was given' : 'a buffer was used after it was disposed or donated',
      details: { buffer: `${this.dtype}[${this.shape.join(',')}] on device ${this.device}` },
    })
  }

  /** Keeps the memory until `unpin`, whatever becomes of the buffer. */
  pin(): void { this.pins++ }

  unpin(): void {
    this.pins--
    this.freeIfUnused()
  }

  /** The run that computes it, as long as it is not known how that came out. */
  get source(): PjrtRun | undefined {
    const { run } = this
    return run === undefined || (run.settled && run.failure === undefined) ? undefined : run
  }

  /** What a launch is given; its run has been launched, well. */
  get address(): bigint { return this.handle }

  /** Whether the launch that it is given to is the last that uses it. */
  get isSpent(): boolean { return !this.alive && !this.freed && this.pins === 1 && this.handle !== 0n }

  /** The launch that it was given to has freed it. */
  wasFreed(): void { this.freed = true }

  /** The run's launch is over: `handle` is what the plugin made, 0 where it did not. */
  arrive(handle: bigint): void {
    this.handle = handle
    this.unpin()
  }

  /** Whether the plugin has taken the memory back, as after a donation; for tests. */
  isDeleted(): boolean {
    if (this.freed) return true
    return this.session.library.call(new Struct('PJRT_Buffer_IsDeleted_Args').set('buffer', this.handle)).number('is_deleted') !== 0
  }

  read(into?: ArrayBuffer): Promise<TypedArray> {
    return this.session.use(async () => {
      this.checkUsable(this.session)
      this.pin()
      try {
        return await this.copy(into)
      } finally {
        this.unpin()
      }
    })
  }

  private async copy(into: ArrayBuffer | undefined): Promise<TypedArray> {
    const { session, session: { library }, run } = this
    if (run !== undefined && !run.isLaunched) await run.launched
    if (run?.failure !== undefined) throw session.failures.hear(run.failure)
    const { bytes, view } = dtypes[this.dtype]
    const length = elements(this.shape)
    const target = into === undefined ? new Memory(length * bytes) : Memory.at(new Uint8Array(into, 0, length * bytes))
    const inline = length * bytes <= INLINE_BYTES
    const args = (inline ? session.reading : new Struct('PJRT_Buffer_ToHostBuffer_Args')).set('src', this.handle)
      .point('host_layout', rowMajor(this.shape.length)).point('dst', target).set('dst_size', length * bytes)
    try {
      const done = inline ? library.call(args) : await library.callAsync(args)
      await awaitEvent(library, done.get('event'))
    } catch (failure) {
      throw await session.explain(run, failure)
    }
    return view(target.view.buffer as ArrayBuffer, 0, length)
  }

  dispose(): void {
    if (!this.alive) return
    this.alive = false
    this.session.buffers.delete(this)
    this.freeIfUnused()
  }

  private freeIfUnused(): void {
    if (this.alive || this.freed || this.pins > 0) return
    this.freed = true
    if (this.handle !== 0n) this.session.free(this.handle, elements(this.shape) * dtypes[this.dtype].bytes)
  }
}

/** Copies a host array to a device: at once where it is small, which a step's batch mostly is. */
export function putBuffer(session: Session, data: TypedArray, type: RestingType, device: number): PjrtBuffer | Promise<PjrtBuffer> {
  const size = elements(type.shape) * dtypes[type.dtype].bytes
  if (data.byteLength !== size) {
    throw new PluginError({
      code: 'host-array-size', what: `a host array of ${data.byteLength} bytes was given where ${size} are needed`,
      details: { array: `${type.dtype}[${type.shape.join(',')}]` },
    })
  }
  const dims = sizesOf(type.shape)
  const source = Memory.pointer(data)
  const inline = size <= INLINE_BYTES
  const args = (inline ? session.putting : new Struct('PJRT_Client_BufferFromHostBuffer_Args')).set('client', session.client)
    .point('data', source).set('type', bufferType[type.dtype]).point('dims', dims).set('num_dims', type.shape.length)
    .set('host_buffer_semantics', enums.PJRT_HostBufferSemantics.ImmutableOnlyDuringCall).set('device', session.device(device)).set('memory', type.memory === undefined ? 0 : session.hostMemory(device))
  if (!inline) return session.library.callAsync(args).then(made => copied(session, made, type, device))
  return copied(session, session.library.call(args), type, device)
}

/** What a copy has made, once nothing reads from the host's array any more. @throws PluginError why it could not be copied */
function copied(session: Session, made: Struct<'PJRT_Client_BufferFromHostBuffer_Args'>, type: RestingType, device: number): PjrtBuffer | Promise<PjrtBuffer> {
  const { library } = session
  const buffer = new PjrtBuffer(session, made.get('buffer'), type, device)
  const read = made.get('done_with_host_buffer')
  const failed = (failure: unknown): never => {
    buffer.dispose()
    throw failure
  }
  if (!library.isReady(read)) return awaitEvent(library, read).then(() => buffer, failed)
  try {
    library.consume(read)
  } catch (failure) {
    failed(failure)
  }
  return buffer
}

/** Sizes as a plugin reads them, made once for each list. */
const knownSizes = new WeakMap<readonly number[], Memory>()
function sizesOf(shape: readonly number[]): Memory {
  const known = knownSizes.get(shape)
  if (known !== undefined) return known
  const made = Memory.words(shape)
  knownSizes.set(shape, made)
  return made
}

interface HostLayout { readonly address: bigint; readonly kept: readonly unknown[] }
const rowMajors = new Map<number, HostLayout>()

/** Says that the host wants rows last, whatever layout the device chose; made once for each rank. */
function rowMajor(rank: number): HostLayout {
  const known = rowMajors.get(rank)
  if (known !== undefined) return known
  const order = Memory.words(Array.from({ length: rank }, (_, i) => rank - 1 - i))
  const tiled = new Struct('PJRT_Buffer_MemoryLayout_Tiled').point('minor_to_major', order).set('minor_to_major_size', rank)
  const layout = new Struct('PJRT_Buffer_MemoryLayout').set('type', enums.PJRT_Buffer_MemoryLayout_Type.Tiled)
  layout.memory.bytes.set(tiled.memory.bytes, structs.PJRT_Buffer_MemoryLayout.fields.tiled[0])
  const made = { address: layout.address, kept: [layout, tiled] }
  rowMajors.set(rank, made)
  return made
}
