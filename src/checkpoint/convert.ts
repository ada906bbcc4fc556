/** Weights from wherever they lie into plain files as other tools have them: one file, or a folder in Hugging Face's layout; another dtype where asked. */
import { randomBytes } from 'node:crypto'
import { basename, dirname, join } from 'node:path'
import { isFloat, dtypes, type DType } from '../core/dtype.ts'
import { FileError } from '../core/errors.ts'
import { cannotWrite, isSystemError } from '../io/atomic.ts'
import { disk, readSmall, removeTree, writeAll, type Files } from '../io/files.ts'
import { castHost, elementsOf } from './cast.ts'
import { checkpointsName, openWeights, type Source, type SourceTensor } from './source.ts'
import { defaultShard, indexName, indexOf, metadataOf, shards } from './plan.ts'
import { bytesOf, elements, layoutFile } from './safetensors.ts'

export interface ConvertOptions {
  /** What floats become; as they are unless given. */
  readonly dtype?: DType | undefined
  /** Bytes of tensors that a file of a folder holds at most. */
  readonly shardBytes?: number | undefined
  /** Whether a file that is there may be replaced; it is, once the new one is whole. */
  readonly force?: boolean | undefined
  readonly onProgress?: (done: number, total: number) => void
  readonly signal?: AbortSignal
  readonly files?: Files
}
export interface Converted { readonly path: string; readonly files: readonly string[]; readonly tensors: number; readonly bytes: number }

/** Bytes that are read, or written, at once. */
const piece = 4 * 2 ** 20

/** Of models that embed sentences: what their texts are cut to, and what becomes of their tokens' vectors. */
const sentenceFiles = ['modules.json', 'sentence_bert_config.json', '1_Pooling/config.json']
/** Files that say what the weights are of, which lie beside them or in the run's folder. */
const companions = ['config.json', 'generation_config.json', 'tokenizer.json', 'tokenizer_config.json', 'special_tokens_map.json', 'chat_template.jinja', ...sentenceFiles]
const largestCompanion = 2 ** 28

interface Entry { readonly name: string; readonly dtype: DType; readonly from: DType; readonly shape: readonly number[]; readonly tensor: SourceTensor }

/**
 * `to` is a file where it ends in `.safetensors`, else a folder that is made. It may be what is read: it is replaced when all is written.
 * @throws FileError where something cannot be read or written, or is there already; the signal's reason
 */
export async function convertWeights(from: string, to: string, options: ConvertOptions = {}): Promise<Converted> {
  const { files = disk } = options
  await using source = await openWeights(from, files)
  return await convertSource(source, to, await companionsIn(await foldersOf(source, files), files), options)
}

/** Files of a folder that are not its weights, by their names. */
export type Companions = readonly (readonly [name: string, bytes: Uint8Array])[]

/** The same of weights that are open, with what is to lie beside them in a folder. @throws as `convertWeights` */
export async function convertSource(source: Source, to: string, beside: Companions, options: ConvertOptions = {}): Promise<Converted> {
  const { files = disk, dtype: wanted, shardBytes = defaultShard, force = false } = options
  const single = to.endsWith('.safetensors')
  await checkTarget(files, to, single, force)
  const entries = [...source.tensors].map(([name, tensor]): Entry => {
    const { dtype, tag, shape } = tensor
    if (dtype === undefined) throw new FileError({ code: 'tensor-dtype', what: `${source.path}: "${name}" is of dtype ${tag}, which cannot be read`, fix: 'convert it to another dtype with the tool that wrote it' })
    return { name, from: dtype, dtype: wanted !== undefined && isFloat(dtype) ? wanted : dtype, shape, tensor }
  })
  const temporary = join(dirname(to), `.${basename(to)}.${process.pid}.${randomBytes(4).toString('hex')}.tmp`)
  const progress = progressOf(entries, options)
  try {
    const written = single
      ? [await writeOne(files, temporary, basename(to), entries, progress)]
      : await writeFolder(files, temporary, entries, shardBytes, beside, progress)
    await files.rename(temporary, to)
    await files.syncFolder(dirname(to))
    return { path: to, files: written.map(w => w.name), tensors: entries.length, bytes: written.reduce((n, w) => n + w.bytes, 0) }
  } catch (cause) {
    await removeTree(files, temporary).catch(() => undefined)
    throw isSystemError(cause) ? cannotWrite(to, cause) : cause
  }
}

type Progress = (bytes: number) => void
function progressOf(entries: readonly Entry[], { onProgress = () => {}, signal }: ConvertOptions): Progress {
  const total = entries.reduce((n, e) => n + bytesOf(e.from, e.shape), 0)
  let done = 0
  return bytes => {
    signal?.throwIfAborted()
    onProgress(done += bytes, total)
  }
}

