/** How much text each token stands for: what losses of different tokenizers are compared by. */
import type { Tokenizer } from './tokenizer.ts'

/** Bytes of UTF-8 by id; 0 for special tokens, which are no text. */
export const tokenBytes = ({ tokens, bytes }: Pick<Tokenizer, 'tokens' | 'bytes'>): Uint32Array => Uint32Array.from(tokens, (_, id) => bytes(id))
