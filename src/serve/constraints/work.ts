/** What the thread that works out constraints is told, and tells. */
import type { Constraint } from '../asking.ts'
import type { TokenTexts } from '../grammar/index.ts'

export interface Work {
  /** Of the place that is asked for. */
  readonly serial: number
  /** Of the place before it, where there is one: the last token of the path leads from there. */
  readonly before?: number | undefined
  readonly grammar: number
  readonly constraint: Constraint
  /** Tokens from the beginning on. */
  readonly path: Int32Array
}
export type Found =
  | { readonly serial: number; readonly mask: Uint32Array; readonly mayEnd: boolean }
  /** The last token may not come. */
  | { readonly serial: number; readonly gone: true }
  | { readonly serial: number; readonly failed: { readonly code: string; readonly what: string; readonly fix?: string } }

/** Texts of tokens as two arrays: a million objects take long to send. A length of −1 stands for none. */
export interface Packed { readonly bytes: Uint8Array; readonly lengths: Int32Array }
export function pack(texts: TokenTexts): Packed {
  const bytes = new Uint8Array(texts.reduce((n, t) => n + (t?.length ?? 0), 0))
  let at = 0
  const lengths = Int32Array.from(texts, t => {
    if (t === undefined) return -1
    bytes.set(t, at)
    at += t.length
    return t.length
  })
  return { bytes, lengths }
}
export function unpack({ bytes, lengths }: Packed): TokenTexts {
  let at = 0
  return Array.from(lengths, n => (n < 0 ? undefined : bytes.subarray(at, at += n)))
}
