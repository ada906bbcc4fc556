/** Files → a store: tokenised once, in worker threads and over ranks, resumable, the same bytes however it came about. */
import { availableParallelism } from 'node:os'
import { readdir, readFile, rename, rm, stat } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { DataError, UsageError } from '../../core/errors.ts'
import { cannotWrite, isSystemError, writeFileAtomic } from '../../io/atomic.ts'
import { sha256 } from '../../io/checksum.ts'
import { withLock } from '../../io/lock.ts'
import { alphabet } from '../bytes.ts'
import { openParts, type DocumentFormat, type DocumentPart, type Piece } from '../documents.ts'
import { parseTokenizer, readTokenizer } from '../tokenizer-json.ts'
import type { Tokenizer } from '../tokenizer.ts'
import type { ChatRules } from '../tasks/chat.ts'
import { pieceEncoder, type Encoded, type Encoding } from './encode.ts'
import { syncFolder } from './files.ts'
import { finishStore } from './finish.ts'
import { learnTokenizer } from './learn.ts'
import { files, readManifest, type Manifest, type Settings } from './manifest.ts'
import { typeFor } from './megatron.ts'
import { differenceOf, readPlan, requireContinuable, requireSamePlan, writePlan, type Plan } from './plan.ts'
import { inOrder, WorkerPool } from './pool.ts'
import { barrier, fromRank0, oneRank, type Ranks } from './ranks.ts'
import { seen } from './seen.ts'
import { mendSegments, placedChunks, Segment, type Placed } from './segment.ts'

/** `done` and `total` in bytes of the files, in tokens while they are learnt. Without a total nobody knows how much there is, as of a pipe. */
export interface PrepareProgress { readonly stage: 'count' | 'learn' | 'encode' | 'finish'; readonly done: number; readonly total: number | undefined; readonly tokens: number; readonly documents: number }

export interface PrepareOptions {
  readonly files: readonly string[]
  /** The store's folder, which is not there before it is whole; or a folder of stores, in which it has a name of its own by what it is made of. */
  readonly out: string | { readonly cache: string }
  /** A tokenizer.json, or how many tokens to learn from the documents. */
  readonly tokenizer: { readonly path: string } | { readonly vocab: number }
  /** Tokens by name that each document begins and ends with; `<|endoftext|>` ends it unless told. */
  readonly begin?: string | null
  readonly end?: string | null
  readonly format?: DocumentFormat
  readonly chat?: ChatRules
  /** Threads that tokenise, in each process; 0 for this one. As many as there are cores unless told. */
  readonly workers?: number
  /** Throws away what was begun before. */
  readonly restart?: boolean
  readonly pieceBytes?: number
  readonly ranks?: Ranks
  readonly signal?: AbortSignal
  readonly onProgress?: (progress: PrepareProgress) => void
  /** Another process prepares the same store, and is waited for. */
  readonly onWait?: (holder: string) => void
}

export interface Prepared {
  readonly folder: string
  readonly manifest: Manifest
  /** False where the store was there already. */
  readonly made: boolean
  /** Chunks that an interrupted run had left done. */
  readonly resumed: number
}

const defaultPiece = 1 << 22

/**
 * Makes a store. Killed at any moment, the same call goes on; nothing is at `out` until all of it is.
 * @throws DataError when a document cannot be read, or `out` is something else; UsageError for options that cannot be; FileError where the disk is full; the signal's reason.
 */
export async function prepareStore(options: PrepareOptions): Promise<Prepared> {
  const { out, ranks = oneRank } = options
  if (options.files.length === 0) throw new UsageError({ code: 'no-files', what: 'there are no files to prepare', fix: 'name the files' })
  if (typeof out === 'string' || ranks.count > 1) return preparedAnew(options)
  const { format, chat, begin, end, pieceBytes, tokenizer } = options
  const before = await seen(out.cache, {
    names: options.files, further: 'path' in tokenizer ? [tokenizer.path] : [], anyFormat: format !== undefined, asked: JSON.stringify({ format, chat, begin, end, pieceBytes, tokenizer }),
  })
  const manifest = before.folder === undefined ? undefined : await existing(before.folder, undefined)
  if (before.folder !== undefined && manifest !== undefined) return { folder: before.folder, manifest, made: false, resumed: 0 }
  const prepared = await preparedAnew(options)
  await before.note(prepared.folder)
  return prepared
}

