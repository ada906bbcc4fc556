/** Reads a file from its beginning on, value by value, through a window: no length that stands in the file is believed before that many bytes are there. */
import type { FileError } from '../../core/errors.ts'
import type { Ranged } from '../../io/ranged.ts'

const windowBytes = 1 << 18

export class Cursor {
  readonly #file: Ranged
  readonly #refuse: (reason: string) => FileError
  #bytes: Buffer = Buffer.alloc(0)
  /** The byte of the file at which the window begins, and how much of it is done. */
  #begin = 0
  #done = 0

  constructor(file: Ranged, refuse: (reason: string) => FileError) {
    this.#file = file
    this.#refuse = refuse
  }

  /** Bytes that are done. */
  get at(): number { return this.#begin + this.#done }
  get left(): number { return this.#file.size - this.at }

  /** Whether the window holds so many bytes: then `number` and `text` need not be waited for. */
  holds(bytes: number): boolean { return this.#bytes.length - this.#done >= bytes }

  /** Makes the window hold so many bytes. @throws FileError where the file ends before; `what` is what they would be */
  async need(bytes: number, what: string): Promise<void> {
    if (this.holds(bytes)) return
    if (bytes > this.left) throw this.#refuse(`it ends at byte ${this.#file.size}, in ${what}`)
    const next = Buffer.alloc(Math.min(this.left, Math.max(bytes, windowBytes)))
    await this.#file.read(next, this.at)
    this.#begin = this.at
    this.#bytes = next
    this.#done = 0
  }

  /** The next bytes of the window, which holds them. */
  take(bytes: number): Buffer {
    const taken = this.#bytes.subarray(this.#done, this.#done + bytes)
    this.#done += bytes
    return taken
  }

  async u32(what: string): Promise<number> {
    await this.need(4, what)
    return this.take(4).readUInt32LE()
  }

  /** A length or a count, of which the file must hold at least `each` bytes apiece. @throws FileError where it cannot */
  async count(what: string, each: number): Promise<number> {
    await this.need(8, what)
    return this.countTaken(what, each)
  }

  /** The same, of bytes that the window holds. */
  countTaken(what: string, each: number): number {
    const count = this.take(8).readBigUInt64LE()
    if (count * BigInt(each) > BigInt(this.left)) throw this.#refuse(`${what} has ${count}, more than the ${this.left} bytes behind it can hold`)
    return Number(count)
  }
}
