/** PJRT's key-value lists, both ways. */
import { enums, structs } from './header.gen.ts'
import { Memory, nativeBytes, nativeText, nativeWords } from './memory.ts'

const kind = enums.PJRT_NamedValue_Type
const { size, fields } = structs.PJRT_NamedValue

export interface NamedValues { readonly address: bigint; readonly count: number; readonly kept: readonly unknown[] }

/** A list of int64 options, in memory that lives as long as the object. */
export function namedValues(values: Readonly<Record<string, number>>): NamedValues {
  const entries = Object.entries(values)
  const memory = new Memory(entries.length * size)
  const names = entries.map(([name]) => Memory.of(new TextEncoder().encode(name)))
  entries.forEach(([, value], i) => {
    const at = i * size
    const name = names[i]
    memory.view.setBigUint64(at + fields.struct_size[0], BigInt(size), true)
    memory.view.setBigUint64(at + fields.name[0], name?.address ?? 0n, true)
    memory.view.setBigUint64(at + fields.name_size[0], BigInt(name?.bytes.byteLength ?? 0), true)
    memory.view.setInt32(at + fields.type[0], kind.Int64, true)
    memory.view.setBigInt64(at + fields.int64_value[0], BigInt(value), true)
    memory.view.setBigUint64(at + fields.value_size[0], 1n, true)
  })
  return { address: memory.address, count: entries.length, kept: [memory, names] }
}

/** Reads a list that the plugin owns; the stride is what the plugin says its own struct takes. */
export function readNamedValues(address: bigint, count: number): Map<string, string> {
  const found = new Map<string, string>()
  if (count === 0) return found
  const stride = Math.ceil(Number(nativeWords(address, 1)[0] ?? 0n) / 8) * 8
  for (let i = 0; i < count; i++) {
    const bytes = nativeBytes(address + BigInt(i * stride), size)
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    const word = (at: number): bigint => view.getBigUint64(at, true)
    const value = word(fields.string_value[0])
    const length = Number(word(fields.value_size[0]))
    const name = nativeText(word(fields.name[0]), Number(word(fields.name_size[0])))
    const type = view.getInt32(fields.type[0], true)
    if (type === kind.String) found.set(name, nativeText(value, length))
    else if (type === kind.Int64List) found.set(name, nativeWords(value, length).map((item) => BigInt.asIntN(64, item)).join('.'))
    else if (type === kind.Int64) found.set(name, String(BigInt.asIntN(64, value)))
    else if (type === kind.Float) found.set(name, String(view.getFloat32(fields.float_value[0], true)))
    else found.set(name, String(view.getUint8(fields.bool_value[0]) !== 0))
  }
  return found
}
