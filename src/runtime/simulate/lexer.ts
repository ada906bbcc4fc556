/** Tokens of MLIR text, one at a time. */
import { PluginError } from '../../core/errors.ts'

const skipped = /(?:\s+|\/\/[^\n]*)*/y
/** A tensor type is one token, for `4x8xf32` would fall apart. Strings keep their quotes, so that no token is taken for another. */
const token = new RegExp([
  /tensor<[^<>]*>/, /[%^][\w$.-]+(?:#\d+)?/, /@(?:[\w$.-]+|"[^"]*")/, /#[A-Za-z_][\w$.]*/, /![\w$.]+/,
  /"[^"\\]*(?:\\.[^"\\]*)*"/, /0x[\da-fA-F]+/, /-?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?/, /[A-Za-z_][\w$.]*/, /->|::|[-(){}[\]<>,:=?*+]/,
].map(part => part.source).join('|'), 'y')

export class Lexer {
  /** The token ahead; empty at the end. */
  text = ''
  private readonly source: string
  private start = 0
  private end = 0

  constructor(source: string) {
    this.source = source
    this.next()
  }

  /** Takes the token ahead. */
  next(): string {
    const taken = this.text
    skipped.lastIndex = this.end
    skipped.exec(this.source)
    this.start = token.lastIndex = skipped.lastIndex
    this.text = token.exec(this.source)?.[0] ?? ''
    this.end = this.start + this.text.length
    if (this.text === '' && this.start < this.source.length) this.fail(`"${this.source.slice(this.start, this.start + 20)}" is not MLIR`)
    return taken
  }

  /** Takes the token ahead if it is this one. */
  accept(text: string): boolean {
    if (this.text !== text) return false
    this.next()
    return true
  }

  expect(text: string): void {
    if (!this.accept(text)) this.fail(`expected "${text}"`)
  }

  /** Takes a token of the kind that this character begins. */
  take(sigil: string, what: string): string {
    return this.text.startsWith(sigil) ? this.next() : this.fail(`expected ${what}`)
  }

  /** Items up to `close`, which is taken, with commas between. */
  list<T>(close: string, item: () => T): T[] {
    const items: T[] = []
    while (!this.accept(close)) {
      if (items.length > 0) this.expect(',')
      items.push(item())
    }
    return items
  }

  fail(what: string): never {
    const before = this.source.slice(0, this.start).split('\n')
    const line = this.source.split('\n')[before.length - 1] ?? ''
    throw new PluginError({
      code: 'program-syntax', what: `line ${before.length} of the program: ${what}`,
      details: { found: this.text.slice(0, 60) || 'the end', line: line.trim().slice(0, 160) },
    })
  }
}
