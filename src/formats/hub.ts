/** Models of the Hugging Face Hub: a revision's files in the cache that Hugging Face's own tools use, each checked before it is used. */
import { mkdir, readFile, readlink, symlink, unlink } from 'node:fs/promises'
import { homedir } from 'node:os'
import { dirname, isAbsolute, join, relative } from 'node:path'
import type { ListFileEntry } from '@huggingface/hub'
import { z } from 'zod'
import { FileError, MeshworkError, UsageError } from '../core/errors.ts'
import { didYouMean } from '../core/nearest.ts'
import { cannotWrite, isSystemError, writeFileAtomic } from '../io/atomic.ts'
import { disk } from '../io/files.ts'
import { withLock } from '../io/lock.ts'
import { download, isRight, type Download, type Sum } from './hub-file.ts'

/** Loaded when a server is asked: most commands ask none. */
const client = () => import('@huggingface/hub')

export interface HubOptions {
  /** A branch, a tag or a commit; `main` unless said. */
  readonly revision?: string | undefined
  /** Which files are wanted; the weights as safetensors, configurations and tokenizers unless said. */
  readonly wanted?: ((path: string) => boolean) | undefined
  /** Unless said, HF_TOKEN. */
  readonly token?: string | undefined
  /** Unless said, HF_ENDPOINT or https://huggingface.co. */
  readonly endpoint?: string | undefined
  /** Unless said, HF_HUB_CACHE, hub in HF_HOME, or ~/.cache/huggingface/hub. */
  readonly cacheDir?: string | undefined
  /** Asks no server; unless said, whether HF_HUB_OFFLINE is 1. */
  readonly offline?: boolean | undefined
  readonly signal?: AbortSignal | undefined
  readonly onProgress?: ((doneBytes: number, totalBytes: number, file: string) => void) | undefined
  readonly onWait?: ((holder: string) => void) | undefined
  readonly fetch?: typeof fetch | undefined
  readonly pause?: Download['pause']
  readonly idle?: number | undefined
}

export interface HubModel {
  /** A folder with the files under their names. */
  readonly path: string
  readonly commit: string
  readonly files: readonly string[]
}

/** `owner/name`, or a name alone. */
export const isHubId = (text: string): boolean => /^[\w.-]{1,96}(\/[\w.-]{1,96})?$/.test(text) && !/^\.|\.\.|\/\./.test(text)

const pickled = /\.(bin|pt|pth|pkl|pickle|ckpt)$/
const usual = (path: string): boolean => !path.includes('/') && /^(config|generation_config|tokenizer|tokenizer_config|special_tokens_map|vocab|added_tokens|chat_template|preprocessor_config|modules|sentence_bert_config|model\.safetensors\.index)\.json$|\.safetensors$|^(vocab|merges)\.txt$|\.jinja$|^tokenizer\.model$/.test(path) || path === '1_Pooling/config.json'

const cacheOf = (given: string | undefined): string => given ?? process.env['HF_HUB_CACHE'] ?? join(process.env['HF_HOME'] ?? join(homedir(), '.cache', 'huggingface'), 'hub')
/** What is noted beside a snapshot once it is whole: only what is noted was checked. */
const noteSchema = z.object({ commit: z.string().regex(/^[0-9a-f]{40}$/), files: z.array(z.object({ path: z.string(), bytes: z.number() })) })
type Note = z.infer<typeof noteSchema>

/** @throws FileError where there is none of that name, it may not be read, has no weights that are read here, or a file is not what it should be; UsageError for what is no name */
export async function fetchFromHub(id: string, options: HubOptions = {}): Promise<HubModel> {
  if (!isHubId(id)) throw new UsageError({ code: 'hub-id', what: `"${id}" is no model of the Hub`, fix: 'give owner/name' })
  const { revision = 'main', signal } = options
  if (!/^[\w./-]{1,200}$/.test(revision) || revision.includes('..')) throw new UsageError({ code: 'hub-revision', what: `"${revision}" is no revision`, fix: 'give a branch, a tag or a commit' })
  const folder = join(cacheOf(options.cacheDir), `models--${id.replace('/', '--')}`)
  if (options.offline ?? process.env['HF_HUB_OFFLINE'] === '1') return kept(id, folder, revision, 'the network is not to be used', options)
  try {
    return await withLock(folder, options, () => fetched(id, folder, revision, options))
  } catch (cause) {
    signal?.throwIfAborted()
    if (cause instanceof MeshworkError) throw cause
    if (isSystemError(cause) && cause.syscall !== 'connect' && !cause.syscall?.startsWith('getaddrinfo')) throw cannotWrite(folder, cause)
    return kept(id, folder, revision, cause instanceof Error ? (cause.cause instanceof Error ? `${cause.message}: ${cause.cause.message}` : cause.message) : String(cause), options, cause)
  }
}

