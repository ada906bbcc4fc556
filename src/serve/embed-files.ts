/** Texts in files to a file of vectors: in order, each once, in flat memory, and gone on with where it was left. */
import { stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { DataError, FileError } from '../core/errors.ts'
import type { PlainObject } from '../core/plain.ts'
import type { DocumentFormat } from '../data/index.ts'
import { anyOf, barrier, fromFirst, type Processes } from '../engine/index.ts'
import type { Embedder } from './embed.ts'
import { PartialWork } from './partial.ts'
import { behind, known, nothingIn, openInputs, stretches, textsOf, type TextItem } from './stream.ts'
import { requireVectorFile, writeVectors } from './vector-file.ts'

export interface EmbedFilesOptions {
  /** Files, folders, patterns or addresses. */
  readonly input: readonly string[]
  /** What they are, where their names do not tell; and which field holds the text. */
  readonly format?: DocumentFormat | undefined
  /** By its ending: .parquet, .jsonl, .npy. */
  readonly output: string
  /** What decides the vectors beside the texts: the model and its options. Work that was begun with another is not gone on with. */
  readonly identity: PlainObject
  /** Texts that are worked on together. */
  readonly stretch: number
  /** Throws away what was begun, and a file that is there. */
  readonly restart?: boolean
  readonly processes: Processes
  readonly signal?: AbortSignal | undefined
  /** Hears how many texts are done, how many of them were before, and which share of the input that is where it is known: now, and at the start. */
  readonly onProgress?: ((done: number, before: number, share: number | undefined) => void) | undefined
}
export interface EmbeddedFiles {
  readonly output: string
  readonly texts: number
  /** Numbers of a vector. */
  readonly size: number
  /** Texts that were longer than the window, and lost their ends. */
  readonly cut: number
  readonly window: number
  /** Texts that were done when this began. */
  readonly before: number
}

interface Text { readonly at: string; readonly text: string; readonly share: number | null }
const textOf = ({ at, content }: TextItem): string => {
  if (typeof content === 'string') return content
  throw new DataError({ code: 'not-text', what: 'a record is a chat, no text', details: { in: at }, fix: 'say which field holds the text: --field' })
}

/** Under MPI every rank calls it; rank 0 reads and writes. @throws DataError, FileError, UsageError; the signal's reason */
export async function embedFiles(embedder: Pick<Embedder, 'size' | 'window' | 'embed'>, { input, format, output, identity, stretch, restart = false, processes, signal, onProgress = () => {} }: EmbedFilesOptions): Promise<EmbeddedFiles> {
  const folder = join(dirname(output), `.${basename(output)}.partial`)
  const { rank } = processes
  const first = async (): Promise<{ readonly work: PartialWork; readonly parts: Awaited<ReturnType<typeof openInputs>>['parts'] }> => {
    requireVectorFile(output)
    if (!restart && await stat(output).then(() => true, () => false)) throw new FileError({ code: 'out-exists', what: `${output} is there already`, fix: 'give another --output, or --restart to make it anew' })
    const { parts, fingerprint } = await openInputs(input, format)
    return { parts, work: await PartialWork.open(folder, 'vectors.f32', { ...identity, texts: fingerprint, field: format ?? null, size: embedder.size }, restart) }
  }
  let mine: Awaited<ReturnType<typeof first>> | undefined
  const before = await fromFirst(processes, 'what is done already', async () => {
    mine = await first()
    return mine.work.reached.items
  })
  try {
    const read = async function* (): AsyncGenerator<readonly Text[]> {
      const all = (async function* () { for await (const { item, share } of textsOf(mine?.parts ?? [])) yield { at: item.at, text: textOf(item), share: share ?? null } })()
      yield* stretches(behind(all, before), stretch)
    }
    let [done, cut] = [before, mine?.work.reached.counts['cut'] ?? 0]
    for await (const texts of known(processes, 'the next texts', read)) {
      const found = await embedder.embed(texts.map(t => t.text), n => {
        if (processes.count === 1) signal?.throwIfAborted()
        onProgress(done + n, before, texts[n - 1]?.share ?? undefined)
      })
      const cutHere = found.cut.filter(c => c).length
      const data = new Float32Array(texts.length * embedder.size)
      found.vectors.forEach((vector, i) => { data.set(vector, i * embedder.size) })
      const odd = data.findIndex(x => !Number.isFinite(x))
      if (odd >= 0) throw new DataError({ code: 'not-finite', what: `a text's vector is not finite: ${data[odd]}`, details: { in: texts[Math.floor(odd / embedder.size)]?.at ?? '' }, fix: 'the weights are not finite, or the numbers leave the range of the dtype that is computed in' })
      await mine?.work.add(new Uint8Array(data.buffer), texts.length, { cut: cutHere })
      done += texts.length
      cut += cutHere
      if (await anyOf(processes, 'whether to stop', signal?.aborted === true)) {
        signal?.throwIfAborted()
        throw new DOMException('stopped in another process', 'AbortError')
      }
    }
    if (done === 0) throw nothingIn(input)
    if (rank === 0 && mine !== undefined) {
      await writeVectors(output, mine.work.path, done, embedder.size)
      await mine.work.remove()
    }
    await barrier(processes, 'the vectors\' file')
    return { output, texts: done, size: embedder.size, cut, window: embedder.window, before }
  } catch (e) {
    // What has nothing to go on with is not left behind.
    if (mine?.work.reached.items === 0) await mine.work.remove()
    throw e
  } finally {
    await mine?.work[Symbol.asyncDispose]()
  }
}
