/** Prompts of ordinary tokens that nobody has seen before: what was kept of earlier ones helps with none. */
import { threefry2x32 } from '../../src/core/threefry.ts'

/** Tokens below are marks of the tokenizer. */
const first = 1000
const count = 40000

export const promptOf = (tokens: number, salt: number, stream = 0): Int32Array<ArrayBuffer> =>
  Int32Array.from({ length: tokens }, (_, i) => first + threefry2x32(11, salt, stream, i) % count)