/** What was fetched before; the newest of a branch that is known here. */
async function kept(id: string, folder: string, revision: string, why: string, { wanted }: HubOptions, cause?: unknown): Promise<HubModel> {
  const commit = /^[0-9a-f]{40}$/.test(revision) ? revision : (await readFile(join(folder, 'refs', revision), 'utf8').catch(() => '')).trim()
  const note = /^[0-9a-f]{40}$/.test(commit) ? await noteOf(folder, commit) : undefined
  const whole = note !== undefined && (wanted === undefined || note.files.some(f => wanted(f.path))) ? await wholeOf(folder, note) : undefined
  if (whole !== undefined) return whole
  throw new FileError({ code: 'hub-unreached', what: `${id} at ${revision} is not in the cache, and the Hub cannot be asked`, details: { cache: folder, reason: why }, fix: 'check the network; HF_ENDPOINT names another server', ...cause === undefined ? {} : { cause } })
}

const notePath = (folder: string, commit: string): string => join(folder, `.meshwork-${commit}.json`)
const noteOf = async (folder: string, commit: string): Promise<Note | undefined> => {
  try {
    return noteSchema.parse(JSON.parse(await readFile(notePath(folder, commit), 'utf8')))
  } catch {
    return undefined
  }
}

/** A snapshot whose files all are there in their sizes. */
async function wholeOf(folder: string, { commit, files }: Note): Promise<HubModel | undefined> {
  const path = join(folder, 'snapshots', commit)
  for (const file of files) {
    const info = await disk.info(join(path, file.path)).catch(() => undefined)
    if (info?.kind !== 'file' || info.size !== file.bytes) return undefined
  }
  return { path, commit, files: files.map(f => f.path) }
}

async function fetched(id: string, folder: string, revision: string, options: HubOptions): Promise<HubModel> {
  const { signal, fetch: given = fetch } = options
  const endpoint = (options.endpoint ?? process.env['HF_ENDPOINT'] ?? 'https://huggingface.co').replace(/\/+$/, '')
  const token = options.token ?? process.env['HF_TOKEN']
  const headers: Record<string, string> = token === undefined || token === '' ? {} : { Authorization: `Bearer ${token}` }
  const asked: typeof fetch = (url, init) => given(url, { ...init, headers: { ...Object.fromEntries(new Headers(init?.headers)), ...headers }, ...signal === undefined ? {} : { signal } })
  const common = { hubUrl: endpoint, fetch: asked }
  const commit = await commitOf(id, revision, common)
  const note = await noteOf(folder, commit)
  const before = note === undefined || options.wanted !== undefined ? undefined : await wholeOf(folder, note)
  if (before === undefined) {
    const listed: ListFileEntry[] = []
    try {
      const { listFiles } = await client()
      for await (const entry of listFiles({ ...common, repo: { type: 'model', name: id }, revision: commit, recursive: true })) if (entry.type === 'file') listed.push(entry)
    } catch (cause) {
      throw explained(id, revision, cause)
    }
    const files = chosen(id, listed, options.wanted ?? usual)
    await room(folder, files)
    const total = files.reduce((n, f) => n + f.size, 0)
    let done = 0
    for (const file of files) {
      await placed(folder, commit, file, { url: `${endpoint}/${id}/resolve/${commit}/${file.path.split('/').map(encodeURIComponent).join('/')}`, headers, fetch: given, signal, pause: options.pause, idle: options.idle, onBytes: bytes => options.onProgress?.(done + bytes, total, file.path) })
      done += file.size
    }
    await writeFileAtomic(notePath(folder, commit), `${JSON.stringify({ commit, files: files.map(f => ({ path: f.path, bytes: f.size })) })}\n`)
  }
  if (revision !== commit) {
    await mkdir(dirname(join(folder, 'refs', revision)), { recursive: true })
    await writeFileAtomic(join(folder, 'refs', revision), commit)
  }
  const now = before ?? await noteOf(folder, commit).then(n => (n === undefined ? undefined : wholeOf(folder, n)))
  if (now === undefined) throw new FileError({ code: 'hub-cache', what: `the cache of ${id} was changed while it was filled`, details: { cache: folder }, fix: 'run it again' })
  return now
}

