/** The parts behind names, and their pieces. */
import { UsageError, type DataError } from '../../core/errors.ts'
import { didYouMean } from '../../core/nearest.ts'
import { openBytes, withBytes } from './byte-source.ts'
import { compressionOf, decompressed, type Compression } from './compressed.ts'
import { CsvScanner, delimiterOf } from './csv.ts'
import { cut, type Cut, type Scanner } from './cut.ts'
import { fault } from './faults.ts'
import { isAddress } from './http.ts'
import { LineScanner } from './jsonl.ts'
import { filesOf, formatOf } from './names.ts'
import type { ByteSource } from './source.ts'
import { TarScanner } from './tar.ts'
import { TextScanner } from './text.ts'
import type { DocumentFormat, DocumentPart, Piece } from './types.ts'

type Of<K extends DocumentFormat['format']> = Extract<DocumentFormat, { readonly format: K }>
type Sequential = Exclude<DocumentFormat['format'], 'parquet'>

const scanners: { readonly [K in Sequential]: (name: string, format: DocumentFormat) => Scanner } = {
  text: (name, format) => new TextScanner(name, format as Of<'text'>),
  jsonl: name => new LineScanner(name),
  csv: (name, format) => new CsvScanner(name, format as Of<'csv'>),
  tar: name => new TarScanner(name),
}

/** Enough for a worker to be busy for longer than handing it over takes. */
const pieceBytes = 2 ** 20

/**
 * The parts behind names: files, folders, globs, addresses, in an order that does not depend on the file system: that of the names, and
 * within a folder or pattern that of the paths' code units. `shard-{000..099}.tar` stands for a hundred files or addresses.
 * @throws DataError for what is not there or does not tell its format; UsageError for what is named twice, and a format that there is not.
 */
export async function openParts(names: readonly string[], options: { readonly format?: DocumentFormat } = {}): Promise<readonly DocumentPart[]> {
  if (names.length === 0) throw new UsageError({ code: 'no-files', what: 'no data is named', fix: 'name files, folders, patterns or addresses' })
  if (options.format !== undefined) checkFormat(options.format)
  const files = await filesOf(names, options.format !== undefined)
  const parts: DocumentPart[] = []
  for (const name of files) parts.push(await part(name, options.format))
  return parts
}

/** A name without an ending, such as LICENSE or /dev/stdin. */
const isBare = (name: string): boolean => !isAddress(name) && !/\.[A-Za-z0-9]+$/.test(name)

const untold = (name: string): DataError => fault({
  code: 'no-format', what: `the name ${name} does not tell its format`,
  fix: /\.json$/i.test(name) ? 'if it has an object a line, call it .jsonl or give the format jsonl; a list of objects becomes that by jq -c .[]' : 'give the format, one of text, jsonl, parquet, csv or tar: for a run --set data.format=text; data prepare has a flag for it',
})

const known = ['text', 'jsonl', 'parquet', 'csv', 'tar']
function checkFormat(format: DocumentFormat): void {
  if (!known.includes(format.format)) throw new UsageError({ code: 'no-format', what: `there is no format "${String(format.format)}"`, fix: didYouMean(String(format.format), known) })
  if (format.format === 'csv') delimiterOf(format)
  if (format.format === 'text' && (format.separator === '' || format.separator?.includes('\n'))) throw new UsageError({ code: 'separator', what: 'a separator is a line with something on it', fix: 'give a line such as <|endoftext|>' })
}

async function part(name: string, given: DocumentFormat | undefined): Promise<DocumentPart> {
  // It is opened for its size, and to tell at once what is not there, before anything else of it. A pipe stays open: it has been begun.
  const opened = await openBytes(name)
  const format = given ?? formatOf(name) ?? (isBare(name) ? { format: 'text' } as const : undefined)
  if (format === undefined) {
    await opened.close()
    throw untold(name)
  }
  const pipe = !opened.ranged && !isAddress(name) ? opened : undefined
  if (pipe === undefined) await opened.close()
  const use = <R>(go: (source: ByteSource) => Promise<R>): Promise<R> => pipe === undefined ? withBytes(name, opened.version, go) : go(pipe)
  return {
    name, bytes: opened.size,
    fingerprint: () => use(source => source.fingerprint()),
    async *pieces({ after = -1, bytes = pieceBytes } = {}) {
      const source = pipe ?? await openBytes(name, opened.version)
      try {
        let index = 0
        for await (const found of cuts(source, format, bytes, i => i > after)) {
          if (index > after) yield pieceOf(source, format, index, found)
          index++
        }
      } finally {
        await source.close()
      }
    },
  }
}

const pieceOf = (source: ByteSource, format: DocumentFormat, index: number, found: Cut): Piece =>
  ({ part: source.name, format, index, ...found, ...(source.version === undefined ? {} : { version: source.version }) })

async function* cuts(source: ByteSource, format: DocumentFormat, bytes: number, wanted: (index: number) => boolean): AsyncGenerator<Cut> {
  if (source.size === 0 && !named(source.name)) return
  if (format.format === 'parquet') {
    if (named(source.name)) throw compressedParquet(source.name)
    // As where pieces are read: loaded where there is such a file.
    if (format.messages !== undefined) yield* (await import('./parquet/chat.ts')).chatCuts(source, format.messages)
    else yield* (await import('./parquet/column.ts')).columnCuts(source, format.field ?? 'text', bytes)
    return
  }
  const { chunks, compression } = await opened(source)
  // What is near is read again by whoever makes documents of it; the rest goes along.
  const near = source.near && compression === undefined
  yield* cut(chunks, scanners[format.format](source.name, format), bytes, near ? () => false : wanted)
}

/** What the name says of its compression. */
function named(name: string): Compression | undefined {
  const ending = /\.(gz|tgz|zst|zstd|tzst)$/i.exec(isAddress(name) && URL.canParse(name) ? new URL(name).pathname : name)?.[1]?.toLowerCase()
  return ending === undefined ? undefined : ending.includes('z') && ending.includes('g') ? 'gzip' : 'zstd'
}

const compressedParquet = (name: string): DataError => fault({ code: 'no-ranges', what: `${name} is compressed, and Parquet's index is at its end`, fix: 'unpack it: its columns are compressed already' })

/** The bytes in order, unpacked: the first of them say how they are compressed, whatever the name says. */
async function opened(source: ByteSource): Promise<{ readonly chunks: AsyncIterable<Buffer>; readonly compression: Compression | undefined }> {
  const stream = source.stream()[Symbol.asyncIterator]()
  const first = await stream.next()
  const head = first.done === true ? Buffer.alloc(0) : first.value
  const compression = compressionOf(head)
  const told = named(source.name)
  if (told !== undefined && compression !== told) {
    await stream.return?.()
    throw fault({ code: 'spoilt-archive', what: head.length === 0 ? `${source.name} is empty` : `${source.name} is not compressed by ${told}`, fix: `it is damaged, or its name is wrong: see what file ${isAddress(source.name) ? 'NAME' : source.name} says` })
  }
  async function* all(): AsyncGenerator<Buffer> {
    try {
      if (first.done !== true) yield first.value
      for (let next = await stream.next(); next.done !== true; next = await stream.next()) yield next.value
    } finally {
      await stream.return?.()
    }
  }
  return { chunks: compression === undefined ? all() : decompressed(source.name, all(), compression), compression }
}
