/** From program text to an executable, by way of the disk cache where there is one. */
import { statSync } from 'node:fs'
import koffi from 'koffi'
import { PluginError } from '../../core/errors.ts'
import type { CompileRequest } from '../backend.ts'
import { cacheKey, type ExecutableCache } from './cache.ts'
import { cpuFeatures } from './environment.ts'
import { PjrtExecutable } from './executable.ts'
import { Memory, Struct, nativeBytes } from './memory.ts'
import { compileOptions } from './options.ts'
import type { Session } from './session.ts'

export async function compileProgram(session: Session, request: CompileRequest, cache: ExecutableCache | undefined): Promise<PjrtExecutable> {
  const options = compileOptions(request.devices)
  const load = (handle: bigint, fromCache: boolean): PjrtExecutable =>
    new PjrtExecutable(session, handle, { devices: request.devices, donated: request.donated, fromCache })
  if (cache === undefined) return load(await compile(session, request.text, options), false)
  const key = keyOf(session, request.text, options)
  const stored = await cache.read(key)
  if (stored !== undefined) {
    try {
      return load(await deserialize(session, stored), true)
    } catch {
      await cache.forget(key)
    }
  }
  const made = load(await compile(session, request.text, options), false)
  await store(session, made, cache, key)
  return made
}

async function compile(session: Session, text: string, options: Uint8Array): Promise<bigint> {
  const code = Memory.of(new TextEncoder().encode(text))
  const format = Memory.of(new TextEncoder().encode('mlir'))
  const program = new Struct('PJRT_Program').point('code', code).set('code_size', code.bytes.byteLength)
    .point('format', format).set('format_size', format.bytes.byteLength)
  const packed = Memory.of(options)
  const args = new Struct('PJRT_Client_Compile_Args').set('client', session.client).point('program', program)
    .point('compile_options', packed).set('compile_options_size', packed.bytes.byteLength)
  try {
    return (await session.library.callAsync(args)).get('executable')
  } catch (failure) {
    throw located(failure, text)
  }
}

/** Shows the line of the program that the plugin's parser points to, instead of its coordinates in a text nobody sees. */
function located(failure: unknown, text: string): unknown {
  if (!(failure instanceof PluginError)) return failure
  const place = /-:(\d+):(\d+): error: (.*)/.exec(failure.problem.what)
  if (place === null) return failure
  const [, line = '', column = '', message = ''] = place
  return new PluginError({
    ...failure.problem, code: 'bad-program', what: `the plugin does not accept the program: ${message}`,
    details: { program: (text.split('\n')[Number(line) - 1] ?? '').trim().slice(0, 400), place: `line ${line}, column ${column}`, ...failure.problem.details },
    fix: 'an older plugin may not know the operation: try another (--plugin PATH), or --plugin simulate', cause: failure,
  })
}

/** Everything that decides the machine code. A program of another XLA, or for another CPU, can silently miscompute. */
function keyOf({ library, platform, devices }: Session, text: string, options: Uint8Array): string {
  const { size, mtimeMs } = statSync(library.path)
  const cpu = cpuFeatures()
  return cacheKey([
    'meshwork 1', library.path, `${size} ${mtimeMs}`, `${library.apiVersion.major}.${library.apiVersion.minor}`,
    platform.name, platform.version, String(devices.length), library.xlaFlags, process.arch, cpu.model, cpu.flags.join(' '), options, text,
  ])
}

async function deserialize({ library, client }: Session, program: Uint8Array): Promise<bigint> {
  const bytes = Memory.of(program)
  const args = new Struct('PJRT_Executable_DeserializeAndLoad_Args').set('client', client)
    .point('serialized_executable', bytes).set('serialized_executable_size', bytes.bytes.byteLength)
  return (await library.callAsync(args)).get('loaded_executable')
}

/** Not every plugin can serialize; then there is nothing to keep. */
async function store(session: Session, executable: PjrtExecutable, cache: ExecutableCache, key: string): Promise<void> {
  let bytes: Uint8Array
  try {
    bytes = executable.inspect((handle) => serialize(session, handle))
  } catch (failure) {
    if (failure instanceof PluginError) return
    throw failure
  }
  await cache.write(key, bytes)
}

function serialize({ library }: Session, executable: bigint): Uint8Array {
  const made = library.call(new Struct('PJRT_Executable_Serialize_Args').set('executable', executable))
  const bytes = nativeBytes(made.get('serialized_bytes'), made.number('serialized_bytes_size')).slice()
  const free = koffi.decode(made.get('serialized_executable_deleter'), koffi.proto('void', ['void *'])) as (owner: bigint) => void
  free(made.get('serialized_executable'))
  return bytes
}
