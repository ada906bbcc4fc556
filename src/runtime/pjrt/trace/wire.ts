/** Protobuf messages that are changed in a few fields and otherwise handed on as they are, whatever else is in them. */
import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire'

/** One field as it was read: `raw` is what follows its tag. */
interface Field { readonly no: number; readonly wire: WireType; readonly raw: Uint8Array }

/** The inside of what has its length before it. */
const inside = (raw: Uint8Array): Uint8Array => new BinaryReader(raw).bytes()

const utf8 = new TextDecoder()

export class Message {
  readonly #fields: readonly Field[]

  constructor(fields: readonly Field[] = []) { this.#fields = fields }

  static read(bytes: Uint8Array): Message {
    const reader = new BinaryReader(bytes)
    const fields: Field[] = []
    while (reader.pos < reader.len) {
      const [no, wire] = reader.tag()
      fields.push({ no, wire, raw: reader.skip(wire, no) })
    }
    return new Message(fields)
  }

  bytes(no: number): Uint8Array[] { return this.#fields.filter(f => f.no === no).map(f => inside(f.raw)) }
  messages(no: number): Message[] { return this.bytes(no).map(b => Message.read(b)) }
  message(no: number): Message | undefined { return this.messages(no).at(-1) }
  text(no: number): string { return utf8.decode(this.bytes(no).at(-1) ?? new Uint8Array()) }
  has(no: number): boolean { return this.#fields.some(f => f.no === no) }

  /** Whole numbers, packed or one by one. */
  numbers(no: number): number[] {
    return this.#fields.filter(f => f.no === no).flatMap(({ wire, raw }) => {
      const reader = new BinaryReader(wire === WireType.LengthDelimited ? inside(raw) : raw)
      const found: number[] = []
      while (reader.pos < reader.len) found.push(Number(reader.int64()))
      return found
    })
  }
  number(no: number): number { return this.numbers(no).at(-1) ?? 0 }

  without(...no: readonly number[]): Message { return new Message(this.#fields.filter(f => !no.includes(f.no))) }
  withBytes(no: number, ...values: readonly Uint8Array[]): Message {
    return new Message([...this.#fields.filter(f => f.no !== no), ...values.map(v => ({ no, wire: WireType.LengthDelimited, raw: new BinaryWriter().bytes(v).finish() }))])
  }
  withMessages(no: number, ...values: readonly Message[]): Message { return this.withBytes(no, ...values.map(v => v.encode())) }
  withText(no: number, value: string): Message { return this.withBytes(no, new TextEncoder().encode(value)) }
  withNumbers(no: number, ...values: readonly number[]): Message {
    return new Message([...this.#fields.filter(f => f.no !== no), ...values.map(v => ({ no, wire: WireType.Varint, raw: new BinaryWriter().int64(v).finish() }))])
  }

  encode(): Uint8Array {
    const writer = new BinaryWriter()
    for (const { no, wire, raw } of this.#fields) writer.tag(no, wire).raw(raw)
    return writer.finish()
  }
}
