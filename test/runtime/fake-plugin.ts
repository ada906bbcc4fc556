/** A plugin in C that does what a test says, when it says so: built with the C compiler of this machine, offsets taken from header.gen.ts. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import koffi from 'koffi'
import { enums, slots, structs } from '../../src/runtime/pjrt/header.gen.ts'

type Structs = typeof structs
const at = <S extends keyof Structs>(name: S, field: keyof Structs[S]['fields']): number => (structs[name].fields as unknown as Readonly<Record<PropertyKey, readonly [number, number]>>)[field]?.[0] ?? -1

const fields = (): Readonly<Record<string, number>> => ({
  TABLE_SIZE: Math.max(...Object.values(slots)) + 8, F32: enums.PJRT_Buffer_Type.F32,
  SLOT_ERROR_DESTROY: slots.PJRT_Error_Destroy, SLOT_ERROR_MESSAGE: slots.PJRT_Error_Message, SLOT_ERROR_CODE: slots.PJRT_Error_GetCode,
  SLOT_EVENT_DESTROY: slots.PJRT_Event_Destroy, SLOT_EVENT_READY: slots.PJRT_Event_IsReady, SLOT_EVENT_ERROR: slots.PJRT_Event_Error, SLOT_EVENT_AWAIT: slots.PJRT_Event_Await,
  SLOT_CREATE: slots.PJRT_Client_Create, SLOT_DESTROY: slots.PJRT_Client_Destroy, SLOT_NAME: slots.PJRT_Client_PlatformName, SLOT_VERSION: slots.PJRT_Client_PlatformVersion,
  SLOT_DEVICES: slots.PJRT_Client_AddressableDevices, SLOT_COMPILE: slots.PJRT_Client_Compile, SLOT_HOST: slots.PJRT_Client_BufferFromHostBuffer, SLOT_MEMORIES: slots.PJRT_Device_AddressableMemories, SLOT_KIND: slots.PJRT_Memory_Kind,
  SLOT_UNLOADED_DESTROY: slots.PJRT_Executable_Destroy, SLOT_TYPES: slots.PJRT_Executable_OutputElementTypes, SLOT_DIMS: slots.PJRT_Executable_OutputDimensions,
  SLOT_LOADED_DESTROY: slots.PJRT_LoadedExecutable_Destroy, SLOT_UNLOADED: slots.PJRT_LoadedExecutable_GetExecutable, SLOT_EXECUTE: slots.PJRT_LoadedExecutable_Execute,
  SLOT_BUFFER_DESTROY: slots.PJRT_Buffer_Destroy, SLOT_READ: slots.PJRT_Buffer_ToHostBuffer,
  ERROR_DESTROY_ERROR: at('PJRT_Error_Destroy_Args', 'error'), ERROR_MESSAGE_ERROR: at('PJRT_Error_Message_Args', 'error'),
  ERROR_MESSAGE_MESSAGE: at('PJRT_Error_Message_Args', 'message'), ERROR_MESSAGE_SIZE: at('PJRT_Error_Message_Args', 'message_size'),
  ERROR_CODE_ERROR: at('PJRT_Error_GetCode_Args', 'error'), ERROR_CODE_CODE: at('PJRT_Error_GetCode_Args', 'code'),
  EVENT_DESTROY_EVENT: at('PJRT_Event_Destroy_Args', 'event'), EVENT_READY_EVENT: at('PJRT_Event_IsReady_Args', 'event'), EVENT_READY_IS_READY: at('PJRT_Event_IsReady_Args', 'is_ready'),
  EVENT_ERROR_EVENT: at('PJRT_Event_Error_Args', 'event'), EVENT_AWAIT_EVENT: at('PJRT_Event_Await_Args', 'event'),
  CREATE_OPTIONS: at('PJRT_Client_Create_Args', 'create_options'), CREATE_COUNT: at('PJRT_Client_Create_Args', 'num_options'), CREATE_CLIENT: at('PJRT_Client_Create_Args', 'client'),
  CREATE_GET: at('PJRT_Client_Create_Args', 'kv_get_callback'), CREATE_PUT: at('PJRT_Client_Create_Args', 'kv_put_callback'), CREATE_TRY_GET: at('PJRT_Client_Create_Args', 'kv_try_get_callback'),
  NAMED_SIZE: structs.PJRT_NamedValue.size, NAMED_NAME: at('PJRT_NamedValue', 'name'), NAMED_NAME_SIZE: at('PJRT_NamedValue', 'name_size'), NAMED_TYPE: at('PJRT_NamedValue', 'type'),
  NAMED_VALUE: at('PJRT_NamedValue', 'int64_value'), NAMED_VALUE_SIZE: at('PJRT_NamedValue', 'value_size'),
  DESTROY_CLIENT: at('PJRT_Client_Destroy_Args', 'client'), NAME_NAME: at('PJRT_Client_PlatformName_Args', 'platform_name'), NAME_SIZE: at('PJRT_Client_PlatformName_Args', 'platform_name_size'),
  DEVICES_LIST: at('PJRT_Client_AddressableDevices_Args', 'addressable_devices'), DEVICES_COUNT: at('PJRT_Client_AddressableDevices_Args', 'num_addressable_devices'),
  COMPILE_OPTIONS: at('PJRT_Client_Compile_Args', 'compile_options'), COMPILE_OPTIONS_SIZE: at('PJRT_Client_Compile_Args', 'compile_options_size'), COMPILE_EXECUTABLE: at('PJRT_Client_Compile_Args', 'executable'), UNLOADED_LOADED: at('PJRT_LoadedExecutable_GetExecutable_Args', 'loaded_executable'),
  UNLOADED_EXECUTABLE: at('PJRT_LoadedExecutable_GetExecutable_Args', 'executable'), LOADED_DESTROY: at('PJRT_LoadedExecutable_Destroy_Args', 'executable'),
  TYPES_LIST: at('PJRT_Executable_OutputElementTypes_Args', 'output_types'), TYPES_COUNT: at('PJRT_Executable_OutputElementTypes_Args', 'num_output_types'),
  DIMS_COUNT: at('PJRT_Executable_OutputDimensions_Args', 'num_outputs'), DIMS_LIST: at('PJRT_Executable_OutputDimensions_Args', 'dims'), DIMS_RANKS: at('PJRT_Executable_OutputDimensions_Args', 'dim_sizes'),
  EXECUTE_DEVICES: at('PJRT_LoadedExecutable_Execute_Args', 'num_devices'), EXECUTE_ARGUMENTS: at('PJRT_LoadedExecutable_Execute_Args', 'argument_lists'),
  EXECUTE_OUTPUTS: at('PJRT_LoadedExecutable_Execute_Args', 'output_lists'), EXECUTE_EVENTS: at('PJRT_LoadedExecutable_Execute_Args', 'device_complete_events'),
  MEMORIES_LIST: at('PJRT_Device_AddressableMemories_Args', 'memories'), MEMORIES_COUNT: at('PJRT_Device_AddressableMemories_Args', 'num_memories'),
  KIND_MEMORY: at('PJRT_Memory_Kind_Args', 'memory'), KIND_KIND: at('PJRT_Memory_Kind_Args', 'kind'), KIND_SIZE: at('PJRT_Memory_Kind_Args', 'kind_size'), HOST_MEMORY: at('PJRT_Client_BufferFromHostBuffer_Args', 'memory'),
  HOST_DATA: at('PJRT_Client_BufferFromHostBuffer_Args', 'data'), HOST_BUFFER: at('PJRT_Client_BufferFromHostBuffer_Args', 'buffer'), HOST_EVENT: at('PJRT_Client_BufferFromHostBuffer_Args', 'done_with_host_buffer'),
  READ_SOURCE: at('PJRT_Buffer_ToHostBuffer_Args', 'src'), READ_TARGET: at('PJRT_Buffer_ToHostBuffer_Args', 'dst'), READ_EVENT: at('PJRT_Buffer_ToHostBuffer_Args', 'event'),
  BUFFER_DESTROY: at('PJRT_Buffer_Destroy_Args', 'buffer'),
})

/** What stands in the way of building it; undefined where nothing does. */
export function missingCompiler(): string | undefined {
  try {
    execFileSync('cc', ['--version'], { stdio: 'ignore' })
    return undefined
  } catch {
    return 'no C compiler: apt-get install gcc'
  }
}