async function commitOf(id: string, revision: string, common: { readonly hubUrl: string; readonly fetch: typeof fetch }): Promise<string> {
  if (/^[0-9a-f]{40}$/.test(revision)) return revision
  const { modelInfo } = await client()
  const info = await modelInfo({ ...common, name: id, revision, additionalFields: ['sha'] }).catch((cause: unknown) => { throw explained(id, revision, cause) })
  const { sha } = info as { readonly sha?: unknown }
  if (typeof sha === 'string' && /^[0-9a-f]{40}$/.test(sha)) return sha
  throw new FileError({ code: 'hub-answer', what: `the Hub does not say which commit ${revision} of ${id} is`, fix: 'give the commit as the revision' })
}

/** What the server says, in our words; what is not said by it is passed on. */
function explained(id: string, revision: string, cause: unknown): unknown {
  const status = cause instanceof Error && 'statusCode' in cause ? Number(cause.statusCode) : undefined
  if (status === undefined) return cause
  const reason = cause instanceof Error ? cause.message : String(cause)
  if (status === 401 || status === 403) return new FileError({ code: 'hub-access', what: `${id} may not be read`, details: { reason }, fix: 'check the name; of a model that is private or gated, accept its terms on its page and set HF_TOKEN', cause })
  if (status === 404) return new FileError({ code: 'hub-unknown', what: `the Hub has no ${id} at revision ${revision}`, details: { reason }, fix: 'check the name and the revision', cause })
  return new FileError({ code: 'network', what: `the Hub answers ${status}`, details: { reason }, fix: 'try again later', cause })
}

function chosen(id: string, listed: readonly ListFileEntry[], wanted: (path: string) => boolean): readonly ListFileEntry[] {
  const odd = listed.find(({ path }) => isAbsolute(path) || path.split('/').some(part => part === '' || part === '.' || part === '..') || /[\\\0]/.test(path))
  if (odd !== undefined) throw new FileError({ code: 'hub-path', what: `${id} lists a file ${JSON.stringify(odd.path)}, which would lie outside of its folder`, fix: 'do not use it' })
  const files = listed.filter(({ path }) => wanted(path))
  const heavy = files.some(({ path }) => /\.(safetensors|gguf)$/.test(path))
  const bin = listed.find(({ path }) => pickled.test(path))
  if (!heavy && bin !== undefined) throw new FileError({ code: 'pickled', what: `${id} has its weights as ${bin.path} alone: pickled files can run any program, and are not read`, fix: 'ask for safetensors, or convert them with transformers where you trust their maker' })
  if (files.length === 0) throw new FileError({ code: 'hub-empty', what: `${id} has none of the files that are wanted`, fix: didYouMean('model.safetensors', listed.map(f => f.path)) })
  return files
}

async function room(folder: string, files: readonly ListFileEntry[]): Promise<void> {
  const needed = files.reduce((n, f) => n + f.size, 0)
  const free = await disk.free(folder)
  if (free !== undefined && free < needed) throw new FileError({ code: 'disk-full', what: `the disk has ${free} bytes left, and up to ${needed} are to be downloaded`, details: { cache: folder }, fix: 'make room, or set HF_HUB_CACHE to a folder of another disk' })
}

/** A blob by its checksum, and a link to it in the snapshot, as Hugging Face's own tools have them. */
async function placed(folder: string, commit: string, { path, size, oid, lfs }: ListFileEntry, request: Omit<Download, 'to' | 'bytes' | 'sum'>): Promise<void> {
  const sum: Sum | undefined = lfs === undefined ? (oid !== undefined && /^[0-9a-f]{40}$/.test(oid) ? { gitSha1: oid } : undefined) : /^[0-9a-f]{64}$/.test(lfs.oid) ? { sha256: lfs.oid } : undefined
  if (sum === undefined) throw new FileError({ code: 'checksum', what: `the Hub gives no checksum of ${path}`, fix: 'nothing is used unchecked: give another revision' })
  const blob = join(folder, 'blobs', 'sha256' in sum ? sum.sha256 : sum.gitSha1)
  const pointer = join(folder, 'snapshots', commit, path)
  await mkdir(dirname(blob), { recursive: true })
  await mkdir(dirname(pointer), { recursive: true })
  // One that another tool left is looked at before it is used.
  if (!await isRight(blob, size, sum, request.signal)) {
    await unlink(blob).catch(() => undefined)
    await download({ ...request, to: blob, bytes: size, sum })
  } else request.onBytes?.(size)
  const target = relative(dirname(pointer), blob)
  if (await readlink(pointer).catch(() => undefined) === target) return
  await unlink(pointer).catch(() => undefined)
  await symlink(target, pointer)
}
