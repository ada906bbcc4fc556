/** A compiled program, loaded on its devices. */
import koffi from 'koffi'
import { PluginError } from '../../core/errors.ts'
import type { BufferType, DeviceBuffer, Executable, MemoryStats } from '../backend.ts'
import { PjrtBuffer } from './buffer.ts'
import { awaitEvents } from './event.ts'
import { Memory, Struct, nativeBytes, nativeWords } from './memory.ts'
import type { Session } from './session.ts'
import { dtypeOf } from './types.ts'

const deleter = koffi.proto('void', ['void *'])

export class PjrtExecutable implements Executable {
  readonly results: readonly BufferType[]
  readonly memory: MemoryStats | undefined
  readonly fromCache: boolean
  private readonly session: Session
  private readonly handle: bigint
  private readonly devices: number
  private readonly donated: ReadonlySet<number>
  private readonly options = new Struct('PJRT_ExecuteOptions')
  private alive = true
  private freed = false
  private running = 0

  constructor(session: Session, handle: bigint, made: { devices: number; donated: readonly number[]; fromCache: boolean }) {
    this.session = session
    this.handle = handle
    this.devices = made.devices
    this.donated = new Set(made.donated)
    this.fromCache = made.fromCache
    session.executables.add(this)
    const executable = this.unloaded()
    try {
      this.results = resultTypes(session, executable)
      this.memory = memoryStats(session, executable)
    } catch (failure) {
      this.dispose()
      throw failure
    } finally {
      session.library.call(new Struct('PJRT_Executable_Destroy_Args').set('executable', executable))
    }
  }

  execute(args: readonly (readonly DeviceBuffer[])[]): Promise<DeviceBuffer[][]> {
    return this.session.use(() => this.run(args))
  }

  dispose(): void {
    this.alive = false
    this.freeIfUnused()
  }

  /** The machine code, for `PJRT_Executable_DeserializeAndLoad`; undefined where the plugin cannot serialize. */
  async serialize(): Promise<Uint8Array | undefined> {
    const { library } = this.session
    const executable = this.unloaded()
    try {
      const made = await library.callAsync(new Struct('PJRT_Executable_Serialize_Args').set('executable', executable))
      const bytes = nativeBytes(made.get('serialized_bytes'), made.number('serialized_bytes_size')).slice()
      const free = koffi.decode(made.get('serialized_executable_deleter'), deleter) as (owner: bigint) => void
      free(made.get('serialized_executable'))
      return bytes
    } catch (failure) {
      if (failure instanceof PluginError) return undefined
      throw failure
    } finally {
      library.call(new Struct('PJRT_Executable_Destroy_Args').set('executable', executable))
    }
  }

  /** The unloaded executable behind this one, which answers questions; the caller destroys it. */
  private unloaded(): bigint {
    const args = new Struct('PJRT_LoadedExecutable_GetExecutable_Args').set('loaded_executable', this.handle)
    return this.session.library.call(args).get('executable')
  }

  /** Takes hold of the arguments at once, so that they may be disposed right after the call; then waits its turn. */
  private async run(args: readonly (readonly DeviceBuffer[])[]): Promise<DeviceBuffer[][]> {
    if (!this.alive) throw new PluginError({ code: 'disposed-executable', what: 'a program was run after it was disposed' })
    this.checkArguments(args)
    const pinned: PjrtBuffer[] = []
    this.running++
    try {
      const handles = args.map((row) => row.map((buffer) => {
        const handle = pin(buffer, this.session)
        pinned.push(buffer as PjrtBuffer)
        return handle
      }))
      const launch = (): Promise<DeviceBuffer[][]> => this.launch(handles, () => {
        for (const row of args) row.forEach((buffer, i) => { if (this.donated.has(i)) buffer.dispose() })
      })
      return await (this.devices > 1 || this.session.serial ? this.session.exclusive(launch) : launch())
    } finally {
      for (const buffer of pinned) buffer.unpin()
      this.running--
      this.freeIfUnused()
    }
  }

