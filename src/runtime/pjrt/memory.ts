/** C structs and arrays in memory of ours, at addresses that stay put while they are referenced. */
import koffi from '../../io/koffi.ts'
import { structs } from './header.gen.ts'

export type StructName = keyof typeof structs
export type Field<S extends StructName> = keyof (typeof structs)[S]['fields'] & string

/** Off V8's heap always: a small typed array made by length may lie on it, and the collector moves those. */
export class Memory {
  readonly view: DataView
  readonly bytes: Uint8Array
  readonly address: bigint

  constructor(size: number, bytes: Uint8Array = new Uint8Array(new ArrayBuffer(Math.max(size, 8)), 0, size)) {
    this.bytes = bytes
    this.view = new DataView(bytes.buffer, bytes.byteOffset, size)
    this.address = koffi.address(bytes)
  }

  /** The memory of a host array itself, without a copy. */
  static at(array: ArrayBufferView): Memory {
    return new Memory(array.byteLength, new Uint8Array(array.buffer, array.byteOffset, array.byteLength))
  }

  /** Where the memory of a host array is, without a copy: for calls that only read it. */
  static pointer(array: ArrayBufferView): { readonly address: bigint; readonly bytes: Uint8Array } {
    const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength)
    return { address: koffi.address(bytes), bytes }
  }

  static of(bytes: Uint8Array): Memory {
    const memory = new Memory(bytes.byteLength)
    memory.bytes.set(bytes)
    return memory
  }

  /** A list of `int64_t` or pointers. */
  static words(words: readonly (bigint | number)[]): Memory {
    const memory = new Memory(words.length * 8)
    words.forEach((word, i) => { memory.view.setBigInt64(i * 8, BigInt(word), true) })
    return memory
  }

  word(index: number): bigint { return this.view.getBigUint64(index * 8, true) }
}

/** One struct of the header, with `struct_size` filled in; it holds on to whatever its pointers point to. */
export class Struct<S extends StructName> {
  readonly name: S
  readonly memory: Memory
  private readonly kept: Record<string, unknown> = {}
  private readonly fields: Readonly<Record<string, readonly [number, number]>>

  constructor(name: S) {
    const layout = structs[name]
    this.name = name
    this.memory = new Memory(layout.size)
    this.fields = layout.fields
    this.memory.view.setBigUint64(0, BigInt(layout.size), true)
  }

  get address(): bigint { return this.memory.address }

  set(field: Field<S>, value: bigint | number): this {
    const [at, bytes] = this.field(field)
    const { view } = this.memory
    if (bytes === 8) view.setBigInt64(at, BigInt(value), true)
    else if (bytes === 4) view.setInt32(at, Number(value), true)
    else view.setUint8(at, Number(value))
    return this
  }

  /** Points a field at memory of ours. */
  point(field: Field<S>, target: { readonly address: bigint }): this {
    this.kept[field] = target
    return this.set(field, target.address)
  }

  /** A pointer or a large number. */
  get(field: Field<S>): bigint { return this.memory.view.getBigUint64(this.field(field)[0], true) }

  number(field: Field<S>): number {
    const [at, bytes] = this.field(field)
    const { view } = this.memory
    return bytes === 8 ? Number(view.getBigInt64(at, true)) : bytes === 4 ? view.getInt32(at, true) : view.getUint8(at)
  }

  /** Where a field begins. */
  offset(field: Field<S>): number { return this.field(field)[0] }

  private field(field: string): readonly [number, number] {
    const found = this.fields[field]
    if (found === undefined) throw new Error(`${this.name} has no field ${field}`)
    return found
  }
}

/** A view, not a copy, of `size` bytes that the plugin owns. */
export const nativeBytes = (address: bigint, size: number): Uint8Array =>
  size === 0 || address === 0n ? new Uint8Array() : new Uint8Array(koffi.view(address, size))

export const nativeText = (address: bigint, size: number): string => new TextDecoder().decode(nativeBytes(address, size))

/** The words of an array that the plugin owns. */
export function nativeWords(address: bigint, count: number): bigint[] {
  const bytes = nativeBytes(address, count * 8)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return Array.from({ length: bytes.byteLength / 8 }, (_, i) => view.getBigUint64(i * 8, true))
}
