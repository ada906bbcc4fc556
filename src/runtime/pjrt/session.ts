/** One client of a plugin, and what is alive in it. */
import { PluginError } from '../../core/errors.ts'
import { markBusy, markIdle } from './exit.ts'
import type { PluginLibrary } from './library.ts'
import { Struct, nativeText, nativeWords } from './memory.ts'
import { namedValues } from './named.ts'

/** Something that must be freed before its client is. */
export interface Owned { dispose(): void }

export class Session {
  readonly library: PluginLibrary
  readonly client: bigint
  readonly devices: readonly bigint[]
  readonly platform: { readonly name: string; readonly version: string }
  readonly buffers = new Set<Owned>()
  readonly executables = new Set<Owned>()
  /** Whether programs of one device, too, run one after another: those that talk to other processes. */
  readonly serial: boolean
  closed = false
  private failedLaunch: { readonly cause: unknown } | undefined
  private lastTurn: Promise<unknown> = Promise.resolve()
  private readonly running = new Set<Promise<unknown>>()

  constructor(library: PluginLibrary, client: bigint, serial = false) {
    this.serial = serial
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
  }

  /** Makes a client; `devices` is how many a CPU plugin should pretend to have. */
  static async create(library: PluginLibrary, devices: number, serial = false): Promise<Session> {
    const options = namedValues({ cpu_device_count: devices })
    const args = new Struct('PJRT_Client_Create_Args').point('create_options', options).set('num_options', options.count)
    return new Session(library, (await library.callAsync(args)).get('client'), serial)
  }

  device(index: number): bigint {
    const found = this.devices[index]
    if (found !== undefined) return found
    throw new PluginError({
      code: 'no-such-device', what: `there is no device ${index}`, details: { devices: String(this.devices.length) },
      fix: 'open the backend with as many devices as the mesh has',
    })
  }

  /** Runs work that uses the client; `close` waits for it. */
  async use<T>(work: () => Promise<T>): Promise<T> {
    if (this.closed) throw new PluginError({ code: 'closed', what: 'the backend is closed', fix: 'open it again' })
    const running = work()
    this.running.add(running)
    markBusy(this)
    try {
      return await running
    } finally {
      this.running.delete(running)
      if (this.running.size === 0) markIdle(this)
    }
  }

  /**
   * Runs programs of several devices one after another. Two at once could each hold some of the plugin's threads while
   * their collectives wait for the others: XLA:CPU then stands still, and after a while ends the process.
   */
  exclusive<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.lastTurn.then(() => {
      if (this.failedLaunch === undefined) return work()
      throw new PluginError({
        code: 'backend-broken', what: 'an earlier program could not be started on all devices, so no other can be',
        fix: 'open the backend again', cause: this.failedLaunch.cause,
      })
    })
    this.lastTurn = turn.catch(() => undefined)
    return turn
  }

  /** PJRT 0.81's CPU client then waits for ever for the devices that did not start; nothing tells which plugins are better. */
  launchFailed(cause: unknown): void { this.failedLaunch = { cause } }

  /** Waits for what runs, then frees buffers, executables and the client, in this order. */
  async close(): Promise<void> {
    if (this.closed) return
    this.closed = true
    while (this.running.size > 0) await Promise.allSettled(this.running)
    for (const owned of [...this.buffers, ...this.executables]) owned.dispose()
    await this.library.callAsync(new Struct('PJRT_Client_Destroy_Args').set('client', this.client))
  }
}