/** The same, with every file read. */
async function preparedAnew(options: PrepareOptions): Promise<Prepared> {
  const { out, ranks = oneRank, signal } = options
  const parts = await openParts(options.files, options.format === undefined ? {} : { format: options.format })
  const given = 'path' in options.tokenizer ? await readTokenizer(options.tokenizer.path) : checkedVocab(options.tokenizer.vocab)
  const plan: Plan = await fromRank0(ranks, 'what to prepare', async () => ({
    settings: settingsOf(options, given), parts: await Promise.all(parts.map(async p => ({ name: p.name, fingerprint: await p.fingerprint() }))),
  }))
  const folder = resolve(typeof out === 'string' ? out : join(out.cache, sha256(JSON.stringify(contentOf(plan))).slice(0, 24)))
  const work = join(dirname(folder), `.${basename(folder)}.preparing`)
  const there = await fromRank0(ranks, 'whether the store is there', async () => await existing(folder, typeof out === 'string' ? plan : undefined) ?? null)
  if (there !== null) return { folder, manifest: there, made: false, resumed: 0 }
  const job: Job = { ...options, ranks, folder, work, plan, parts, given }
  try {
    // One process of a job holds the lock for all of them.
    if (ranks.rank > 0) return await run(job)
    return await withLock(work, { signal, onWait: options.onWait }, () => run(job))
  } catch (cause) {
    throw isSystemError(cause) ? cannotWrite(folder, cause) : cause
  }
}

/** What the tokens hang on: whatever its files are called, and wherever they lie. */
const contentOf = ({ settings, parts }: Plan): object => ({ settings, parts: parts.map(p => p.fingerprint) })

interface Job extends PrepareOptions {
  readonly ranks: Ranks
  readonly folder: string
  readonly work: string
  readonly plan: Plan
  readonly parts: readonly DocumentPart[]
  /** The tokenizer given, or the size of the one to learn. */
  readonly given: Tokenizer | number
}

async function run(job: Job): Promise<Prepared> {
  const { ranks, folder, work, plan } = job
  const ready = await fromRank0(ranks, 'what there is to go on with', async () => {
    // Whoever held the lock before may have finished it.
    const there = await existing(folder, typeof job.out === 'string' ? plan : undefined)
    if (there !== undefined) await clean(work, { all: true })
    return there ?? await begin(job) ?? null
  })
  if (ready !== null) return { folder, manifest: ready, made: true, resumed: 0 }
  if (await readPlan(work) === undefined) {
    throw new DataError({ code: 'not-shared', what: `rank ${ranks.rank} does not see what rank 0 has written to ${work}`, fix: 'write the store to a folder that all machines share, or prepare it in one process' })
  }
  const tokenizer = await tokenizerOf(job)
  if (ranks.rank === 0) await mendSegments(work, ranks.count)
  const segment = await Segment.open(join(work, `segment-${ranks.rank}`))
  let done: readonly Placed[]
  try {
    // Nobody reads the ledgers before all of them are mended, or writes before all have been read.
    await barrier(ranks, 'what is done')
    done = (await placedChunks(work)).filter(current(plan))
    await barrier(ranks, 'tokenising')
    await encodeAll(job, tokenizer, done, segment)
    await segment.sync()
  } finally {
    await segment.close()
  }
  await barrier(ranks, 'finishing')
  const manifest = await fromRank0(ranks, 'finishing the store', async () => {
    job.onProgress?.({ stage: 'finish', done: 0, total: undefined, tokens: 0, documents: 0 })
    const order = new Map(plan.parts.map((p, i) => [p.name, i]))
    const chunks = (await placedChunks(work)).filter(current(plan))
      .sort((a, b) => (order.get(a.entry.part) ?? 0) - (order.get(b.entry.part) ?? 0) || a.entry.piece - b.entry.piece)
    const { vocab } = tokenizer
    const made = await finishStore({ work, chunks, parts: plan.parts, settings: plan.settings, tokenizer: tokenizer.format(), dtype: typeFor(vocab), vocab })
    await publish(work, folder)
    return made
  })
  return { folder, manifest, made: true, resumed: done.length }
}

