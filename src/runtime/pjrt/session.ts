/** One client of a plugin, and what is alive and under way in it. */
import { PluginError } from '../../core/errors.ts'
import { choices } from '../../core/platform.ts'
import { Failures, mostInFlight } from '../in-flight.ts'
import { queue } from '../processes.ts'
import { awaitEvents, eventsReady } from './event.ts'
import { forgetClient, watchClient } from './exit.ts'
import type { PluginLibrary } from './library.ts'
import { Launches, mostLeft } from './launcher.ts'
import { Living } from './living.ts'
import { Struct, nativeText, nativeWords } from './memory.ts'
import { namedValues } from './named.ts'
import { clientOptions, compilerOptions, platformNamed, platformOf, type TypedOption } from './platform.ts'
import type { ClientOptions, Platform } from './platform-type.ts'
import type { PjrtRun } from './run.ts'
import { refusal } from './shared.ts'

/** Bytes of a buffer that may be left for the next launch to free, and for how many milliseconds at most. */
const [smallBuffer, leftFor] = [1 << 16, 100]

type Turns = <T>(work: () => Promise<T>) => Promise<T>

export interface SessionOptions extends ClientOptions {
  /**
   * Where programs talk to other processes: the turns that they take, in an order that all processes share. A turn then lasts until the
   * program is done.
   */
  readonly inTurn?: Turns | undefined
}

export class Session {
  readonly library: PluginLibrary
  readonly client: bigint
  readonly devices: readonly bigint[]
  readonly platform: { readonly name: string; readonly version: string }
  /** What kind of plugin it is. */
  readonly kind: Platform
  readonly buffers: Living = new Living()
  readonly executables: Set<{ dispose(): void }> = new Set()
  readonly failures: Failures = new Failures()
  readonly launches: Launches = new Launches(work => this.use(work))
  // Small copies are made at once, one after another: each fills the same struct.
  readonly reading: Struct<'PJRT_Buffer_ToHostBuffer_Args'> = new Struct('PJRT_Buffer_ToHostBuffer_Args')
  readonly putting: Struct<'PJRT_Client_BufferFromHostBuffer_Args'> = new Struct('PJRT_Client_BufferFromHostBuffer_Args')
  /** Calls take their places here at once, and are admitted in their order. */
  readonly inLine: ReturnType<typeof queue> = queue()
  readonly inTurn: Turns
  /** The compiler works with all cores, and with much memory: on one program after another. What is loaded from a cache waits for nobody. */
  readonly compiling: ReturnType<typeof queue> = queue()
  /** What the compiler is told with every program. */
  readonly compiler: ReadonlyMap<string, TypedOption>
  /** Whether one program waits for the other to be done. */
  readonly oneByOne: boolean
  closed = false
  private marks = 0
  private readonly memories = new Map<bigint, bigint>()
  private failedLaunch: { readonly cause: unknown } | undefined
  /**
   * How many pieces of work use the client. They are counted, not kept in a set: a set that is added to and taken from leaves its old tables behind, each of which points to the next and to what lay in both, so that
   * what one step had would be copied by each of V8's scavenges until all of its heap is collected.
   */
  private running = 0
  /** Called when no work uses the client any more. */
  private unused: () => void = () => {}
  /** Runs that were admitted and are not known to be done, the oldest first. */
  private readonly out: PjrtRun[] = []
  private readonly settling = queue()
  /** Buffers that the next launch is to free, and what does so where none comes. */
  private readonly left: bigint[] = []
  private leaving: NodeJS.Timeout | undefined

