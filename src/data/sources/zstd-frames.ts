/**
 * The frames of a zstd file, followed from header to header (RFC 8878, section 3.1) without being unpacked: a library that unpacks them
 * allocates whatever window a header asks for, and does not say at the end whether a frame was whole.
 */

/** What the zstd command takes without being asked to: 128 MiB. */
const largestWindow = 2 ** 27

type State = 'magic' | 'header' | 'block' | 'skip'

export class ZstdFrames {
  #state: State = 'magic'
  #held: number[] = []
  #need = 4
  #skip = 0
  #after: State = 'magic'
  #checksum = false

  /** Bytes that all frames so far say they unpack to; undefined once one has not said. */
  content: number | undefined = 0

  /** Whether the last frame ended where the bytes did. */
  get whole(): boolean { return this.#state === 'magic' && this.#held.length === 0 }

  /** @throws Error that says what is wrong. */
  push(bytes: Uint8Array): void {
    for (let i = 0; i < bytes.length;) {
      if (this.#state === 'skip') {
        const step = Math.min(this.#skip, bytes.length - i)
        i += step
        this.#skip -= step
        if (this.#skip === 0) this.#turn(this.#after)
        continue
      }
      this.#held.push(bytes[i++] as number)
      if (this.#held.length >= this.#need) this.#step()
    }
  }

  #turn(state: State): void {
    this.#state = state
    this.#held = []
    this.#need = state === 'block' ? 3 : state === 'header' ? 2 : 4
  }

  #pass(bytes: number, after: State): void {
    this.#after = after
    this.#skip = bytes
    if (bytes === 0) this.#turn(after)
    else this.#state = 'skip'
  }

  #number(from: number, bytes: number): number {
    let value = 0
    for (let i = bytes - 1; i >= 0; i--) value = value * 256 + (this.#held[from + i] ?? 0)
    return value
  }

  #step(): void {
    if (this.#state === 'magic') this.#magic()
    else if (this.#state === 'header') this.#header()
    else this.#block()
  }

  #magic(): void {
    const magic = this.#number(0, 4)
    if (magic === 0xfd2fb528) this.#turn('header')
    else if (magic >= 0x184d2a50 && magic <= 0x184d2a5f) {
      // Four more bytes are the length of what is to be skipped.
      this.#need = 8
      if (this.#held.length === 8) this.#pass(this.#number(4, 4), 'magic')
    } else throw new Error('this is no zstd frame')
  }

  #header(): void {
    const flags = this.#held[0] ?? 0
    const single = (flags & 32) !== 0
    const size = [single ? 1 : 0, 2, 4, 8][flags >> 6] ?? 0
    const dictionary = [0, 1, 2, 4][flags & 3] ?? 0
    const window = single ? 0 : 1
    this.#need = 1 + window + dictionary + size
    if (this.#held.length < this.#need) return
    if ((flags & 3) !== 0 && this.#number(1 + window, dictionary) !== 0) throw new Error('it needs a dictionary')
    const content = this.#number(1 + window + dictionary, size) + (size === 2 ? 256 : 0)
    this.content = size === 0 || this.content === undefined ? undefined : this.content + content
    const base = 2 ** (10 + ((this.#held[1] ?? 0) >> 3))
    const asked = single ? content : base + base / 8 * ((this.#held[1] ?? 0) & 7)
    if (asked > largestWindow) throw new Error(`it wants a window of ${asked} bytes, more than ${largestWindow}: compress it without --long or --ultra`)
    this.#checksum = (flags & 4) !== 0
    this.#turn('block')
  }

  #block(): void {
    const header = this.#number(0, 3)
    const [last, kind, size] = [(header & 1) === 1, header >> 1 & 3, header >> 3]
    if (kind === 3) throw new Error('a block is of no kind that there is')
    if (size > 2 ** 17) throw new Error('a block has more than 128 KiB')
    this.#pass((kind === 1 ? 1 : size) + (last && this.#checksum ? 4 : 0), last ? 'magic' : 'block')
  }
}