/** Builds it as `folder/name`: the name is what its platform is known by. */
export function buildFake(folder: string, name: string): string {
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'fields.h'), Object.entries(fields()).map(([field, offset]) => `#define ${field} ${offset}\n`).join(''))
  const path = join(folder, name)
  const source = fileURLToPath(new URL('native/plugin.c', import.meta.url))
  execFileSync('cc', ['-O1', '-std=gnu11', '-Wall', '-Wextra', '-Werror', '-shared', '-fPIC', '-fvisibility=hidden', '-pthread', `-I${folder}`, '-o', path, source], { stdio: ['ignore', 'ignore', 'inherit'] })
  return path
}

/** What the plugin is told, and what it tells. Programs are numbered from 1 in the order of their launches. */
export interface Fake {
  /** Programs up to this one are done. */
  finish(program: number): void
  /** This one will fail. */
  fail(program: number): void
  /** So many launches are refused. */
  refuse(launches: number): void
  launched(): number
  liveBuffers(): number
  /** Arrays that were put into the host's memory for a device, and whether there is such. */
  hostPuts(): number
  pinned(has: number): void
  liveEvents(): number
  options(): string
  /** Refuses a call so many times, with an error of this code (by its name in pjrt_c_api.h) and text; of `execute` those programs that fail. */
  words(call: 'create' | 'compile' | 'execute', code: keyof typeof enums.PJRT_Error_Code, text: string, times?: number): void
  /** What the last program was compiled with: a CompileOptionsProto. */
  compileOptions(): Uint8Array
}

export function fakeOf(path: string): Fake {
  const library = koffi.load(path)
  const words = library.func('fake_words', 'void', ['int', 'int', 'int', 'str']) as (call: number, times: number, code: number, text: string) => void
  const compileOptions = library.func('fake_compile_options', 'str', []) as () => string
  const number = (name: string) => library.func(name, 'int', []) as () => number
  return {
    finish: library.func('fake_finish', 'void', ['int']), fail: library.func('fake_fail', 'void', ['int']), refuse: library.func('fake_refuse', 'void', ['int']),
    launched: number('fake_launched'), liveBuffers: number('fake_live_buffers'), hostPuts: number('fake_host_puts'), pinned: library.func('fake_pinned', 'void', ['int']) as (has: number) => void, liveEvents: number('fake_live_events'), options: library.func('fake_options', 'str', []) as () => string,
    words: (call, code, text, times = 1) => { words(['create', 'compile', 'execute'].indexOf(call), times, enums.PJRT_Error_Code[code], text) },
    compileOptions: () => Uint8Array.from(Buffer.from(compileOptions(), 'hex')),
  }
}
