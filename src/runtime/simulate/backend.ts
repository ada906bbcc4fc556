/** The backend `simulate`: StableHLO on pretend devices, in plain TypeScript, all in this process. */
import { dtypes, type DType, type TypedArray } from '../../core/dtype.ts'
import { PluginError } from '../../core/errors.ts'
import { forCpu } from '../../core/platform.ts'
import { range, type Arguments, type Backend, type BufferType, type CallSite, type CompileRequest, type DeviceBuffer, type Executable, type ExecuteOptions, type Told, type TracedExecutable } from '../backend.ts'
import { Failures, mostInFlight, type Failure } from '../in-flight.ts'
import { alone, queue } from '../processes.ts'
import { compileModule, type Program } from './compile.ts'
import { fromHost, toHost, type Store } from './element.ts'
import { parseModule } from './parse.ts'
import { formatType, sameType, type Module } from './program.ts'
import type { Value } from './lowering.ts'
import { sizeOf } from './strided.ts'

/** Opens `devices` pretend devices. */
export async function openSimulate({ devices }: { readonly devices: number }): Promise<Backend> {
  if (!Number.isSafeInteger(devices) || devices < 1) {
    const what = `${devices} devices cannot be simulated`
    throw new PluginError({ code: 'device-count', what, fix: 'ask for a whole number, at least 1' })
  }
  return new SimulateBackend(devices)
}

/** One run of a program, which may not be done. */
class SimulatedRun {
  readonly at: CallSite | undefined
  failure: Failure | undefined
  readonly told: Told | undefined
  constructor(at: CallSite | undefined, told: Told | undefined) {
    this.at = at
    this.told = told
  }
}

/** What a buffer holds, or will hold when its run is done: nothing, if that fails. */
type Contents = Store | Promise<Store | undefined>

class SimulatedBuffer implements DeviceBuffer {
  readonly shape: readonly number[]
  readonly dtype: DType
  readonly device: number
  readonly owner: SimulateBackend
  /** What computes it; undefined for what came from the host. */
  readonly run: SimulatedRun | undefined
  private held: Contents | undefined

  constructor(owner: SimulateBackend, held: Contents, type: BufferType, device: number, run?: SimulatedRun) {
    this.owner = owner
    this.held = held
    this.run = run
    this.shape = type.shape
    this.dtype = type.dtype
    this.device = device
    owner.buffers.add(this)
  }

  /** What it holds. @throws PluginError when it holds nothing any more. */
  contents(): Contents {
    if (this.held !== undefined) return this.held
    throw new PluginError({
      code: 'disposed-buffer', what: 'a buffer was used after it was disposed or donated',
      details: { buffer: `${formatType(this)} on device ${this.device}` },
    })
  }

  async read(into?: ArrayBuffer): Promise<TypedArray> {
    const store = await this.contents()
    if (store !== undefined) {
      const data = toHost(store, this.dtype)
      if (into === undefined) return data
      new Uint8Array(into).set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
      return dtypes[this.dtype].view(into, 0, data.length)
    }
    if (this.run?.failure === undefined) throw new Error('a run ended without results')
    throw this.owner.failures.hear(this.run.failure)
  }

  dispose(): void {
    this.held = undefined
    this.owner.buffers.delete(this)
  }
}

class SimulateBackend implements Backend {
  readonly name = 'simulate'
  readonly description: string
  readonly plugin = 'simulate'
  readonly deviceCount: number
  readonly addressable: readonly number[]
  readonly devicesAs = 'replicas'
  readonly processes = alone
  /** It reads what is written for CPUs. */
  readonly lowering = forCpu
  readonly buffers = new Set<SimulatedBuffer>()
  readonly failures = new Failures()
  /** Calls take their places at once, and are admitted in their order; so do runs. */
  readonly inLine = queue()
  readonly inTurn = queue()
  private readonly out = new Set<Promise<unknown>>()
  private readonly runs = new Set<Promise<unknown>>()
  private closed = false

  constructor(devices: number) {
    this.deviceCount = devices
    this.addressable = range(devices)
    this.description = `interpreter of StableHLO on ${devices} pretend device${devices === 1 ? '' : 's'}`
  }

  ownerOf(): number { return this.processes.rank }

