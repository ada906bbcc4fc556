/** The compile options, as the protobuf message that PJRT takes. */
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire'

/** CompileOptionsProto { executable_build_options = 3 { device_ordinal = 1, num_replicas = 4, num_partitions = 5 } }. */
export function compileOptions(replicas: number): Uint8Array {
  return new BinaryWriter()
    .tag(3, WireType.LengthDelimited).fork()
    .tag(1, WireType.Varint).int64(-1)
    .tag(4, WireType.Varint).int64(replicas)
    .tag(5, WireType.Varint).int64(1)
    .join().finish()
}
