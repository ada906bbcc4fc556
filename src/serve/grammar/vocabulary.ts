/** The tokens of a model as a tree of their bytes: those that begin alike are tried together. */

/** Of each id the bytes it stands for; undefined for special tokens, which no grammar allows. */
export type TokenTexts = readonly (Uint8Array | undefined)[]

export interface Vocabulary {
  readonly size: number
  readonly texts: TokenTexts
  /** Ids in the order of the tree. */
  readonly ids: Int32Array
  /** Nodes in the order in which the tree is walked: the byte that leads there, the node behind all that lies below, and which of `ids` end there and below. */
  readonly bytes: Uint8Array
  readonly behind: Int32Array
  readonly firstId: Int32Array
  readonly endId: Int32Array
  /** Ids that end at the node itself are the first so many. */
  readonly own: Int32Array
  /** Eight words of 32 bytes each: the bytes that lie below a node, its own left out. */
  readonly below: Uint32Array
  /** How many bytes lie below a node on the longest way. */
  readonly height: Uint16Array
}

export function vocabularyOf(texts: TokenTexts): Vocabulary {
  const order = texts.flatMap((text, id) => (text === undefined || text.length === 0 ? [] : [{ id, text }])).sort((a, b) => Buffer.compare(a.text, b.text))
  const [bytes, behind, first, end, own, height]: number[][] = [[], [], [], [], [], []]
  const below: number[] = []
  const ids = Int32Array.from(order, o => o.id)
  // Depth first: tokens are sorted, so those below a node are neighbours.
  const build = (from: number, to: number, depth: number, mark: (byte: number) => void): number => {
    let highest = 0
    for (let i = from; i < to;) {
      const byte = (order[i]?.text[depth]) as number
      let j = i
      while (j < to && order[j]?.text[depth] === byte) j++
      const node = (bytes as number[]).push(byte) - 1
      mark(byte)
      below.push(0, 0, 0, 0, 0, 0, 0, 0)
      let ending = i
      while (ending < j && order[ending]?.text.length === depth + 1) ending++
      ;(first as number[]).push(i)
      ;(end as number[]).push(j)
      ;(own as number[]).push(ending - i)
      ;(behind as number[]).push(0)
      ;(height as number[]).push(0)
      const deep = build(ending, j, depth + 1, b => {
        below[node * 8 + (b >>> 5)] = (below[node * 8 + (b >>> 5)] as number) | 1 << (b & 31)
        mark(b)
      })
      ;(behind as number[])[node] = (bytes as number[]).length
      ;(height as number[])[node] = deep
      highest = Math.max(highest, deep + 1)
      i = j
    }
    return highest
  }
  build(0, order.length, 0, () => {})
  return { size: texts.length, texts, ids, bytes: Uint8Array.from(bytes as number[]), behind: Int32Array.from(behind as number[]), firstId: Int32Array.from(first as number[]), endId: Int32Array.from(end as number[]), own: Int32Array.from(own as number[]), below: Uint32Array.from(below), height: Uint16Array.from(height as number[]) }
}