  async compile(request: CompileRequest): Promise<Executable> {
    this.checkOpen()
    this.checkDevice(request.devices - 1)
    const module = parseModule(request.text)
    const program = compileModule(module, request.devices)
    checkDonations(module, program, request.donated)
    return new SimulatedExecutable(this, program, request)
  }

  async put(data: TypedArray, type: BufferType, device: number): Promise<DeviceBuffer> {
    this.checkOpen()
    this.checkDevice(device)
    const needed = sizeOf(type.shape) * dtypes[type.dtype].bytes
    // The host may hold bytes in an array of another kind: what counts is what they are on the device.
    if (data.byteLength !== needed) {
      throw new PluginError({
        code: 'host-array-size', what: `a host array of ${data.byteLength} bytes was given where ${needed} are needed`,
        details: { array: formatType(type) },
      })
    }
    const copy = dtypes[type.dtype].view(data.slice().buffer)
    return new SimulatedBuffer(this, fromHost(copy, type.dtype), type, device)
  }

  traced(): Promise<TracedExecutable> {
    return Promise.reject(new PluginError({ code: 'no-trace', what: 'simulate has no parts whose time would say anything', fix: 'use --plugin cpu' }))
  }

  kernels(): Promise<boolean> { return Promise.resolve(false) }
  liveBuffers(): number { return this.buffers.size }

  /** Waits for what runs, so that its results are freed too. */
  async close(): Promise<void> {
    this.closed = true
    while (this.runs.size > 0) await Promise.allSettled(this.runs)
    for (const buffer of this.buffers) buffer.dispose()
    this.failures.close()
  }
  [Symbol.asyncDispose](): Promise<void> { return this.close() }

  /** Resolves when there is room for one more run. */
  async room(): Promise<void> {
    while (this.out.size >= mostInFlight) await Promise.race(this.out)
  }

  /** Does work that `close` waits for, and that takes a place among those that are out; it never rejects. */
  launch(work: () => Promise<void>): void {
    const turn = this.inTurn(work).finally(() => {
      this.out.delete(turn)
      this.runs.delete(turn)
    })
    this.out.add(turn)
    this.runs.add(turn)
  }

  /** Does work that `close` waits for. */
  async use<T>(work: () => Promise<T>): Promise<T> {
    this.checkOpen()
    const run = work()
    this.runs.add(run)
    try {
      return await run
    } finally {
      this.runs.delete(run)
    }
  }

  private checkOpen(): void {
    if (this.closed) throw new PluginError({ code: 'closed', what: 'the backend is closed', fix: 'open it again' })
  }

  private checkDevice(device: number): void {
    if (Number.isInteger(device) && device >= 0 && device < this.deviceCount) return
    throw new PluginError({
      code: 'no-such-device', what: `there is no device ${device}`, details: { devices: String(this.deviceCount) },
      fix: 'open the backend with as many devices as the mesh has',
    })
  }
}

class SimulatedExecutable implements Executable {
  readonly results: readonly BufferType[]
  readonly memory = undefined
  readonly fromCache = false
  private readonly backend: SimulateBackend
  private readonly program: Program
  private readonly devices: number
  private readonly donated: ReadonlySet<number>
  private alive = true

  constructor(backend: SimulateBackend, program: Program, { devices, donated }: CompileRequest) {
    this.backend = backend
    this.program = program
    this.results = program.results
    this.devices = devices
    this.donated = new Set(donated)
  }

  execute(args: Arguments | Promise<Arguments>, options: ExecuteOptions = {}): Promise<DeviceBuffer[][]> {
    return this.backend.use(() => this.start(args, options))
  }

  dispose(): void { this.alive = false }

  /** Takes its place among the calls at once, and what the arguments hold, if they are there. */
  private async start(args: Arguments | Promise<Arguments>, { at, told }: ExecuteOptions): Promise<DeviceBuffer[][]> {
    if (!this.alive) throw new PluginError({ code: 'disposed-executable', what: 'a program was run after it was disposed' })
    const { backend } = this
    const there = args instanceof Promise ? undefined : this.take(args)
    return backend.inLine(async () => {
      const taken = there ?? this.take(await args)
      await backend.room()
      const run = new SimulatedRun(at, told)
      let done = (_: readonly Value[] | undefined): void => {}
      const made = new Promise<readonly Value[] | undefined>(resolve => { done = resolve })
      backend.launch(async () => done(await this.run(run, taken)))
      return Array.from({ length: this.devices }, (_, device) => this.results.map((type, r) =>
        new SimulatedBuffer(backend, made.then(values => values?.[r]?.[device]), type, device, run)))
    })
  }

