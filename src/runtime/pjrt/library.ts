/** A loaded plugin: its function table, called with packed structs, and its errors turned into ours. */
import koffi, { type LibraryHandle } from '../../io/koffi.ts'
import { PluginError } from '../../core/errors.ts'
import { prepareEnvironment } from './environment.ts'
import { guardExit } from './exit.ts'
import { explained } from './failures.ts'
import { enums, slots } from './header.gen.ts'
import { Struct, nativeText, type Field } from './memory.ts'
import { platformOf } from './platform.ts'
import { libraryAt, loadShared, pluginFix } from './shared.ts'
import { prepareVendor } from './vendor.ts'

export type CallName = keyof typeof slots

/** koffi refuses a call beyond 256; the threads that make them are four anyway. */
const MAX_ASYNC_CALLS = 32

type Done = (failure: Error | null, result: bigint | null) => void
/** A function that is given a struct and returns an error or null. */
export interface Native {
  (args: bigint): bigint | null
  async(args: bigint, done: Done): void
}

const codeNames: ReadonlyMap<number, string> = new Map(Object.entries(enums.PJRT_Error_Code).map(([label, value]) => [value, label]))

export class PluginLibrary {
  readonly path: string
  readonly apiVersion: { readonly major: number; readonly minor: number }
  /** XLA_FLAGS as the plugin read it. */
  readonly xlaFlags: string
  private readonly firstExtension: bigint
  /** By the name of their arguments' struct, which is what a call has at hand. */
  private readonly functions = new Map<`${CallName}_Args`, Native>()
  private readonly addresses = new Map<CallName, bigint>()
  private readonly waiting: (() => void)[] = []
  private asyncCalls = 0
  // These calls are made hundreds of times a step: each fills one field of one struct again and again.
  private readonly readiness = new Struct('PJRT_Event_IsReady_Args')
  private readonly askReady: (event: bigint) => void = this.repeated(this.readiness, 'event')
  private readonly outcome: (event: bigint) => void = this.repeated(new Struct('PJRT_Event_Error_Args'), 'event')
  /** Frees an event. */
  readonly destroyEvent: (event: bigint) => void = this.repeated(new Struct('PJRT_Event_Destroy_Args'), 'event')
  readonly destroyBuffer: (buffer: bigint) => void = this.repeated(new Struct('PJRT_Buffer_Destroy_Args'), 'buffer')

  constructor(path: string, xlaFlags: string, api: bigint) {
    this.path = path
    this.xlaFlags = xlaFlags
    const head = new DataView(koffi.view(api, 40))
    this.apiVersion = { major: head.getInt32(32, true), minor: head.getInt32(36, true) }
    const size = Number(head.getBigUint64(0, true))
    this.firstExtension = head.getBigUint64(8, true)
    const table = new DataView(koffi.view(api, size))
    const proto = koffi.proto('void *', ['void *'])
    for (const [name, at] of Object.entries(slots) as [CallName, number][]) {
      const pointer = at + 8 <= size ? table.getBigUint64(at, true) : 0n
      if (pointer === 0n) continue
      this.functions.set(`${name}_Args`, koffi.decode(pointer, proto) as Native)
      this.addresses.set(name, pointer)
    }
  }

  has(name: CallName): boolean { return this.functions.has(`${name}_Args`) }

  /** Of a call's function; 0 where the plugin lacks it. */
  addressOf(name: CallName): bigint { return this.addresses.get(name) ?? 0n }

  /** The address of what the plugin offers beyond the table: PJRT_Extension_Base is size, type, next. */
  extension(type: number): bigint | undefined {
    for (let at = this.firstExtension; at !== 0n;) {
      const base = new DataView(koffi.view(at, 24))
      if (base.getInt32(8, true) === type) return at
      at = base.getBigUint64(16, true)
    }
    return undefined
  }

  /** Calls and returns the filled struct; for calls that return at once. */
  call<S extends `${CallName}_Args`>(args: Struct<S>): Struct<S> {
    const error = this.native(args.name)(args.address)
    if (error !== null) throw this.failure(callName(args), error)
    return args
  }

  /** The same on a thread of libuv's pool, so that a long call leaves Node's loop free. */
  async callAsync<S extends `${CallName}_Args`>(args: Struct<S>): Promise<Struct<S>> {
    await this.onThread(this.native(args.name), args.address, callName(args))
    return args
  }

