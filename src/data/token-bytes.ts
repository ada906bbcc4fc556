/** How much text each token stands for: what losses of different tokenizers are compared by. */
import { bytesOf } from './bytes.ts'
import type { Tokenizer } from './tokenizer.ts'

/** Bytes of UTF-8 by id; 0 for special tokens, which are no text. */
export function tokenBytes({ model: { tokens, added } }: Pick<Tokenizer, 'model'>): Uint32Array {
  const own = new Map(added.map(t => [t.id, t.special]))
  return Uint32Array.from(tokens, (token, id) => {
    const special = own.get(id)
    if (special === true) return 0
    // An added token stands for its own characters.
    return (special === undefined ? bytesOf(token)?.length : undefined) ?? Buffer.byteLength(token)
  })
}
