/** The compile options, as the protobuf message that PJRT takes. */
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire'
import type { TypedOption } from './platform.ts'
import type { OptionValue } from './platform-options.ts'
import type { Kind } from './platform-type.ts'

/** OptionOverrideProto { oneof value { string_field = 1, bool_field = 2, int_field = 3, double_field = 4 } }, by kind. */
const values: { readonly [K in Exclude<Kind, 'list'>]: (w: BinaryWriter, value: OptionValue) => BinaryWriter } = {
  text: (w, value) => w.tag(1, WireType.LengthDelimited).string(String(value)),
  flag: (w, value) => w.tag(2, WireType.Varint).bool(value === true),
  whole: (w, value) => w.tag(3, WireType.Varint).int64(Number(value)),
  float: (w, value) => w.tag(4, WireType.Bit64).double(Number(value)),
}

/**
 * CompileOptionsProto { executable_build_options = 3 { device_ordinal = 1, num_replicas = 4, num_partitions = 5 }, env_option_overrides = 7 { key = 1, value = 2 } }.
 * What the compiler is told goes over its own debug options, which stay what the plugin makes of its flags: debug options that are sent take the place of all of them.
 */
export function compileOptions(replicas: number, compiler: ReadonlyMap<string, TypedOption> = new Map()): Uint8Array {
  const made = new BinaryWriter()
    .tag(3, WireType.LengthDelimited).fork()
    .tag(1, WireType.Varint).int64(-1)
    .tag(4, WireType.Varint).int64(replicas)
    .tag(5, WireType.Varint).int64(1)
    .join()
  for (const [name, { kind, value }] of compiler) {
    if (kind === 'list') throw new Error(`a compiler's option cannot be a list: ${name}`)
    made.tag(7, WireType.LengthDelimited).fork().tag(1, WireType.LengthDelimited).string(name)
    values[kind](made.tag(2, WireType.LengthDelimited).fork(), value).join().join()
  }
  return made.finish()
}
