/** Native functions that programs call by name: XLA's foreign functions, registered with a plugin. */
import koffi from '../../io/koffi.ts'
import { PluginError } from '../../core/errors.ts'
import type { PluginLibrary } from './library.ts'
import { Memory } from './memory.ts'

/** pjrt_c_api_ffi_extension.h: the extension's type, and where it keeps the function that registers a handler. */
const extensionType = 5
const registerAt = 40

/** PJRT_FFI_Register_Handler_Args: byte offsets of its fields, and the end of the last. */
const fields = { name: 8, nameSize: 16, handler: 24, platform: 32, platformSize: 40, traits: 48, size: 52 } as const

/** A function's name in programs → its address. Its code must stay where it is. */
export type Handlers = Readonly<Record<string, bigint>>

const registered = new WeakMap<PluginLibrary, Set<string>>()

/** Registers handlers for the devices of a plugin, by XLA's name for them, each once. @throws PluginError when the plugin takes none. */
export function registerHandlers(library: PluginLibrary, handlers: Handlers, devices: string): void {
  const known = registered.get(library) ?? new Set()
  registered.set(library, known)
  const extension = library.extension(extensionType)
  if (extension === undefined) {
    throw new PluginError({
      code: 'no-ffi', what: 'the plugin takes no native functions, which the collectives between processes are', details: { plugin: library.path },
      fix: 'use another plugin (--plugin cpu), or one process: --backend local',
    })
  }
  const pointer = new DataView(koffi.view(extension + BigInt(registerAt), 8)).getBigUint64(0, true)
  const register = koffi.decode(pointer, koffi.proto('void *', ['void *'])) as (args: bigint) => bigint | null
  const platform = Memory.of(new TextEncoder().encode(devices))
  for (const [name, handler] of Object.entries(handlers)) {
    if (known.has(name)) continue
    const text = Memory.of(new TextEncoder().encode(name))
    const args = new Memory(fields.size)
    const put = (at: number, word: bigint | number): void => { args.view.setBigUint64(at, BigInt(word), true) }
    put(0, fields.size)
    put(fields.name, text.address)
    put(fields.nameSize, text.bytes.byteLength)
    put(fields.handler, handler)
    put(fields.platform, platform.address)
    put(fields.platformSize, platform.bytes.byteLength)
    const error = register(args.address)
    if (error !== null) throw library.failure('FFI_Register_Handler', error)
    known.add(name)
  }
}
