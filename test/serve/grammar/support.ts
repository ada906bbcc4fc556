/** Tokens for tests of grammars: every byte, and pieces as tokenizers have them. */
import { threefry2x32 } from '../../../src/core/threefry.ts'
import type { Constraint } from '../../../src/serve/asking.ts'
import { compileConstraint, vocabularyOf, type GrammarPlace, type Vocabulary } from '../../../src/serve/grammar/index.ts'

const utf8 = new TextEncoder()
const pieces = ['{"', '":', '": "', '", "', '"}', '{}', '[]', '[1', ', ', 'tru', 'true', 'null', 'nul', '12', '123', '-1', '.5', 'ab', 'abc', 'é', '東京', '\\"', '\\u00', '}}', ']}', 'name', '"name', '"name"', 'red', 'green', '  ', '\n', 'e+', '2024', '-01', ':00', 'x@y', 'yes', 'no']
/** The last two are special. */
export const vocabulary: Vocabulary = vocabularyOf([...Array.from({ length: 256 }, (_, b) => Uint8Array.of(b)), ...pieces.map(p => utf8.encode(p)), undefined, undefined])

/** Whether a text may be a whole answer, byte by byte. */
export function accepts(constraint: Constraint, text: string): boolean {
  let place: GrammarPlace | undefined = compileConstraint(constraint, vocabulary).start()
  for (const byte of utf8.encode(text)) place = place?.after(byte)
  return place?.mayEnd === true
}

/** A text that is drawn by its masks, ending as soon as it may where `hurry` says so. */
export function drawn(constraint: Constraint, seed: number, most = 400): string | undefined {
  let place = compileConstraint(constraint, vocabulary).start()
  const bytes: number[] = []
  for (let i = 0; i < most; i++) {
    const random = threefry2x32(seed, 5, i, 0)
    if (place.mayEnd && (random % 3 === 0 || i > 60)) return new TextDecoder('utf-8', { fatal: true }).decode(Uint8Array.from(bytes))
    const allowed = allowedAt(place)
    if (allowed.length === 0) return place.mayEnd ? new TextDecoder('utf-8', { fatal: true }).decode(Uint8Array.from(bytes)) : undefined
    // Ends of things are drawn more often than one in two hundred.
    const closing = allowed.filter(id => '"}],'.includes(String.fromCharCode(id)) && id < 128)
    const from = closing.length > 0 && (i > 40 || random % 4 === 1) ? closing : allowed
    const id = from[threefry2x32(seed, 6, i, 1) % from.length] as number
    bytes.push(...vocabulary.texts[id] ?? [])
    place = place.after(id) as GrammarPlace
  }
  return undefined
}
export const allowedAt = (place: GrammarPlace): number[] => Array.from({ length: vocabulary.size }, (_, id) => id).filter(id => ((place.mask[id >>> 5] ?? 0) >>> (id & 31) & 1) === 1)
