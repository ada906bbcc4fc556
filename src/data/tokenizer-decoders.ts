/** Tokens → text, by the decoders that a tokenizer.json names; step by step as Hugging Face's Rust has them. */
import { charToByte } from './bytes.ts'

/** A decoder's part of the file, as its schema has checked it. */
export interface DecoderPart {
  readonly type: string
  readonly decoders?: readonly DecoderPart[]
  readonly prefix?: string
  readonly suffix?: string
  readonly cleanup?: boolean
  readonly replacement?: string
  readonly prepend_scheme?: 'always' | 'first' | 'never'
  readonly add_prefix_space?: boolean
  readonly pattern?: { readonly String?: string; readonly Regex?: string }
  readonly content?: string
  readonly start?: number
  readonly stop?: number
}
/** Pieces of text of tokens; their joining is the text. */
type Step = (pieces: readonly string[]) => readonly string[]

const utf8 = new TextDecoder('utf-8', { ignoreBOM: true })
const strict = new TextDecoder('utf-8', { ignoreBOM: true, fatal: true })

/** What English tokenizers of BERT's kind tidy up. */
const tidied: readonly (readonly [string, string])[] = [[' .', '.'], [' ?', '?'], [' !', '!'], [' ,', ','], [' \' ', '\''], [' n\'t', 'n\'t'], [' \'m', '\'m'], [' do not', ' don\'t'], [' \'s', '\'s'], [' \'ve', '\'ve'], [' \'re', '\'re']]

const steps: { readonly [type: string]: (part: DecoderPart) => Step } = {
  Sequence({ decoders = [] }) {
    const all = decoders.map(stepOf)
    return pieces => all.reduce((now, step) => step(now), pieces)
  },
  ByteLevel: () => pieces => {
    const bytes = pieces.map(piece => {
      const found = Array.from(piece, char => charToByte.get(char))
      return found.every(b => b !== undefined) ? Uint8Array.from(found) : Buffer.from(piece)
    })
    return [utf8.decode(Buffer.concat(bytes))]
  },
  WordPiece: ({ prefix = '##', cleanup = true }) => pieces => pieces.map((piece, i) => {
    const joined = i === 0 ? piece : piece.startsWith(prefix) ? piece.slice(prefix.length) : ` ${piece}`
    return cleanup ? tidied.reduce((text, [from, to]) => text.replaceAll(from, to), joined) : joined
  }),
  Metaspace: ({ replacement = '\u2581', prepend_scheme: prepend, add_prefix_space: prefixed = true }) => pieces => {
    const first = (prepend ?? (prefixed ? 'always' : 'never')) !== 'never'
    return pieces.map((piece, i) => Array.from(piece, (char, j) => (char !== replacement ? char : i === 0 && j === 0 && first ? '' : ' ')).join(''))
  },
  Replace({ pattern = {}, content = '' }) {
    const found = pattern.Regex === undefined ? undefined : new RegExp(pattern.Regex, 'gu')
    return pieces => pieces.map(piece => (found === undefined ? piece.replaceAll(pattern.String ?? '', content) : piece.replace(found, () => content)))
  },
  ByteFallback: () => pieces => {
    const done: string[] = []
    let bytes: number[] = []
    const flush = (): void => {
      if (bytes.length === 0) return
      try {
        done.push(strict.decode(Uint8Array.from(bytes)))
      } catch {
        // None of them is part of a character.
        done.push(...bytes.map(() => '\ufffd'))
      }
      bytes = []
    }
    for (const piece of pieces) {
      const [, digits] = /^<0x([0-9a-fA-F]{2})>$/.exec(piece) ?? []
      if (digits !== undefined) bytes.push(parseInt(digits, 16))
      else {
        flush()
        done.push(piece)
      }
    }
    flush()
    return done
  },
  Fuse: () => pieces => [pieces.join('')],
  Strip: ({ content = ' ', start = 0, stop = 0 }) => pieces => pieces.map(piece => {
    const chars = Array.from(piece)
    let [from, to] = [0, chars.length]
    while (from < start && chars[from] === content) from++
    while (chars.length - to < stop && to > from && chars[to - 1] === content) to--
    return chars.slice(from, to).join('')
  }),
  BPEDecoder: ({ suffix = '</w>' }) => pieces => pieces.map((piece, i) => piece.replaceAll(suffix, i === pieces.length - 1 ? '' : ' ')),
}

const stepOf = (part: DecoderPart): Step => {
  const make = steps[part.type]
  if (make === undefined) throw new TypeError(`no decoder ${part.type}`)
  return make(part)
}

/** Without a decoder tokens stand apart. */
export function decoderOf(part: DecoderPart | null | undefined): (tokens: readonly string[]) => string {
  if (part === null || part === undefined) return tokens => tokens.join(' ')
  const step = stepOf(part)
  return tokens => step(tokens).join('')
}