  private take(args: Arguments): { readonly contents: Contents[][]; readonly runs: ReadonlySet<SimulatedRun> } {
    const contents = this.check(args)
    const runs = new Set<SimulatedRun>()
    for (const row of args) {
      row.forEach((buffer, p) => {
        if (buffer instanceof SimulatedBuffer && buffer.run !== undefined) runs.add(buffer.run)
        if (this.donated.has(p)) buffer.dispose()
      })
    }
    return { contents, runs }
  }

  /** The results by number and device; undefined where it failed. */
  private async run(run: SimulatedRun, { contents, runs }: ReturnType<SimulatedExecutable['take']>): Promise<readonly Value[] | undefined> {
    // What the arguments were computed from has had its turn.
    const stores = await Promise.all(contents.map(row => Promise.all(row)))
    // What it was computed from went wrong first, and says why.
    run.failure = [...runs].find(r => r.failure !== undefined)?.failure
    if (run.failure !== undefined) return undefined
    try {
      return await this.program.run(this.program.parameters.map((_, p): Value => stores.map(row => row[p] as Store)))
    } catch (failure) {
      run.failure = this.backend.failures.keep(failure, run.at, run.told)
      return undefined
    }
  }

  /** What the arguments hold: `[device][parameter]`. */
  private check(args: Arguments): Contents[][] {
    const { parameters } = this.program
    if (args.length !== this.devices || args.some(row => row.length !== parameters.length)) {
      throw new PluginError({
        code: 'argument-lists', what: `the program was compiled for ${this.devices} devices and ${parameters.length} arguments on each`,
        details: { 'arguments given': args.map((row, device) => `device ${device}: ${row.length}`).join(', ') || 'for no device' },
      })
    }
    const given = new Map<DeviceBuffer, boolean>()
    return args.map((row, device) => row.map((buffer, p) => {
      const expected = parameters[p] as BufferType
      const problem = (code: string, what: string): PluginError => new PluginError({
        code, what: `argument ${p} on device ${device}: ${what}`,
        details: { parameter: formatType(expected), argument: `${formatType(buffer)} on device ${buffer.device}` },
      })
      if (!(buffer instanceof SimulatedBuffer && buffer.owner === this.backend)) {
        throw problem('foreign-buffer', 'the buffer is of another backend')
      }
      if (!sameType(buffer, expected)) throw problem('argument-type', 'the buffer is not of the parameter\'s type')
      if (buffer.device !== device) throw problem('argument-device', 'the buffer is on another device')
      const donated = this.donated.has(p)
      if (given.has(buffer) && (donated || given.get(buffer) === true)) {
        throw problem('donated-twice', 'the buffer is donated, so it can be no other argument')
      }
      given.set(buffer, donated)
      return buffer.contents()
    }))
  }
}

/** XLA lets a result take over a parameter only if both are of one type, and a parameter be donated only if it is there. */
function checkDonations(module: Module, { parameters, results }: Program, donated: readonly number[]): void {
  const fail = (p: number, what: string): never => {
    const details = { parameters: String(parameters.length), donated: donated.join(', ') || 'none' }
    throw new PluginError({ code: 'donation', what: `parameter ${p} of @main: ${what}`, details })
  }
  for (const p of donated) if (parameters[p] === undefined) fail(p, 'it is to be donated, and does not exist')
  module.get('main')?.parameterAttributes.forEach((attributes, p) => {
    const alias = attributes.get('tf.aliasing_output')
    if (alias?.kind !== 'number') return
    const [parameter, result] = [parameters[p], results[Number(alias.text)]]
    if (parameter === undefined || result === undefined || !sameType(parameter, result)) {
      fail(p, `it cannot become result ${alias.text}, which is of another type or not there`)
    }
  })
}