  constructor(library: PluginLibrary, client: bigint, compiler: ReadonlyMap<string, TypedOption>, inTurn?: Turns) {
    this.compiler = compiler
    this.inTurn = inTurn ?? queue()
    this.oneByOne = inTurn !== undefined
    this.library = library
    this.client = client
    const list = library.call(new Struct('PJRT_Client_AddressableDevices_Args').set('client', client))
    this.devices = nativeWords(list.get('addressable_devices'), list.number('num_addressable_devices'))
    const name = library.call(new Struct('PJRT_Client_PlatformName_Args').set('client', client))
    const version = library.call(new Struct('PJRT_Client_PlatformVersion_Args').set('client', client))
    this.platform = {
      name: nativeText(name.get('platform_name'), name.number('platform_name_size')),
      version: nativeText(version.get('platform_version'), version.number('platform_version_size')),
    }
    this.kind = platformNamed(library.path, this.platform.name)
    watchClient(this)
  }

  /** Makes a client, with the options that the plugin's platform knows. */
  static async create(library: PluginLibrary, { inTurn, ...wanted }: SessionOptions): Promise<Session> {
    const options = namedValues(clientOptions(library.path, wanted))
    const compiler = compilerOptions(library.path, wanted.platform)
    const args = new Struct('PJRT_Client_Create_Args').point('create_options', options).set('num_options', options.count)
    const { store: open } = wanted
    // Opening it is a step of all processes, as an exchange is.
    const store = open !== undefined && platformOf(library.path).spans ? await (inTurn ?? queue())(() => Promise.resolve(open())) : undefined
    if (store !== undefined) {
      args.set('kv_get_callback', store.get).set('kv_put_callback', store.put).set('kv_try_get_callback', store.tryGet)
    }
    const made = await library.callAsync(args).catch((cause: unknown) => { throw refusal(cause, library.path) })
    return new Session(library, made.get('client'), compiler, inTurn)
  }

  device(index: number): bigint {
    const found = this.devices[index]
    if (found !== undefined) return found
    throw new PluginError({
      code: 'no-such-device', what: `there is no device ${index}`, details: { devices: String(this.devices.length) },
      fix: 'open the backend with as many devices as the mesh has',
    })
  }

  /** The memory of the host that a device's programs reach, as the plugin numbers it; 0 where the platform has but one memory. @throws PluginError where the plugin has none of that kind */
  hostMemory(index: number): bigint {
    const wanted = choices[this.kind.name].hostMemory ?? 'its own'
    if (wanted === 'its own') return 0n
    const device = this.device(index)
    const known = this.memories.get(device)
    if (known !== undefined) return known
    const list = this.library.call(new Struct('PJRT_Device_AddressableMemories_Args').set('device', device))
    const all = nativeWords(list.get('memories'), list.number('num_memories'))
    const kinds = all.map(memory => { const kind = this.library.call(new Struct('PJRT_Memory_Kind_Args').set('memory', memory)); return nativeText(kind.get('kind'), kind.number('kind_size')) })
    const found = all[kinds.indexOf(wanted)]
    if (found === undefined) throw new PluginError({ code: 'no-host-memory', what: `the plugin gives programs no memory "${wanted}"`, details: { device: String(index), memories: kinds.join(', ') || 'none' }, fix: 'keep everything on the device (slots=device), or take a newer plugin' })
    this.memories.set(device, found)
    return found
  }

  /** Runs work that uses the client; `close` waits for it. */
  async use<T>(work: () => T | Promise<T>): Promise<T> {
    if (this.closed) throw new PluginError({ code: 'closed', what: 'the backend is closed', fix: 'open it again' })
    this.running++
    try {
      return await work()
    } finally {
      if (--this.running === 0) this.unused()
    }
  }

  /** Whether the plugin's threads are at work; asked when the process ends. */
  atWork(): boolean {
    this.poll()
    return this.running > 0 || this.out.length > 0
  }

  /**
   * Frees a buffer of so many bytes. Where launches free what they take over (see `launcher.ts`), a small one is left to the next, so that it costs this thread no call of its own: a step's numbers, and
   * its batch.
   */
  free(buffer: bigint, bytes: number): void {
    if (!this.launches.free || bytes > smallBuffer || this.closed) {
      this.library.destroyBuffer(buffer)
      return
    }
    this.left.push(buffer)
    if (this.left.length >= mostLeft) this.freeLeft()
    else this.leaving ??= setTimeout(() => { this.freeLeft() }, leftFor).unref()
  }