async function checkTarget(files: Files, to: string, single: boolean, force: boolean): Promise<void> {
  const info = await files.info(to)
  if (info === undefined || (single && force && info.kind === 'file')) return
  if (!single && info.kind === 'folder' && (await files.list(to)).length === 0) return
  throw new FileError({
    code: 'out-exists', what: `${to} is there already`,
    fix: single && info.kind === 'file' ? 'add --force to replace it, or give another name' : 'give another name: --out DIR, or --out DIR.safetensors for one file',
  })
}

interface Written { readonly name: string; readonly bytes: number }

/** Tensors as pieces of at most `piece` bytes, whatever their dtypes are. */
function* piecesOf(places: readonly { readonly tensor: Entry; readonly begin: number }[]): Generator<{ readonly entry: Entry; readonly first: number; readonly count: number; readonly at: number }> {
  for (const { tensor: entry, begin } of places) {
    const [total, step] = [elements(entry.shape), piece / Math.max(dtypes[entry.from].bytes, dtypes[entry.dtype].bytes)]
    for (let first = 0; first < total; first += step) yield { entry, first, count: Math.min(step, total - first), at: begin + first * dtypes[entry.dtype].bytes }
  }
}

async function writeOne(files: Files, path: string, name: string, entries: readonly Entry[], progress: Progress): Promise<Written> {
  const { head, places, size } = layoutFile(entries, metadataOf(entries.flatMap(({ name: path, tensor: { dims } }) => (dims === undefined ? [] : [{ path, value: dims.map(d => d.name) }]))))
  const file = await files.open(path, 'wx')
  // One piece is read while the one before is written; memory that is new to the process costs more than the copying.
  const [first, second] = [new ArrayBuffer(piece), new ArrayBuffer(piece)]
  let writing = Promise.resolve()
  try {
    await writeAll(file, head, 0)
    let memory = first
    for (const { entry: { tensor, from, dtype }, first: start, count, at } of piecesOf(places)) {
      const width = dtypes[from].bytes
      const bytes = new Uint8Array(memory, 0, count * width)
      await tensor.read(bytes, start * width)
      const data = castHost(elementsOf(bytes, from), from, dtype)
      await writing
      writing = writeAll(file, new Uint8Array(data.buffer, data.byteOffset, data.byteLength), at)
      // It is waited for behind the next one's reading.
      writing.catch(() => {})
      progress(bytes.byteLength)
      memory = memory === first ? second : first
    }
    await writing
    await file.sync()
  } finally {
    await writing.catch(() => undefined)
    await file.close()
  }
  return { name, bytes: size }
}

async function writeFolder(files: Files, folder: string, entries: readonly Entry[], limit: number, beside: Companions, progress: Progress): Promise<Written[]> {
  await files.makeFolder(folder)
  const parts = shards('model', entries, limit)
  const written: Written[] = []
  for (const { name, tensors } of parts) written.push(await writeOne(files, join(folder, name), name, tensors, progress))
  const texts: Companions = [...parts.length > 1 ? [[indexName, Buffer.from(indexOf(parts))] as const] : [], ...beside]
  for (const [name, bytes] of texts) {
    const within = dirname(name)
    if (within !== '.') await files.makeFolder(join(folder, within))
    const file = await files.open(join(folder, name), 'wx')
    try {
      await writeAll(file, bytes, 0)
      await file.sync()
    } finally {
      await file.close()
    }
    written.push({ name, bytes: bytes.byteLength })
  }
  await files.syncFolder(folder)
  return written
}

/** Where the companions of what is read may lie: beside it, and in the folder of a checkpoint's run. */
async function foldersOf(source: Source, files: Files): Promise<string[]> {
  const own = (await files.info(source.path))?.kind === 'folder' ? source.path : dirname(source.path)
  const above = dirname(own)
  return [own, ...basename(own).startsWith('step-') ? [basename(above) === checkpointsName ? dirname(above) : above] : []]
}

/** What lies in the folders beside weights, each from the first that has it. @throws FileError where it cannot be read */
export async function companionsIn(folders: readonly string[], files: Files = disk): Promise<Companions> {
  const found: [string, Uint8Array][] = []
  for (const name of companions) {
    for (const folder of folders) {
      if ((await files.info(join(folder, name)))?.kind !== 'file') continue
      found.push([name, await readSmall(files, join(folder, name), largestCompanion)])
      break
    }
  }
  return found
}
