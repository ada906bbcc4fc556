/** A tokenizer learnt from documents: words are counted in workers, over a share of the text that is spread over all parts. */
import { documentsOf, type DocumentPart, type Piece } from '../documents.ts'
import { trainTokenizer } from '../tokenizer-json.ts'
import type { Tokenizer } from '../tokenizer.ts'
import { words } from '../words.ts'
import { inOrder, WorkerPool } from './pool.ts'

/** More text changes merges no more, and would cost memory for words that occur once. */
export const learnBytes: number = 1 << 27

export type CountJob = { readonly piece: Piece } | 'collect'
type Counts = readonly (readonly [string, number])[]

/** Counts words over all the pieces it is given; `collect` gives what it has. */
export function wordCounter(): (job: CountJob) => Promise<Counts | number> {
  const counts = new Map<string, number>()
  return async job => {
    if (job === 'collect') return [...counts]
    let documents = 0
    for await (const { content } of documentsOf(job.piece)) {
      for (const text of typeof content === 'string' ? [content] : content.map(m => m.content)) {
        for (const some of words(text)) for (const w of some) counts.set(w, (counts.get(w) ?? 0) + 1)
      }
      documents++
    }
    return documents
  }
}

export interface LearnOptions {
  readonly vocab: number
  readonly workers: number
  /** About how much is read, in bytes of the files. */
  readonly bytes?: number
  readonly pieceBytes: number
  readonly onProgress: (stage: 'count' | 'learn', done: number, total: number) => void
  readonly signal?: AbortSignal | undefined
}

/** The same for the same parts, however many workers. @throws DataError when a document cannot be read; the signal's reason. */
export async function learnTokenizer(parts: readonly DocumentPart[], { vocab, workers, bytes = learnBytes, pieceBytes, onProgress, signal }: LearnOptions): Promise<Tokenizer> {
  const total = parts.reduce((n, p) => n + (p.bytes ?? 0), 0)
  const share = Math.min(1, bytes / Math.max(1, total))
  const pool = new WorkerPool<CountJob, Counts | number>({ kind: 'count', init: undefined }, workers, wordCounter)
  async function* chosen(): AsyncGenerator<Piece> {
    for (const part of parts) {
      for await (const piece of part.pieces({ bytes: pieceBytes })) {
        signal?.throwIfAborted()
        // The first of each part, and of the others so many that they make the share.
        if (Math.ceil((piece.index + 1) * share) > Math.ceil(piece.index * share)) yield piece
      }
    }
  }
  try {
    let done = 0
    const sized = inOrder(chosen(), Math.max(1, 2 * workers), async piece => {
      const size = piece.to - piece.from
      await pool.run({ piece })
      return size
    })
    for await (const size of sized) onProgress('count', done += size, total * share)
    const counts = new Map<string, number>()
    for (const some of await pool.all('collect')) for (const [w, n] of some as Counts) counts.set(w, (counts.get(w) ?? 0) + n)
    return trainTokenizer(counts, { vocab, onMerge: n => onProgress('learn', n, vocab) })
  } finally {
    await pool.close()
  }
}
