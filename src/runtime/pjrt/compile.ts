/** From program text to an executable, by way of the disk cache where there is one. */
import { statSync } from 'node:fs'
import { dtypes, type DType } from '../../core/dtype.ts'
import { PluginError } from '../../core/errors.ts'
import { sha256Parts } from '../../io/checksum.ts'
import type { BufferType, CompileRequest } from '../backend.ts'
import type { ExecutableCache } from './cache.ts'
import { PjrtExecutable } from './executable.ts'
import { Memory, nativeText, Struct } from './memory.ts'
import { compileOptions } from './options.ts'
import type { Session } from './session.ts'

export async function compileProgram(
  session: Session, request: CompileRequest, kept: ExecutableCache | undefined,
): Promise<PjrtExecutable> {
  const cache = request.unordered === true && !session.kind.storesOrder ? undefined : kept
  const options = compileOptions(request.replicas ?? request.devices, session.compiler)
  const parameters = parameterTypes(request.text)
  const load = (handle: bigint, fromCache: boolean): PjrtExecutable =>
    new PjrtExecutable(session, handle, { devices: request.devices, donated: request.donated, parameters, fromCache })
  if (cache === undefined) return load(await compile(session, request.text, options), false)
  const key = keyOf(session, request.text, options)
  const stored = cache.read(key)
  if (stored !== undefined) {
    try {
      return load(await deserialize(session, stored), true)
    } catch {
      cache.forget(key)
    }
  }
  const made = load(await compile(session, request.text, options), false)
  const program = await made.serialize()
  if (program !== undefined) await cache.write(key, program)
  return made
}

const dtypeNamed = new Map(Object.entries(dtypes).map(([dtype, { hlo }]) => [hlo, dtype as DType]))

/** What `@main` takes, by its signature: plugins do not say, and refuse what does not fit on some devices and not on others. */
export function parameterTypes(text: string): BufferType[] {
  const from = /@main\s*\(/.exec(text)
  if (from === null) return []
  const start = from.index + from[0].length
  // To the parenthesis that closes the list: attributes and locations may have some of their own.
  let [end, depth] = [start, 1]
  for (; end < text.length && depth > 0; end++) depth += text[end] === '(' ? 1 : text[end] === ')' ? -1 : 0
  return [...text.slice(start, end).matchAll(/%[\w#]+\s*:\s*tensor<((?:\d+x)*)(\w+)>/g)].map(([, sizes = '', element = '']) => ({
    shape: sizes.split('x').filter((size) => size !== '').map(Number), dtype: dtypeNamed.get(element) ?? unknownElement(element),
  }))
}

function unknownElement(element: string): never {
  throw new PluginError({ code: 'element-type', what: `the program has a parameter of type ${element}`, fix: `convert it to one of ${Object.keys(dtypes).join(', ')} first` })
}

async function compile(session: Session, text: string, options: Uint8Array): Promise<bigint> {
  try {
    return await session.compiling(() => session.kind.compiling(() => compileCode(session, new TextEncoder().encode(text), 'mlir', options)))
  } catch (failure) {
    throw located(failure, text)
  }
}

/** A program in one of the forms that plugins read: StableHLO as `mlir`, a HloModuleProto as `hlo`. */
export async function compileCode(session: Session, bytes: Uint8Array, form: 'mlir' | 'hlo', options: Uint8Array): Promise<bigint> {
  const code = Memory.of(bytes)
  const format = Memory.of(new TextEncoder().encode(form))
  const program = new Struct('PJRT_Program').point('code', code).set('code_size', code.bytes.byteLength)
    .point('format', format).set('format_size', format.bytes.byteLength)
  const packed = Memory.of(options)
  const args = new Struct('PJRT_Client_Compile_Args').set('client', session.client).point('program', program)
    .point('compile_options', packed).set('compile_options_size', packed.bytes.byteLength)
  return (await session.library.callAsync(args)).get('executable')
}

/**
 * Says where the plugin found fault: the user's own line where the operation carries its `loc`, else the line of the program,
 * whose coordinates would be those of a text that nobody sees.
 */
export function located(failure: unknown, text: string): unknown {
  if (!(failure instanceof PluginError)) return failure
  const place = /^Client_Compile: (?:loc\()?"?(.+?)"?:(\d+):(\d+)\)?: error: (.*)/.exec(failure.problem.what)
  if (place === null) return failure
  const [, file = '', line = '', column = '', message = ''] = place
  const ours = file === '-'
  const operation = /note: see current operation: (.*)/.exec(failure.problem.what)?.[1]
  return new PluginError({
    code: 'bad-program', what: `the plugin does not accept the program: ${message}`,
    details: {
      ...ours ? { program: (text.split('\n')[Number(line) - 1] ?? '').trim().slice(0, 400), place: `line ${line}, column ${column}` } : {},
      ...operation === undefined ? {} : { operation: operation.slice(0, 400) },
      ...failure.problem.details,
    },
    fix: 'an older plugin may not know the operation: try another (--plugin PATH), or --plugin simulate',
    at: ours ? undefined : { file, line: Number(line), column: Number(column) }, cause: failure,
  })
}

/** Everything that decides the machine code. A program of another XLA, or for another CPU, can silently miscompute. */
function keyOf(session: Session, text: string, options: Uint8Array): string {
  const { library, platform, devices, kind } = session
  const { size, mtimeMs } = statSync(library.path)
  const machine = kind.machine()
  return sha256Parts([
    'meshwork 1', library.path, `${size} ${mtimeMs}`, `${library.apiVersion.major}.${library.apiVersion.minor}`,
    platform.name, platform.version, String(devices.length), library.xlaFlags, ...machine.length === 0 ? [process.arch, deviceKind(session)] : machine, options, text,
  ])
}

/** What the devices are, as `NVIDIA H100 80GB HBM3`; empty where the plugin does not say. */
function deviceKind({ library, devices: [device] }: Session): string {
  if (device === undefined || !library.has('PJRT_Device_GetDescription') || !library.has('PJRT_DeviceDescription_Kind')) return ''
  const description = library.call(new Struct('PJRT_Device_GetDescription_Args').set('device', device)).get('device_description')
  const kind = library.call(new Struct('PJRT_DeviceDescription_Kind_Args').set('device_description', description))
  return nativeText(kind.get('device_kind'), kind.number('device_kind_size'))
}

async function deserialize({ library, client }: Session, program: Uint8Array): Promise<bigint> {
  const bytes = Memory.of(program)
  const args = new Struct('PJRT_Executable_DeserializeAndLoad_Args').set('client', client)
    .point('serialized_executable', bytes).set('serialized_executable_size', bytes.bytes.byteLength)
  return (await library.callAsync(args)).get('loaded_executable')
}