/** A chunk of a part as it is now. */
const current = ({ parts }: Plan) => {
  const fingerprints = new Map(parts.map(p => [p.name, p.fingerprint]))
  return ({ entry }: Placed): boolean => fingerprints.get(entry.part) === entry.fingerprint
}

/** The store that is there, if it is what is asked for. @throws DataError where something else is. */
async function existing(folder: string, plan: Plan | undefined): Promise<Manifest | undefined> {
  const names: readonly string[] = await readdir(folder).catch((cause: unknown) => {
    if (isSystemError(cause) && cause.code === 'ENOENT') return []
    if (isSystemError(cause) && cause.code === 'ENOTDIR') throw new DataError({ code: 'out-taken', what: `${folder} is a file`, fix: 'write to another folder', cause })
    throw cause
  })
  if (names.length === 0) return undefined
  if (!names.includes(files.manifest)) throw new DataError({ code: 'out-taken', what: `${folder} holds something else than a store`, details: { holds: names.slice(0, 4).join(', ') }, fix: 'write to a folder that is not there yet' })
  const manifest = await readManifest(folder)
  if (plan !== undefined) requireSamePlan(folder, manifest, plan)
  return manifest
}

/** Makes the working folder ready. Gives the manifest where all that was left to do was to move the store to its place. */
async function begin({ work, folder, plan, out, restart = false }: Job): Promise<Manifest | undefined> {
  if (restart) await clean(work, { all: true, keepLock: true })
  let begun = await readPlan(work)
  // Where the name says what it is made of, files of other names have the same content: there is nothing to ask anybody.
  if (begun !== undefined && typeof out !== 'string' && differenceOf(begun, plan) !== undefined) {
    await clean(work, { all: true, keepLock: true })
    begun = undefined
  }
  if (begun !== undefined) requireContinuable(work, begun, plan)
  if (begun !== undefined && await stat(join(work, files.manifest)).then(() => true, () => false)) {
    const manifest = await readManifest(work)
    requireContinuable(work, { settings: manifest.settings, parts: manifest.parts }, plan)
    if (JSON.stringify(manifest.parts.map(p => [p.name, p.fingerprint])) === JSON.stringify(plan.parts.map(p => [p.name, p.fingerprint]))) {
      await publish(work, folder)
      return manifest
    }
    await rm(join(work, files.manifest))
  }
  await writePlan(work, plan)
  return undefined
}

/** The last step: what only the work needed goes, and the folder takes its place. */
async function publish(work: string, folder: string): Promise<void> {
  await clean(work, { all: false })
  await syncFolder(work)
  await rename(work, folder)
  await syncFolder(dirname(folder))
}

async function clean(work: string, { all, keepLock = false }: { readonly all: boolean; readonly keepLock?: boolean }): Promise<void> {
  const store = new Set<string>(Object.values(files))
  // The plan goes last: as long as it is there, the rest is known to be of it.
  const names = (await readdir(work).catch(() => [])).filter(n => (all || !store.has(n)) && n !== '.lock').sort((a, b) => Number(a === 'plan.json') - Number(b === 'plan.json'))
  for (const name of names) await rm(join(work, name), { recursive: true, force: true })
  if (!keepLock) await rm(join(work, '.lock'), { force: true })
  if (all && !keepLock) await rm(work, { recursive: true, force: true })
}

function checkedVocab(vocab: number): number {
  if (Number.isSafeInteger(vocab) && vocab > alphabet.length) return vocab
  throw new UsageError({ code: 'vocab-size', what: `the vocabulary cannot have ${vocab} tokens`, fix: `a whole number from ${alphabet.length + 1} on: the ${alphabet.length} bytes and <|endoftext|>` })
}

const defaultEnd = '<|endoftext|>'
const defaultChat: ChatRules = { template: 'chatml', loss: ['assistant'] }

const endOf = (given: Tokenizer | number): string => (typeof given === 'number' ? undefined : given.tokens[given.endOfText ?? -1]) ?? defaultEnd

