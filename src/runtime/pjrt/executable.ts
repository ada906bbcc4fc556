/** A compiled program, loaded on its devices. */
import koffi from '../../io/koffi.ts'
import { PluginError } from '../../core/errors.ts'
import { range, type Arguments, type BufferType, type DeviceBuffer, type Executable, type ExecuteOptions, type MemoryStats } from '../backend.ts'
import { PjrtBuffer } from './buffer.ts'
import { Memory, Struct, nativeBytes, nativeWords } from './memory.ts'
import { PjrtRun } from './run.ts'
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
  private readonly parameters: readonly BufferType[]
  private readonly options = new Struct('PJRT_ExecuteOptions')
  private readonly frame: { readonly memory: Memory; readonly call: Struct<'PJRT_LoadedExecutable_Execute_Args'> }
  private alive = true
  private freed = false
  private running = 0

  constructor(session: Session, handle: bigint, made: { devices: number; donated: readonly number[]; parameters: readonly BufferType[]; fromCache: boolean }) {
    this.session = session
    this.handle = handle
    this.devices = made.devices
    this.parameters = made.parameters
    this.donated = new Set(made.donated)
    this.fromCache = made.fromCache
    session.executables.add(this)
    const executable = this.unloaded()
    try {
      this.results = resultTypes(session, executable)
      this.memory = memoryStats(session, executable)
      this.frame = this.makeFrame()
    } catch (failure) {
      this.dispose()
      throw failure
    } finally {
      session.library.call(new Struct('PJRT_Executable_Destroy_Args').set('executable', executable))
    }
  }

  execute(args: Arguments | Promise<Arguments>, options: ExecuteOptions = {}): Promise<DeviceBuffer[][]> {
    return this.session.use(() => this.start(args, options))
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

  /** The program as XLA has made it: a HloModuleProtoWithConfig. @throws PluginError where the plugin does not tell */
  optimized(): Uint8Array {
    const { library } = this.session
    const executable = this.unloaded()
    try {
      // First it says how long it is, then it writes.
      const program = new Struct('PJRT_Program')
      const args = new Struct('PJRT_Executable_OptimizedProgram_Args').set('executable', executable).point('program', program)
      library.call(args)
      const code = new Memory(program.number('code_size'))
      program.point('code', code)
      library.call(args)
      return code.bytes
    } finally {
      library.call(new Struct('PJRT_Executable_Destroy_Args').set('executable', executable))
    }
  }

  /** The unloaded executable behind this one, which answers questions; the caller destroys it. */
  private unloaded(): bigint {
    const args = new Struct('PJRT_LoadedExecutable_GetExecutable_Args').set('loaded_executable', this.handle)
    return this.session.library.call(args).get('executable')
  }

  /** Takes its place among the calls at once, and hold of arguments that are there, so that they may be disposed right after the call. */
  private start(args: Arguments | Promise<Arguments>, { at, told }: ExecuteOptions): Promise<DeviceBuffer[][]> {
    if (!this.alive) throw new PluginError({ code: 'disposed-executable', what: 'a program was run after it was disposed' })
    const { session } = this
    const run = new PjrtRun(at, told)
    const there = args instanceof Promise ? undefined : this.take(args)
    this.running++
    const admitted = session.inLine(async () => {
      const taken = there ?? this.take(await args)
      await session.admit(run)
      return { taken, results: range(this.devices).map((device) => this.results.map((type) => new PjrtBuffer(session, run, type, device))) }
    })
    const launched = session.inTurn(async () => {
      const job = await admitted.catch(() => undefined)
      if (job === undefined) return
      await this.launch(run, job.taken, job.results)
      if (session.oneByOne) await session.settle(run)
    })
    void session.use(() => launched.finally(() => {
      this.running--
      this.freeIfUnused()
    }))
    return admitted.then(({ results }) => results)
  }

  /** Pins the arguments, and takes donated ones from the caller. @throws PluginError where they do not fit; then nothing has changed. */
  private take(args: Arguments): PjrtBuffer[][] {
    this.checkArguments(args)
    const pinned: PjrtBuffer[] = []
    try {
      for (const buffer of args.flat()) pinned.push(pinnedBy(buffer, this.session))
    } catch (failure) {
      for (const buffer of pinned) buffer.unpin()
      throw failure
    }
    for (const row of args) for (const i of this.donated) row[i]?.dispose()
    const width = args[0]?.length ?? 0
    return args.map((_, device) => pinned.slice(device * width, (device + 1) * width))
  }

  /** Hands a run to the plugin, which takes it on before it is done. What goes wrong is the run's failure. */
  private async launch(run: PjrtRun, args: readonly (readonly PjrtBuffer[])[], results: readonly (readonly PjrtBuffer[])[]): Promise<void> {
    const { session } = this
    const sources = new Set<PjrtRun>()
    for (const row of args) for (const { source } of row) if (source !== undefined) sources.add(source)
    const failed = [...sources].find((s) => s.failure !== undefined)
    try {
      if (failed !== undefined) run.failure = failed.failure
      else {
        run.sources = [...sources]
        if (this.devices > 1) session.checkLaunches()
        await this.call(run, args, results)
      }
    } catch (failure) {
      run.failure = session.failures.keep(failure, run.at, run.told)
    }
    if (run.failure !== undefined) for (const buffer of results.flat()) buffer.arrive(0n)
    for (const row of args) for (const buffer of row) buffer.unpin()
    run.markLaunched()
  }

  private async call(run: PjrtRun, args: readonly (readonly PjrtBuffer[])[], results: readonly (readonly PjrtBuffer[])[]): Promise<void> {
    const { devices, session, session: { library } } = this
    const parameters = this.parameters.length
    const outputs = this.results.length
    const { memory, call } = this.frame
    args.forEach((row, device) => {
      row.forEach((buffer, i) => { memory.view.setBigUint64((3 * devices + device * parameters + i) * 8, buffer.address, true) })
    })
    try {
      await library.callAsync(call)
    } catch (failure) {
      if (devices > 1) session.launchFailed(failure)
      throw failure
    }
    run.events = range(devices).map((device) => memory.word(2 * devices + device))
    results.forEach((row, device) => {
      row.forEach((buffer, i) => { buffer.arrive(memory.word(3 * devices + devices * parameters + device * outputs + i)) })
    })
  }

  /** What every call is given, filled in anew; there is one call at a time. */
  private makeFrame(): { readonly memory: Memory; readonly call: Struct<'PJRT_LoadedExecutable_Execute_Args'> } {
    const { devices } = this
    const [parameters, outputs] = [this.parameters.length, this.results.length]
    // One block: the two lists of rows, the events, then the rows themselves: arguments and results.
    const memory = new Memory(8 * devices * (3 + parameters + outputs))
    const put = (index: number, word: bigint): void => { memory.view.setBigUint64(index * 8, word, true) }
    const addressOf = (index: number): bigint => memory.address + BigInt(index * 8)
    for (const device of range(devices)) {
      put(device, addressOf(3 * devices + device * parameters))
      put(devices + device, addressOf(3 * devices + devices * parameters + device * outputs))
    }
    const call = new Struct('PJRT_LoadedExecutable_Execute_Args').set('executable', this.handle)
      .point('options', this.options).point('argument_lists', memory).set('num_devices', devices).set('num_args', parameters)
      .set('output_lists', addressOf(devices)).set('device_complete_events', addressOf(2 * devices))
    return { memory, call }
  }

  /**
   * Every device must get what the program takes: where only some devices refused their arguments, the others would wait for them in a
   * collective for ever.
   */
  private checkArguments(args: Arguments): void {
    const { parameters } = this
    if (args.length !== this.devices || args.some((row) => row.length !== parameters.length)) {
      throw new PluginError({
        code: 'argument-lists', what: `the program was compiled for ${this.devices} devices and ${parameters.length} arguments on each`,
        details: { 'arguments given': args.map((row, device) => `device ${device}: ${row.length}`).join(', ') },
      })
    }
    const taken = new Set<DeviceBuffer>()
    for (const [device, row] of args.entries()) {
      for (const [i, buffer] of row.entries()) {
        const wanted = parameters[i] ?? buffer
        if (buffer.device !== device || !sameType(buffer, wanted)) {
          throw new PluginError({
            code: 'argument', what: `argument ${i} for device ${device} does not fit`,
            details: { given: `${typeText(buffer)} on device ${buffer.device}`, wanted: `${typeText(wanted)} on device ${device}` },
          })
        }
        if (this.donated.has(i)) {
          if (taken.has(buffer)) throw donatedTwice(i, device)
          taken.add(buffer)
        }
      }
    }
    if (taken.size === 0) return
    for (const [device, row] of args.entries()) {
      for (const [i, buffer] of row.entries()) if (!this.donated.has(i) && taken.has(buffer)) throw donatedTwice(i, device)
    }
  }

  private freeIfUnused(): void {
    if (this.alive || this.freed || this.running > 0) return
    this.freed = true
    this.session.executables.delete(this)
    this.session.library.call(new Struct('PJRT_LoadedExecutable_Destroy_Args').set('executable', this.handle))
  }
}

const donatedTwice = (i: number, device: number): PluginError =>
  new PluginError({ code: 'donated-twice', what: `argument ${i} for device ${device} is donated as another argument, too` })

function sameType(a: BufferType, b: BufferType): boolean {
  if (a.dtype !== b.dtype || a.shape.length !== b.shape.length) return false
  for (let i = 0; i < a.shape.length; i++) if (a.shape[i] !== b.shape[i]) return false
  return true
}

const typeText = ({ dtype, shape }: BufferType): string => `${dtype}[${shape.join(',')}]`

function pinnedBy(buffer: DeviceBuffer, session: Session): PjrtBuffer {
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