  /** What was left for a launch to free. */
  takeLeft(): bigint[] { return this.left.splice(0) }
  private freeLeft(): void {
    clearTimeout(this.leaving)
    this.leaving = undefined
    for (const buffer of this.takeLeft()) this.library.destroyBuffer(buffer)
  }

  /** A number that no call has been given before. */
  nextMark(): number { return ++this.marks }

  /** Takes a run on when there is room for it. */
  async admit(run: PjrtRun): Promise<void> {
    this.poll()
    while (this.out.length >= mostInFlight) await this.settle(this.out[0])
    this.out.push(run)
  }

  /** Waits until it is known how a run came out, and all before it. */
  settle(run: PjrtRun | undefined): Promise<void> {
    return this.settling(async () => {
      while (run !== undefined && !run.settled) {
        const [oldest] = this.out
        if (oldest === undefined) return
        await oldest.launched
        const { events } = oldest
        oldest.events = []
        await awaitEvents(this.library, events).then(() => this.finish(oldest), (cause: unknown) => this.finish(oldest, { cause }))
      }
    })
  }

  /** Drops the oldest runs that are done, without waiting. */
  private poll(): void {
    for (let oldest = this.out[0]; oldest !== undefined && oldest.isLaunched; oldest = this.out[0]) {
      const { events } = oldest
      // Without events they are being awaited, or it was never launched.
      if (events.length === 0 && oldest.failure === undefined) return
      if (!eventsReady(this.library, events)) return
      oldest.events = []
      let failed: { readonly cause: unknown } | undefined
      try { for (const event of events) this.library.consume(event) } catch (cause) { failed = { cause } }
      this.finish(oldest, failed)
    }
  }

  private finish(run: PjrtRun, failed?: { readonly cause: unknown }): void {
    if (run.settled) return
    run.settled = true
    // What it was computed from went wrong first, and says why.
    run.failure ??= run.sources.find(s => s.failure !== undefined)?.failure
    if (failed !== undefined) run.failure ??= this.failures.keep(failed.cause, run.at, run.told)
    run.sources = []
    const at = this.out.indexOf(run)
    if (at >= 0) this.out.splice(at, 1)
  }

  /** What the user should hear of a failure that came up where a run's result was used. */
  async explain(run: PjrtRun | undefined, failure: unknown): Promise<unknown> {
    if (run === undefined) return failure
    await this.settle(run)
    return run.failure === undefined ? failure : this.failures.hear(run.failure)
  }

  /** Why no program of several devices can be launched any more. */
  checkLaunches(): void {
    if (this.failedLaunch === undefined) return
    throw new PluginError({
      code: 'backend-broken', what: 'an earlier program could not be started on all devices, so no other can be',
      fix: 'open the backend again', cause: this.failedLaunch.cause,
    })
  }

  /** PJRT 0.81's CPU client then waits for ever for the devices that did not start; nothing tells which plugins are better. */
  launchFailed(cause: unknown): void { this.failedLaunch = { cause } }

  /** Waits until it is known how all runs came out. */
  idle(): Promise<void> { return this.settle(this.out.at(-1)) }

  /** Waits for what runs, then frees buffers, executables and the client, in this order. @throws a failure that nobody has heard of. */
  async close(): Promise<void> {
    if (this.closed) return
    this.closed = true
    if (this.running > 0) await new Promise<void>(resolve => { this.unused = resolve })
    await this.idle()
    forgetClient(this)
    this.freeLeft()
    this.buffers.disposeAll()
    for (const executable of [...this.executables]) executable.dispose()
    await this.library.callAsync(new Struct('PJRT_Client_Destroy_Args').set('client', this.client))
    this.failures.close()
  }
}