function settingsOf({ begin = null, end, format, chat = defaultChat, pieceBytes = defaultPiece }: PrepareOptions, given: Tokenizer | number): Settings {
  const idOf = (token: string | null): number | null => {
    if (token === null) return null
    // What is learnt has one token by name, the first.
    if (typeof given === 'number' && token === defaultEnd) return 0
    const id = typeof given === 'number' ? -1 : given.tokens.indexOf(token)
    if (id >= 0) return id
    const known = typeof given === 'number' ? [defaultEnd] : given.added.map(t => given.tokens[t.id] ?? '')
    throw new UsageError({ code: 'no-such-token', what: `the tokenizer has no token "${token}"`, fix: `one of ${known.slice(0, 8).join(', ')}, or none` })
  }
  return {
    tokenizer: typeof given === 'number' ? { learnt: given } : { sha256: sha256(given.format()) },
    begin: idOf(begin), end: idOf(end === undefined ? endOf(given) : end), format: format === undefined ? null : { ...format }, chat: typeof chat.template === 'string' ? chat.template : `jinja ${sha256(JSON.stringify(chat.template))}`, loss: [...chat.loss], piece: pieceBytes,
  }
}

async function tokenizerOf({ given, work, ranks, parts, workers = availableParallelism(), pieceBytes = defaultPiece, onProgress, signal }: Job): Promise<Tokenizer> {
  if (typeof given !== 'number') return given
  const path = join(work, files.tokenizer)
  const json = await fromRank0(ranks, 'learning the tokenizer', async () => {
    const kept = await readFile(path, 'utf8').catch(() => undefined)
    if (kept !== undefined) return kept
    const learnt = (await learnTokenizer(parts, {
      vocab: given, workers, pieceBytes, signal, onProgress: (stage, done, total) => onProgress?.({ stage, done, total, tokens: 0, documents: 0 }),
    })).format()
    await writeFileAtomic(path, learnt)
    return learnt
  })
  return parseTokenizer(json, 'the tokenizer learnt')
}

async function encodeAll({ ranks, plan, parts, chat = defaultChat, workers = availableParallelism(), pieceBytes = defaultPiece, onProgress, signal }: Job, tokenizer: Tokenizer, done: readonly Placed[], segment: Segment): Promise<void> {
  const { begin, end } = plan.settings
  const encoding: Encoding = { tokenizer: tokenizer.format(), begin, end, dtype: typeFor(tokenizer.vocab), chat }
  const ready = new Map(parts.map(p => [p.name, new Set<number>()]))
  for (const { entry } of done) ready.get(entry.part)?.add(entry.piece)
  const sizes = parts.map(p => p.bytes)
  const width = encoding.dtype === 'uint16' ? 2 : 4
  const told = { done: sum(done.map(c => c.entry.size)), tokens: sum(done.map(c => c.entry.bytes.tokens)) / width, documents: sum(done.map(c => c.entry.documents)) }
  let total: number | undefined = sizes.some(s => s === undefined) ? undefined : sum(sizes as number[])
  interface Next { readonly piece: Piece; readonly part: number }
  async function* mine(): AsyncGenerator<Next> {
    for (const [part, source] of parts.entries()) {
      const known = ready.get(source.name) ?? new Set()
      let after = -1
      while (known.has(after + 1)) after++
      for await (const piece of source.pieces({ after, bytes: pieceBytes })) {
        signal?.throwIfAborted()
        // Whoever runs this with other ranks takes other pieces; the ledgers say what is done.
        if (!known.has(piece.index) && (piece.index + part) % ranks.count === ranks.rank) yield { piece, part }
      }
    }
  }
  const pool = new WorkerPool<Piece, Encoded>({ kind: 'encode', init: encoding }, workers, () => pieceEncoder(encoding))
  try {
    const chunks = inOrder(mine(), Math.max(1, 2 * workers), async ({ piece, part }) => {
      const { index, from, to, data } = piece
      // What was read by way of this thread is handed over, not copied.
      const transfer = data !== undefined && data.byteLength === data.buffer.byteLength ? [data.buffer as ArrayBuffer] : []
      return { chunk: await pool.run(piece, { transfer }), part, piece: index, size: to - from }
    })
    for await (const { chunk, part, piece, size } of chunks) {
      signal?.throwIfAborted()
      const { name, fingerprint } = plan.parts[part] as Plan['parts'][number]
      await segment.append(chunk, { part: name, fingerprint, piece, size })
      told.done += size
      told.tokens += chunk.tokens.length / width
      told.documents += chunk.documents
      // Of what is compressed the size on the disk says little.
      if (total !== undefined && told.done > total) total = undefined
      onProgress?.({ stage: 'encode', ...told, total })
    }
  } finally {
    await pool.close()
  }
}

const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0)
