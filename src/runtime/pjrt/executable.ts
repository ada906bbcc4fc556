/** A compiled program, loaded on its devices. */
import koffi from '../../io/koffi.ts'
import { PluginError } from '../../core/errors.ts'
import { range, type Arguments, type BufferType, type DeviceBuffer, type Executable, type ExecuteOptions, type MemoryStats } from '../backend.ts'
import { PjrtBuffer } from './buffer.ts'
import { fewest, mostLeft, Request } from './launcher.ts'
import { Memory, Struct, nativeBytes, nativeWords } from './memory.ts'
import { PjrtRun } from './run.ts'
import type { Session } from './session.ts'
import { dtypeOf } from './types.ts'

const deleter = koffi.proto('void', ['void *'])

/** What every call is given: one block, in which the plugin finds the arguments' handles and leaves those of events and results. */
interface Frame {
  readonly call: Struct<'PJRT_LoadedExecutable_Execute_Args'>
  readonly words: BigUint64Array
  /** Where in the words these begin, those of one device behind those of the other. */
  readonly events: number
  readonly arguments: number
  readonly results: number
}

export class PjrtExecutable implements Executable {
  readonly results: readonly BufferType[]
  readonly memory: MemoryStats | undefined
  readonly fromCache: boolean
  private readonly session: Session
  private readonly handle: bigint
  private readonly devices: number
  /** By parameter. */
  private readonly donated: readonly boolean[]
  private readonly donates: boolean
  private readonly parameters: readonly BufferType[]
  private readonly options = new Struct('PJRT_ExecuteOptions')
  private readonly frame: Frame
  private request: Request | undefined
  private alive = true
  private freed = false
  private running = 0

