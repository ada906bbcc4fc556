/** PJRT's key-value lists, both ways. */
import { enums, structs } from './header.gen.ts'
import type { TypedOption } from './platform.ts'
import { Memory, nativeBytes, nativeText, nativeWords } from './memory.ts'

const kind = enums.PJRT_NamedValue_Type
const { size, fields } = structs.PJRT_NamedValue

export interface NamedValues { readonly address: bigint; readonly count: number; readonly kept: readonly unknown[] }

/** A list of options, in memory that lives as long as the object. */
export function namedValues(options: ReadonlyMap<string, TypedOption>): NamedValues {
  const memory = new Memory(options.size * size)
  const kept: Memory[] = [memory]
  const keep = (made: Memory): Memory => {
    kept.push(made)
    return made
  }
  const text = (value: string): Memory => keep(Memory.of(new TextEncoder().encode(value)))
  for (const [i, [option, { kind: of, value }]] of [...options].entries()) {
    const at = i * size
    const { view } = memory
    const name = text(option)
    view.setBigUint64(at + fields.struct_size[0], BigInt(size), true)
    view.setBigUint64(at + fields.name[0], name.address, true)
    view.setBigUint64(at + fields.name_size[0], BigInt(name.bytes.byteLength), true)
    const put: { readonly [K in TypedOption['kind']]: () => readonly [type: number, length: number] } = {
      text: () => {
        const made = text(String(value))
        view.setBigUint64(at + fields.string_value[0], made.address, true)
        return [kind.String, made.bytes.byteLength]
      },
      whole: () => {
        view.setBigInt64(at + fields.int64_value[0], BigInt(Number(value)), true)
        return [kind.Int64, 1]
      },
      float: () => {
        view.setFloat32(at + fields.float_value[0], Number(value), true)
        return [kind.Float, 1]
      },
      flag: () => {
        view.setUint8(at + fields.bool_value[0], value === true ? 1 : 0)
        return [kind.Bool, 1]
      },
      list: () => {
        const items = Array.isArray(value) ? value.map(Number) : []
        view.setBigUint64(at + fields.int64_array_value[0], keep(Memory.words(items)).address, true)
        return [kind.Int64List, items.length]
      },
    }
    const [type, length] = put[of]()
    view.setInt32(at + fields.type[0], type, true)
    view.setBigUint64(at + fields.value_size[0], BigInt(length), true)
  }
  return { address: memory.address, count: options.size, kept }
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
