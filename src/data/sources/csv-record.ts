/** One record of CSV (RFC 4180), found in bytes: quoted fields with line ends and doubled quotes in them, lines ending in \n or \r\n. */

const [quote, lineFeed, carriageReturn] = [34, 10, 13]

/** What is wrong with a record: at a byte of the window. */
export class CsvFault extends Error {
  readonly offset: number
  constructor(message: string, offset: number) {
    super(message)
    this.offset = offset
  }
}

/** The next place of a byte, or the end. */
const placeIn = (bytes: Buffer, byte: number, from: number): number => {
  const found = bytes.indexOf(byte, from)
  return found < 0 ? bytes.length : found
}

/** Reads record after record into the same arrays. */
export class CsvRecord {
  /** Fields of the record read last; where each begins and ends in the window, without its quotes, and whether quotes in it are doubled. */
  count = 0
  readonly from: number[] = []
  readonly to: number[] = []
  readonly doubled: boolean[] = []
  readonly #delimiter: number

  constructor(delimiter: string) { this.#delimiter = delimiter.charCodeAt(0) }

  /** The text of a field. */
  text(field: number, read: (from: number, to: number) => string): string {
    const text = read(this.from[field] ?? 0, this.to[field] ?? 0)
    return this.doubled[field] === true ? text.replaceAll('""', '"') : text
  }

  /** A line with nothing in it, not even quotes. */
  get empty(): boolean { return this.count === 1 && this.from[0] === this.to[0] && !this.#quoted }
  #quoted = false

  /**
   * Reads the record that begins at `at`: the place behind it, or -1 where it does not end in the window, or there is none. After
   * `last` the end of the window ends it. @throws CsvFault
   */
  read(bytes: Buffer, at: number, last: boolean): number {
    const { length } = bytes
    this.count = 0
    this.#quoted = false
    if (at >= length) return -1
    for (let i = at; ;) {
      if (bytes[i] === quote) {
        this.#quoted = true
        const open = i
        let doubled = false
        for (let from = i + 1; ;) {
          const close = bytes.indexOf(quote, from)
          if (close < 0 || (close + 1 >= length && !last)) {
            if (!last) return -1
            if (close < 0) throw new CsvFault('a quote is opened and never closed', open)
          }
          if (bytes[close + 1] === quote) {
            doubled = true
            from = close + 2
            continue
          }
          this.#field(open + 1, close, doubled)
          i = close + 1
          break
        }
      } else {
        const from = i
        i = this.#unquoted(bytes, i)
        if (i >= length && !last) return -1
        // The \r of a line end is no part of the field.
        const to = bytes[i - 1] === carriageReturn && i > from && (bytes[i] === lineFeed || i >= length) ? i - 1 : i
        this.#field(from, to, false)
      }
      const next = bytes[i]
      if (i >= length) return last ? length : -1
      if (next === this.#delimiter) {
        i++
        if (i >= length) {
          if (!last) return -1
          this.#field(i, i, false)
          return length
        }
      } else if (next === lineFeed) return i + 1
      else if (next === carriageReturn && bytes[i + 1] === lineFeed) return i + 2
      else if (next === carriageReturn && i + 1 >= length) return last ? length : -1
      else throw new CsvFault('text follows a closing quote', i)
    }
  }

  #unquoted(bytes: Buffer, from: number): number {
    const delimiter = this.#delimiter
    const { length } = bytes
    const near = Math.min(length, from + 48)
    for (let i = from; i < near; i++) {
      const byte = bytes[i]
      if (byte === delimiter || byte === lineFeed) return i
    }
    if (near === length) return length
    // Long fields are searched, not walked over; what was found lies ahead until it is passed.
    if (bytes !== this.#searched || near < this.#reached) [this.#searched, this.#feed, this.#next] = [bytes, -1, -1]
    this.#reached = near
    if (this.#feed < near) this.#feed = placeIn(bytes, lineFeed, near)
    if (this.#next < near) this.#next = placeIn(bytes, delimiter, near)
    return Math.min(this.#feed, this.#next)
  }
  #searched: Buffer | undefined
  #reached = 0
  #feed = -1
  #next = -1

  #field(from: number, to: number, doubled: boolean): void {
    this.from[this.count] = from
    this.to[this.count] = to
    this.doubled[this.count++] = doubled
  }
}
