/** From text to batches: corpus, tokenizer, packed tokens, all of it from the cache where it was made before. */
import { setImmediate as breathe } from 'node:timers/promises'
import { FileError, UsageError } from '../core/errors.ts'
import {
  fixedBatches, trainingBatches, type Batch, type BatchOrder, type BatchShape, type FixedOrder, type Tokens, type TrainingOrder,
} from './batches.ts'
import { endOfText, trainBpe } from './bpe.ts'
import { alphabet } from './bytes.ts'
import { cachePath, readEntry, writeEntry, type Entry } from './cache.ts'
import { defaultCorpus, readCorpus, type Corpus } from './corpus.ts'
import { pack, holdOut } from './dataset.ts'
import type { TextFile } from './text-file.ts'
import { createTokenizer, type Tokenizer } from './tokenizer.ts'
import { countWords } from './words.ts'

export interface DataProgress {
  /** In this order: words are counted, tokens learnt, documents encoded. Nothing is told on a cache hit. */
  readonly stage: 'count' | 'learn' | 'encode'
  readonly done: number
  readonly total: number
}

export interface DatasetOptions {
  /** UTF-8 text files; none for the default corpus. */
  readonly files?: readonly TextFile[] | undefined
  /** Tokens of the vocabulary at most, from 257 (the bytes and `<|endoftext|>`) on. */
  readonly vocab: number
  /** What will be asked for: both parts then have a batch at least, or the error comes here. */
  readonly shape?: BatchShape | undefined
  readonly onProgress?: ((progress: DataProgress) => void) | undefined
  /** Instead of MESHWORK_CACHE_DIR or the user's cache folder. */
  readonly cacheDir?: string | undefined
}

export interface Dataset {
  readonly name: string
  /** Equal for equal text and vocabulary, however they came here. */
  readonly identity: string
  /** Undefined for the user's own files. */
  readonly licence: string | undefined
  readonly tokenizer: Tokenizer
  readonly documents: number
  readonly train: { readonly tokens: Tokens; readonly batches: (order: TrainingOrder) => BatchOrder }
  readonly heldOut: { readonly tokens: Tokens; readonly batches: (order: FixedOrder) => readonly Batch[] }
  readonly fromCache: boolean
  /** Why the cache does not hold it for the next time, if so: worth a warning, no more. */
  readonly cacheProblem: FileError | undefined
}

/**
 * Text ready to train on. The tokenizer is trained on all of the text, the held-out part too.
 * @throws DataError when the text cannot be read or is too short; UsageError when `vocab` is too small.
 */
export async function loadDataset(options: DatasetOptions): Promise<Dataset> {
  const { files = [], vocab, shape, onProgress } = options
  if (!Number.isInteger(vocab) || vocab <= alphabet.length) {
    throw new UsageError({
      code: 'vocab-size', what: `the vocabulary cannot have ${vocab} tokens`,
      fix: `a whole number from ${alphabet.length + 1} on: the ${alphabet.length} bytes and ${endOfText}`,
    })
  }
  const corpus = files.length === 0 ? await defaultCorpus() : await readCorpus(files)
  const path = place(corpus, options)
  const kept = path instanceof FileError ? undefined : await readEntry(path)
  const { tokenizer, packed } = kept ?? await build(corpus, vocab, onProgress)
  const cacheProblem = path instanceof FileError ? path : kept === undefined ? await keep(path, { tokenizer, packed }) : undefined
  const { train, heldOut } = holdOut(packed, tokenizer.endOfText, shape)
  return {
    name: corpus.name, identity: `${corpus.identity} ${vocab}`, licence: corpus.licence, tokenizer, documents: packed.ends.length, fromCache: kept !== undefined, cacheProblem,
    train: { tokens: train, batches: order => trainingBatches(train, order) },
    heldOut: { tokens: heldOut, batches: order => fixedBatches(heldOut, order) },
  }
}

async function build(corpus: Corpus, vocab: number, onProgress: DatasetOptions['onProgress']): Promise<Entry> {
  const documents = await corpus.documents()
  const tell = (stage: DataProgress['stage'], total: number) => (done: number) => onProgress?.({ stage, done, total })
  const counts = countWords(documents, tell('count', documents.length))
  // Between the stages the loop turns once, so that a signal or a redraw that waits gets its turn.
  await breathe()
  const tokenizer = createTokenizer(trainBpe(counts, { vocab, onMerge: tell('learn', vocab) }))
  await breathe()
  return { tokenizer, packed: pack(documents, tokenizer, tell('encode', documents.length)) }
}

// A cache that cannot be found or written costs time, not the run.

function place({ identity }: Corpus, { vocab, cacheDir }: DatasetOptions): string | FileError {
  try {
    return cachePath(identity, vocab, cacheDir)
  } catch (problem) {
    if (problem instanceof FileError) return problem
    throw problem
  }
}

async function keep(path: string, entry: Entry): Promise<FileError | undefined> {
  try {
    await writeEntry(path, entry)
    return undefined
  } catch (problem) {
    if (problem instanceof FileError) return problem
    throw problem
  }
}
