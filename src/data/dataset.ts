/** Documents as one packed stream of tokens, and its two parts: to train on, and held out. */
import { requireTokens, tokensNeeded, type BatchShape, type Tokens } from './batches.ts'
import { permutation } from './shuffle.ts'
import type { Tokenizer } from './tokenizer.ts'

/** Every document is followed by `<|endoftext|>`. */
export interface Packed {
  readonly tokens: Tokens
  /** The place behind each document's `<|endoftext|>`. */
  readonly ends: readonly number[]
}

const tokenArray = (vocab: number, length: number): Tokens => vocab <= 2 ** 16 ? new Uint16Array(length) : new Uint32Array(length)

export function pack(documents: readonly string[], tokenizer: Tokenizer, onDocument: (done: number) => void = () => undefined): Packed {
  const encoded: Int32Array[] = []
  const ends: number[] = []
  let total = 0
  for (const text of documents) {
    const ids = tokenizer.encode(text)
    encoded.push(ids)
    total += ids.length + 1
    ends.push(total)
    onDocument(encoded.length)
  }
  const tokens = tokenArray(tokenizer.vocab, total).fill(tokenizer.endOfText)
  encoded.forEach((ids, i) => { tokens.set(ids, (ends[i] as number) - ids.length - 1) })
  return { tokens, ends }
}

export interface Parts { readonly train: Tokens; readonly heldOut: Tokens }

const heldOutShare = 0.05
/** More than this tells no more about the loss. */
const heldOutMost = 2 ** 20
/** With fewer documents than this one of them may be a large part of the text. */
const fewDocuments = 20

/**
 * About 5 % held out (and a batch at least, where the shape of one is given): whole documents, drawn by a fixed key, or the tail
 * of the text where documents are few or of very unequal length. Neither the seed of a run nor its mesh has a say in it.
 * @throws DataError when the text cannot give both parts a batch.
 */
export function holdOut({ tokens, ends }: Packed, endOfText: number, shape?: BatchShape): Parts {
  const needed = shape === undefined ? 1 : tokensNeeded(shape)
  const title = shape === undefined ? 'batch' : `batch of ${shape.batch} × ${shape.seq} tokens`
  requireTokens(tokens.length, 2 * needed, `the text is too short for one ${title} to train on and one held out`)
  const least = Math.max(needed, Math.min(Math.ceil(tokens.length * heldOutShare), heldOutMost))
  // Where the tail of the text is held out, the part to train on is cut off within a document, so an end of text is added to it.
  return splitDocuments(tokens, ends, least, needed)
    ?? { train: join(tokens.subarray(0, -least), tokenLike(tokens, [endOfText])), heldOut: tokens.slice(-least) }
}

function splitDocuments(tokens: Tokens, ends: readonly number[], least: number, needed: number): Parts | undefined {
  if (ends.length < fewDocuments) return undefined
  const document = (i: number): Tokens => tokens.subarray(i === 0 ? 0 : ends[i - 1], ends[i])
  const place = permutation(ends.length, 0)
  const held = new Set<number>()
  let size = 0
  for (let i = 0; i < ends.length && size < least; i++) {
    const { length } = document(place(i))
    if (size + length > 2 * least) continue
    held.add(place(i))
    size += length
  }
  if (size < least || tokens.length - size < needed) return undefined
  const all = ends.map((_, i) => i)
  return {
    train: join(...all.filter(i => !held.has(i)).map(document)),
    heldOut: join(...all.filter(i => held.has(i)).map(document)),
  }
}

const tokenLike = (tokens: Tokens, values: readonly number[]): Tokens =>
  tokens instanceof Uint16Array ? Uint16Array.from(values) : Uint32Array.from(values)

function join(...parts: readonly Tokens[]): Tokens {
  const out = tokenArray(parts[0] instanceof Uint32Array ? Infinity : 0, parts.reduce((n, p) => n + p.length, 0))
  let at = 0
  for (const part of parts) {
    out.set(part, at)
    at += part.length
  }
  return out
}
