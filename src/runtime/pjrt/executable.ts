/** A compiled program, loaded on its devices. */
import { PluginError } from '../../core/errors.ts'
import type { BufferType, DeviceBuffer, Executable, MemoryStats } from '../backend.ts'
import { PjrtBuffer } from './buffer.ts'
import { awaitEvents } from './event.ts'
import { Memory, Struct, nativeBytes, nativeWords } from './memory.ts'
import type { Session } from './session.ts'
import { dtypeOf } from './types.ts'

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
    try {
      const facts = this.inspect((executable) => ({ results: resultTypes(session, executable), memory: memoryStats(session, executable) }))
      this.results = facts.results
      this.memory = facts.memory
    } catch (failure) {
      this.dispose()
      throw failure
    }
  }

  execute(args: readonly (readonly DeviceBuffer[])[]): Promise<DeviceBuffer[][]> {
    return this.session.use(() => this.devices > 1 ? this.session.exclusive(() => this.run(args)) : this.run(args))
  }

  dispose(): void {
    this.alive = false
    this.freeIfUnused()
  }

  /** Calls `read` with the unloaded executable behind this one, which answers questions. */
  inspect<T>(read: (executable: bigint) => T): T {
    const { library } = this.session
    const args = new Struct('PJRT_LoadedExecutable_GetExecutable_Args').set('loaded_executable', this.handle)
    const executable = library.call(args).get('executable')
    try {
      return read(executable)
    } finally {
      library.call(new Struct('PJRT_Executable_Destroy_Args').set('executable', executable))
    }
  }

  private async run(args: readonly (readonly DeviceBuffer[])[]): Promise<DeviceBuffer[][]> {
    if (!this.alive) throw new PluginError({ code: 'disposed-executable', what: 'a program was run after it was disposed' })
    const parameters = this.checkArguments(args)
    const outputs = this.results.length
    const { library } = this.session
    // One block: the two pointer lists, the arguments, the results, the events; [device][item], row by row.
    const memory = new Memory(8 * this.devices * (3 + parameters + outputs))
    const argumentRows = 3 * this.devices
    const resultRows = argumentRows + this.devices * parameters
    const put = (index: number, word: bigint): void => { memory.view.setBigUint64(index * 8, word, true) }
    const addressOf = (index: number): bigint => memory.address + BigInt(index * 8)
    const pinned: PjrtBuffer[] = []
    this.running++
    try {
      args.forEach((row, device) => {
        put(device, addressOf(argumentRows + device * parameters))
        put(this.devices + device, addressOf(resultRows + device * outputs))
        row.forEach((buffer, i) => {
          put(argumentRows + device * parameters + i, pin(buffer, this.session))
          pinned.push(buffer as PjrtBuffer)
        })
      })
      const call = new Struct('PJRT_LoadedExecutable_Execute_Args').set('executable', this.handle).point('options', this.options)
        .point('argument_lists', memory).set('num_devices', this.devices).set('num_args', parameters)
        .set('output_lists', addressOf(this.devices)).set('device_complete_events', addressOf(2 * this.devices))
      await library.callAsync(call).finally(() => { for (const buffer of pinned.splice(0)) buffer.unpin() })
      args.forEach((row) => { row.forEach((buffer, i) => { if (this.donated.has(i)) buffer.dispose() }) })
      const results = args.map((_, device) => this.results.map((type, i) =>
        new PjrtBuffer(this.session, memory.word(resultRows + device * outputs + i), type, device)))
      const events = Array.from({ length: this.devices }, (_, device) => memory.word(2 * this.devices + device))
      try {
        await awaitEvents(library, events)
      } catch (failure) {
        for (const buffer of results.flat()) buffer.dispose()
        throw failure
      }
      return results
    } finally {
      for (const buffer of pinned) buffer.unpin()
      this.running--
      this.freeIfUnused()
    }
  }

  /**
   * Every device must get the same: where only some devices refused their arguments, the others would wait for them in a
   * collective for ever.
   */
  private checkArguments(args: readonly (readonly DeviceBuffer[])[]): number {
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
    return first.length
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