  constructor(session: Session, handle: bigint, made: { devices: number; donated: readonly number[]; parameters: readonly BufferType[]; fromCache: boolean }) {
    this.session = session
    this.handle = handle
    this.devices = made.devices
    this.parameters = made.parameters
    this.donated = made.parameters.map((_, i) => made.donated.includes(i))
    this.donates = made.donated.length > 0
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

  /** Pins the arguments, those of one device behind those of the other, and takes donated ones from the caller. @throws PluginError where they do not fit; then nothing has changed. */
  private take(args: Arguments): PjrtBuffer[] {
    const taken = this.fitting(args)
    for (const buffer of taken) buffer.pin()
    if (this.donates) taken.forEach((buffer, k) => { if (this.donated[k % this.parameters.length] === true) buffer.dispose() })
    return taken
  }

  /** Hands a run to the plugin, which takes it on before it is done. What goes wrong is the run's failure. */
  private async launch(run: PjrtRun, args: readonly PjrtBuffer[], results: readonly (readonly PjrtBuffer[])[]): Promise<void> {
    const { session } = this
    const sources = sourcesOf(args)
    const failed = sources.find((s) => s.failure !== undefined)
    try {
      if (failed !== undefined) run.failure = failed.failure
      else {
        run.sources = sources
        if (this.devices > 1) session.checkLaunches()
        await this.call(run, args, results)
      }
    } catch (failure) {
      run.failure = session.failures.keep(failure, run.at, run.told)
    }
    if (run.failure !== undefined) for (const row of results) for (const buffer of row) buffer.arrive(0n)
    for (const buffer of args) buffer.unpin()
    run.markLaunched()
  }

  private async call(run: PjrtRun, args: readonly PjrtBuffer[], results: readonly (readonly PjrtBuffer[])[]): Promise<void> {
    const { devices, session, frame } = this
    const { words } = frame
    let at = frame.arguments
    for (const buffer of args) words[at++] = buffer.address
    try {
      await this.make(args)
    } catch (failure) {
      if (devices > 1) session.launchFailed(failure)
      throw failure
    }
    run.events = [...words.subarray(frame.events, frame.events + devices)]
    at = frame.results
    for (const row of results) for (const buffer of row) buffer.arrive(words[at++] ?? 0n)
  }

  /** The call itself. What it takes over, and nobody else uses, is freed behind it on its thread where that is worth it. */
  private async make(args: readonly PjrtBuffer[]): Promise<void> {
    const { session, session: { library, launches }, frame } = this
    const native = this.donates && args.length >= fewest ? launches.native() : undefined
    if (native === undefined) {
      await library.callAsync(frame.call)
      return
    }
    const request = this.request ??= new Request(library, frame.call, args.length + mostLeft)
    const spent = args.filter(buffer => buffer.isSpent)
    spent.forEach((buffer, i) => { request.handles[i] = buffer.address })
    const left = session.takeLeft()
    left.forEach((handle, i) => { request.handles[spent.length + i] = handle })
    request.count = spent.length + left.length
    try {
      await library.onThread(native, request.address, 'PJRT_LoadedExecutable_Execute')
    } finally {
      // Where it was not launched nothing has been freed.
      for (const handle of left.slice(Math.max(0, request.freed - spent.length))) session.free(handle, 0)
    }
    for (const buffer of spent.slice(0, request.freed)) buffer.wasFreed()
    if (request.failure !== 0n) throw library.failure('PJRT_Buffer_Destroy', request.failure)
  }

  /** Filled in anew for each call; there is one at a time. */
  private makeFrame(): Frame {
    const { devices } = this
    const [parameters, outputs] = [this.parameters.length, this.results.length]
    // The two lists of rows, the events, then the rows themselves: arguments and results.
    const [events, first] = [2 * devices, 3 * devices]
    const [results, memory] = [first + devices * parameters, new Memory(8 * devices * (3 + parameters + outputs))]
    const words = new BigUint64Array(memory.bytes.buffer, memory.bytes.byteOffset, devices * (3 + parameters + outputs))
    const addressOf = (index: number): bigint => memory.address + BigInt(index * 8)
    for (const device of range(devices)) {
      words[device] = addressOf(first + device * parameters)
      words[devices + device] = addressOf(results + device * outputs)
    }
    const call = new Struct('PJRT_LoadedExecutable_Execute_Args').set('executable', this.handle)
      .point('options', this.options).point('argument_lists', memory).set('num_devices', devices).set('num_args', parameters)
      .set('output_lists', addressOf(devices)).set('device_complete_events', addressOf(events))
    return { call, words, events, arguments: first, results }
  }

  /**
   * The arguments, checked, in one row. Every device must get what the program takes: where only some devices refused their arguments, the others would wait for them in a
   * collective for ever.
   */
  private fitting(args: Arguments): PjrtBuffer[] {
    const { parameters, donated, session } = this
    if (args.length !== this.devices || args.some((row) => row.length !== parameters.length)) {
      throw new PluginError({
        code: 'argument-lists', what: `the program was compiled for ${this.devices} devices and ${parameters.length} arguments on each`,
        details: { 'arguments given': args.map((row, device) => `device ${device}: ${row.length}`).join(', ') },
      })
    }
    const fit: PjrtBuffer[] = []
    const mark = session.nextMark()
    args.forEach((row, device) => {
      row.forEach((buffer, i) => {
        const wanted = parameters[i] ?? buffer
        if (buffer.device !== device || !sameType(buffer, wanted)) {
          throw new PluginError({
            code: 'argument', what: `argument ${i} for device ${device} does not fit`,
            details: { given: `${typeText(buffer)} on device ${buffer.device}`, wanted: `${typeText(wanted)} on device ${device}` },
          })
        }
        if (!(buffer instanceof PjrtBuffer)) throw new PluginError({ code: 'foreign-buffer', what: 'a buffer of another backend was given' })
        buffer.checkUsable(session)
        if (donated[i] === true) {
          if (buffer.mark === mark) throw donatedTwice(i, device)
          buffer.mark = mark
        }
        fit.push(buffer)
      })
    })
    if (this.donates) {
      fit.forEach((buffer, k) => {
        const i = k % parameters.length
        if (donated[i] !== true && buffer.mark === mark) throw donatedTwice(i, (k - i) / parameters.length)
      })
    }
    return fit
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

/** Runs that compute them, each once, as far as they are not known to be done: mostly one, which computed nearly all. */
function sourcesOf(buffers: readonly PjrtBuffer[]): PjrtRun[] {
  const sources: PjrtRun[] = []
  let last: PjrtRun | undefined
  for (const { source } of buffers) {
    if (source === undefined || source === last) continue
    last = source
    if (!sources.includes(source)) sources.push(source)
  }
  return sources
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