  private async launch(handles: readonly (readonly bigint[])[], launched: () => void): Promise<DeviceBuffer[][]> {
    const { devices, session, session: { library } } = this
    const parameters = handles[0]?.length ?? 0
    const outputs = this.results.length
    // One block: the two lists of rows, the events, then the rows themselves: arguments and results.
    const memory = new Memory(8 * devices * (3 + parameters + outputs))
    const put = (index: number, word: bigint): void => { memory.view.setBigUint64(index * 8, word, true) }
    const addressOf = (index: number): bigint => memory.address + BigInt(index * 8)
    const argumentAt = (device: number, i: number): number => 3 * devices + device * parameters + i
    const resultAt = (device: number, i: number): number => 3 * devices + devices * parameters + device * outputs + i
    handles.forEach((row, device) => {
      put(device, addressOf(argumentAt(device, 0)))
      put(devices + device, addressOf(resultAt(device, 0)))
      row.forEach((handle, i) => { put(argumentAt(device, i), handle) })
    })
    const call = new Struct('PJRT_LoadedExecutable_Execute_Args').set('executable', this.handle)
      .point('options', this.options).point('argument_lists', memory).set('num_devices', devices).set('num_args', parameters)
      .set('output_lists', addressOf(devices)).set('device_complete_events', addressOf(2 * devices))
    try {
      await library.callAsync(call)
    } catch (failure) {
      if (devices > 1) session.launchFailed(failure)
      throw failure
    }
    launched()
    const results = handles.map((_, device) => this.results.map((type, i) =>
      new PjrtBuffer(session, memory.word(resultAt(device, i)), type, device)))
    try {
      await awaitEvents(library, handles.map((_, device) => memory.word(2 * devices + device)))
    } catch (failure) {
      for (const buffer of results.flat()) buffer.dispose()
      throw failure
    }
    return results
  }

  /**
   * Every device must get the same: where only some devices refused their arguments, the others would wait for them in a
   * collective for ever.
   */
  private checkArguments(args: readonly (readonly DeviceBuffer[])[]): void {
    const first = args[0] ?? []
    if (args.length !== this.devices || args.some((row) => row.length !== first.length)) {
      throw new PluginError({
        code: 'argument-lists', what: `the program was compiled for ${this.devices} devices with equal lists of arguments`,
        details: { 'arguments given': args.map((row, device) => `device ${device}: ${row.length}`).join(', ') },
      })
    }
    args.forEach((row, device) => {
      row.forEach((buffer, i) => {
        const model = first[i] ?? buffer
        if (buffer.device === device && (buffer.shape === model.shape || typeText(buffer) === typeText(model))) return
        throw new PluginError({
          code: 'argument', what: `argument ${i} for device ${device} does not fit`,
          details: {
            given: `${typeText(buffer)} on device ${buffer.device}`, wanted: `${typeText(model)} on device ${device}, as for device 0`,
          },
        })
      })
    })
  }

  private freeIfUnused(): void {
    if (this.alive || this.freed || this.running > 0) return
    this.freed = true
    this.session.executables.delete(this)
    this.session.library.call(new Struct('PJRT_LoadedExecutable_Destroy_Args').set('executable', this.handle))
  }
}

const typeText = ({ dtype, shape }: BufferType): string => `${dtype}[${shape.join(',')}]`

function pin(buffer: DeviceBuffer, session: Session): bigint {
  if (buffer instanceof PjrtBuffer) return buffer.pin(session)
  throw new PluginError({ code: 'foreign-buffer', what: 'a buffer of another backend was given' })
}

function resultTypes({ library }: Session, executable: bigint): BufferType[] {
  const types = library.call(new Struct('PJRT_Executable_OutputElementTypes_Args').set('executable', executable))
  const dims = library.call(new Struct('PJRT_Executable_OutputDimensions_Args').set('executable', executable))
  const count = types.number('num_output_types')
  const codes = nativeBytes(types.get('output_types'), count * 4)
  const view = new DataView(codes.buffer, codes.byteOffset, codes.byteLength)
  const ranks = nativeWords(dims.get('dim_sizes'), dims.number('num_outputs')).map(Number)
  const sizes = nativeWords(dims.get('dims'), ranks.reduce((sum, rank) => sum + rank, 0)).map(Number)
  let at = 0
  return ranks.map((rank, i) => ({ dtype: dtypeOf(view.getInt32(i * 4, true)), shape: sizes.slice(at, at += rank) }))
}

function memoryStats({ library }: Session, executable: bigint): MemoryStats | undefined {
  if (!library.has('PJRT_Executable_GetCompiledMemoryStats')) return undefined
  try {
    const stats = library.call(new Struct('PJRT_Executable_GetCompiledMemoryStats_Args').set('executable', executable))
    return {
      arguments: stats.number('argument_size_in_bytes'), outputs: stats.number('output_size_in_bytes'),
      aliased: stats.number('alias_size_in_bytes'), temporaries: stats.number('temp_size_in_bytes'),
    }
  } catch (failure) {
    if (failure instanceof PluginError && failure.code === 'unimplemented') return undefined
    throw failure
  }
}