  /** Calls a function of the plugin's table, or one of ours that makes the call `name`, on a thread of libuv's pool. */
  async onThread(native: Native, address: bigint, name: CallName): Promise<void> {
    while (this.asyncCalls >= MAX_ASYNC_CALLS) await new Promise<void>((resolve) => { this.waiting.push(resolve) })
    this.asyncCalls++
    try {
      await new Promise<void>((resolve, reject) => {
        native.async(address, (failure, error) => {
          if (failure !== null) reject(failure)
          else if (error !== null) reject(this.failure(name, error))
          else resolve()
        })
      })
    } finally {
      this.asyncCalls--
      this.waiting.shift()?.()
    }
  }

  /** Whether an event has come, with or without an error; 0 is one that has. */
  isReady(event: bigint): boolean {
    if (event === 0n) return true
    this.askReady(event)
    return this.readiness.number('is_ready') !== 0
  }

  /** Frees an event that has come. @throws PluginError which it brought. */
  consume(event: bigint): void {
    if (event === 0n) return
    try {
      this.outcome(event)
    } finally {
      this.destroyEvent(event)
    }
  }

  /** A call that is given one handle, and its struct. Where the handle goes and whom to call is looked up once. */
  private repeated<S extends `${CallName}_Args`>(args: Struct<S>, field: Field<S>): (handle: bigint) => void {
    const [{ view }, { address }, at] = [args.memory, args, args.offset(field)]
    let native: Native | undefined
    return handle => {
      native ??= this.native(args.name)
      view.setBigUint64(at, handle, true)
      const error = native(address)
      if (error !== null) throw this.failure(callName(args), error)
    }
  }

  private native(name: `${CallName}_Args`): Native {
    const found = this.functions.get(name)
    if (found !== undefined) return found
    throw new PluginError({
      code: 'missing-call', what: `the plugin does not offer ${callName({ name })}`,
      details: { plugin: this.path, api: `${this.apiVersion.major}.${this.apiVersion.minor}` },
      fix: 'use a newer plugin, or --plugin simulate',
    })
  }

  /** Reads an error's message and code, then frees it. */
  failure(call: string, error: bigint): PluginError {
    const text = new Struct('PJRT_Error_Message_Args').set('error', error)
    this.native('PJRT_Error_Message_Args')(text.address)
    const message = nativeText(text.get('message'), text.number('message_size'))
    let status = 'UNKNOWN'
    if (this.has('PJRT_Error_GetCode')) {
      const code = new Struct('PJRT_Error_GetCode_Args').set('error', error)
      this.native('PJRT_Error_GetCode_Args')(code.address)
      status = codeNames.get(code.number('code')) ?? status
    }
    this.native('PJRT_Error_Destroy_Args')(new Struct('PJRT_Error_Destroy_Args').set('error', error).address)
    return new PluginError({ ...explained(call, status, message.trim() || status), details: { plugin: this.path } })
  }
}

const callName = (args: { readonly name: `${CallName}_Args` }): CallName => args.name.slice(0, -'_Args'.length) as CallName

// A plugin is never unloaded: its threads and static state outlive every client.
const loaded = new Map<string, { readonly handle: unknown; readonly library: PluginLibrary }>()

/** Loads a plugin, once per process. `threads` is how many it should use of the host's. */
export function loadPlugin(path: string, threads?: number): PluginLibrary {
  const real = libraryAt(path)
  const known = loaded.get(real)
  if (known !== undefined) return known.library
  const platform = platformOf(real)
  const vendor = prepareVendor(real, platform.name)
  const xlaFlags = prepareEnvironment(real, { ...platform, flags: () => [...platform.flags(), ...vendor.flags] }, threads)
  const handle = loadShared(real)
  const api = getApi(handle, real)
  const library = new PluginLibrary(real, xlaFlags, api)
  if (library.apiVersion.major !== 0) {
    throw new PluginError({
      code: 'plugin-version', what: `the plugin speaks PJRT ${library.apiVersion.major}.${library.apiVersion.minor}, Meshwork speaks 0.x`,
      details: { plugin: real }, fix: pluginFix,
    })
  }
  if (library.has('PJRT_Plugin_Initialize')) library.call(new Struct('PJRT_Plugin_Initialize_Args'))
  if (loaded.size === 0) guardExit()
  loaded.set(real, { handle, library })
  return library
}

function getApi(handle: LibraryHandle, path: string): bigint {
  let api: bigint | null
  try {
    api = handle.func('GetPjrtApi', 'void *', [])() as bigint | null
  } catch (cause) {
    throw new PluginError({ code: 'not-a-plugin', what: `${path} is no PJRT plugin: it exports no GetPjrtApi`, fix: pluginFix, cause })
  }
  if (api === null) throw new PluginError({ code: 'not-a-plugin', what: `${path} returned no PJRT function table`, fix: pluginFix })
  return api
}
