/** Tensors by name, wherever they lie: in one file, in several with an index, in a checkpoint. Read by ranges; what was written with checksums is read by them. */
import { basename, dirname, join, resolve } from 'node:path'
import { z } from 'zod'
import type { Dim } from '../core/dim.ts'
import { FileError } from '../core/errors.ts'
import { didYouMean } from '../core/nearest.ts'
import { disk, readSmall, type Files } from '../io/files.ts'
import { openGgufModel, type QuantizedParts, type StoredTensor } from '../formats/index.ts'
import { cannotRead, damaged, openRanged, verified } from '../io/ranged.ts'
import { adapterWeightsName, readAdapters } from './adapters.ts'
import { findCheckpoints, readManifest } from './folder.ts'
import type { Group, Manifest } from './manifest.ts'
import { manifestName } from './manifest.ts'
import { indexName } from './plan.ts'
import { openSafetensors, readSafetensors, type SafetensorsFile, type TensorEntry } from './safetensors.ts'

/** A tensor of a file, whatever its format; of one of few bits its numbers and scales, too. */
export type SourceTensor = StoredTensor & { readonly quantized?: QuantizedParts | undefined }

export interface Source extends AsyncDisposable {
  /** What it is, as messages name it. */
  readonly path: string
  readonly tensors: ReadonlyMap<string, SourceTensor>
  close(): Promise<void>
}

/** Closes all also where one fails. */
const closing = (path: string, tensors: ReadonlyMap<string, SourceTensor>, files: readonly SafetensorsFile[]): Source => {
  const close = async (): Promise<void> => { await Promise.all(files.map(f => f.close())) }
  return { path, tensors, close, [Symbol.asyncDispose]: close }
}

const tensorOf = (file: SafetensorsFile, name: string, { dtype, tag, shape }: TensorEntry, dims?: readonly Dim[]): SourceTensor =>
  ({ dtype, tag, shape, dims, read: (into, at) => file.readInto(name, into, at) })

/** Dims as our own files of weights name them. */
const dimsOf = (file: SafetensorsFile, name: string, shape: readonly number[]): readonly Dim[] | undefined => {
  const names = file.metadata.get(`dims.${name}`)?.split(' ').filter(n => n !== '')
  return names?.length === shape.length ? names.map((n, i) => ({ name: n, size: shape[i] ?? 0 })) : undefined
}

/** One file. @throws FileError */
export async function openFile(path: string, files: Files = disk): Promise<Source> {
  const file = await openSafetensors(path, files)
  return closing(path, new Map([...file.tensors].map(([name, entry]) => [name, tensorOf(file, name, entry, dimsOf(file, name, entry.shape))])), [file])
}

/** A group of a checkpoint's tensors, every byte checked as it is read. @throws FileError where its files are not what the manifest says */
export async function openGroup(folder: string, manifest: Manifest, group: Group, files: Files = disk): Promise<Source> {
  const records = manifest.tensors.filter(t => t.group === group)
  const opened = new Map<string, SafetensorsFile>()
  const tensors = new Map<string, SourceTensor>()
  try {
    for (const { name, crcs } of manifest.files.filter(f => records.some(r => r.file === f.name))) {
      opened.set(name, await readSafetensors(verified(await openRanged(files, join(folder, name)), { size: manifest.chunk, crcs })))
    }
    for (const { path, dtype, dims, file: name } of records) {
      const file = opened.get(name)
      const entry = file?.tensors.get(path)
      if (file === undefined || entry === undefined || entry.dtype !== dtype || entry.shape.join() !== dims.map(d => d.size).join()) {
        throw damaged(join(folder, name), `"${path}" is not in it as ${manifestName} has it, ${dtype} [${dims.map(d => d.size).join(', ')}]`)
      }
      tensors.set(path, tensorOf(file, path, entry, dims))
    }
    return closing(folder, tensors, [...opened.values()])
  } catch (e) {
    await Promise.all([...opened.values()].map(f => f.close()))
    throw e
  }
}

const indexSchema = z.object({ weight_map: z.custom<object>(x => typeof x === 'object' && x !== null && !Array.isArray(x)) })
const largestIndex = 2 ** 27

/** Hugging Face's layout of several files. @throws FileError where the index and the files do not fit */
async function openIndexed(path: string, files: Files): Promise<Source> {
  const folder = dirname(path)
  const bytes = await readSmall(files, path, largestIndex).catch((cause: unknown) => { throw cause instanceof FileError ? cause : cannotRead(path, cause) })
  let value: unknown
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch (cause) {
    throw damaged(path, 'it is not JSON', cause)
  }
  const parsed = indexSchema.safeParse(value)
  if (parsed.data === undefined) throw damaged(path, 'it has no object "weight_map"')
  const opened = new Map<string, SafetensorsFile>()
  const tensors = new Map<string, SourceTensor>()
  try {
    for (const [name, file] of Object.entries(parsed.data.weight_map) as [string, unknown][]) {
      if (typeof file !== 'string' || file === '' || basename(file) !== file || file.startsWith('.')) throw damaged(path, `it says that "${name}" lies in ${JSON.stringify(file)}, which is no file of this folder`)
      let found = opened.get(file)
      if (found === undefined) {
        const info = await files.info(join(folder, file))
        if (info === undefined) throw new FileError({ code: 'stale-index', what: `${path} names ${file}, which is not there`, fix: 'copy the missing file, or remove the index if it is of other weights' })
        found = await openSafetensors(join(folder, file), files)
        opened.set(file, found)
      }
      const entry = found.tensors.get(name)
      if (entry === undefined) throw new FileError({ code: 'stale-index', what: `${path} says that "${name}" lies in ${file}, which does not have it`, fix: 'write or copy the files again, with their own index' })
      tensors.set(name, tensorOf(found, name, entry, dimsOf(found, name, entry.shape)))
    }
    const more = [...opened].flatMap(([file, f]) => [...f.tensors.keys()].filter(n => !tensors.has(n)).map(n => `"${n}" of ${file}`))
    if (more.length > 0) throw new FileError({ code: 'stale-index', what: `${path} does not name ${more[0]}${more.length > 1 ? ` and ${more.length - 1} more` : ''}`, fix: 'write or copy the files again, with their own index' })
    return closing(folder, tensors, [...opened.values()])
  } catch (e) {
    await Promise.all([...opened.values()].map(f => f.close()))
    throw e
  }
}

/** Where a run keeps its checkpoints, in its folder. */
export const checkpointsName = 'checkpoints'

/** The folder that holds `step-<n>`, of a run's folder or itself. */
export async function checkpointsOf(path: string, files: Files = disk): Promise<string> {
  const within = join(path, checkpointsName)
  return (await files.info(within))?.kind === 'folder' ? within : path
}

/** A checkpoint's folder with its manifest. */
export interface Opened { readonly path: string; readonly manifest: Manifest }

/** A checkpoint itself, or the newest that is usable of a run's folder; undefined where there are none. @throws FileError where none of them is usable */
export async function newestIn(path: string, files: Files = disk): Promise<Opened | undefined> {
  if (await files.info(join(path, manifestName)) !== undefined) return { path, manifest: await readManifest(files, path) }
  if ((await files.info(path))?.kind !== 'folder') return undefined
  const folder = await checkpointsOf(path, files)
  const found = await findCheckpoints(files, folder)
  const reasons: string[][] = []
  for (const { name } of found) {
    try {
      return { path: join(folder, name), manifest: await readManifest(files, join(folder, name)) }
    } catch (e) {
      if (!(e instanceof FileError)) throw e
      reasons.push([name, e.problem.details?.['reason'] ?? e.problem.what])
    }
  }
  if (found.length === 0) return undefined
  throw noneUsable(folder, reasons)
}

/** There are checkpoints, and none can be used: a run that began anew would overwrite them. */
export const noneUsable = (folder: string, reasons: readonly (readonly string[])[]): FileError => new FileError({
  code: 'no-usable-checkpoint', what: `${folder} holds ${reasons.length} checkpoint${reasons.length === 1 ? '' : 's'}, and none can be used`,
  details: Object.fromEntries(reasons.map(([name = '', reason = '']) => [name, reason])),
  fix: 'bring back a copy of one; or move them away to begin anew',
})

/** Where a folder's weights lie: its adapters or its one file where it has them, which of a run is what it ended with, else whatever it holds. */
export async function weightsIn(folder: string, files: Files = disk): Promise<string> {
  for (const name of [adapterWeightsName, 'model.safetensors']) if ((await files.info(join(folder, name)).catch(() => undefined))?.kind === 'file') return join(folder, name)
  return folder
}

/** The weights of a base, under its own names, and those of adapters, under theirs. @throws FileError */
async function openAdapted(file: string, files: Files): Promise<Source> {
  const found = await readAdapters(dirname(file), files)
  if (found === undefined) return openFile(file, files)
  const adapters = await openFile(file, files)
  try {
    // What lies beside them is the base of those that were trained on no other folder's.
    const beside = resolve(found.base) === resolve(dirname(file))
    const base = await openWeights(beside ? join(found.base, 'model.safetensors') : await weightsIn(found.base, files), files)
    const close = async (): Promise<void> => { await Promise.all([adapters.close(), base.close()]) }
    return { path: file, tensors: new Map([...base.tensors, ...adapters.tensors]), close, [Symbol.asyncDispose]: close }
  } catch (e) {
    await adapters.close()
    throw e
  }
}

/** A GGUF file's tensors under their names in Hugging Face's files. */
async function openGgufWeights(path: string, files: Files): Promise<Source> {
  const { tensors, close } = await openGgufModel(path, files)
  return { path, tensors, close, [Symbol.asyncDispose]: close }
}

const openAny = (path: string, files: Files): Promise<Source> =>
  (path.endsWith('.gguf') ? openGgufWeights(path, files) : path.endsWith('.index.json') ? openIndexed(path, files) : basename(path) === adapterWeightsName ? openAdapted(path, files) : openFile(path, files))

/** Weights from wherever a person says: a file of safetensors or GGUF, a folder in Hugging Face's layout, a checkpoint, a run's folder; adapters with the weights of their base. @throws FileError */
export async function openWeights(path: string, files: Files = disk): Promise<Source> {
  const info = await files.info(path).catch((cause: unknown) => { throw cannotRead(path, cause) })
  if (info === undefined) throw cannotRead(path, 'there is nothing of that name', 'check the path')
  if (info.kind !== 'folder') return openAny(path, files)
  const newest = await newestIn(path, files)
  if (newest !== undefined) return openGroup(newest.path, newest.manifest, 'weights', files)
  const names = await files.list(path).catch((cause: unknown) => { throw cannotRead(path, cause) })
  if (names.includes(adapterWeightsName)) return openAdapted(join(path, adapterWeightsName), files)
  const single = names.includes('model.safetensors')
  if (single && names.includes(indexName)) {
    throw new FileError({ code: 'stale-index', what: `${path} holds model.safetensors and ${indexName} too: which of them are the weights cannot be told`, fix: 'remove the one that is older, or name the file' })
  }
  if (single) return openFile(join(path, 'model.safetensors'), files)
  if (names.includes(indexName)) return openIndexed(join(path, indexName), files)
  const pickled = names.find(n => /\.(bin|pt|pth|pkl|pickle|ckpt)$/.test(n))
  if (pickled !== undefined) throw new FileError({ code: 'pickled', what: `${path} holds its weights pickled, in ${pickled}: to read that is to run the code in it, which is not done`, fix: 'have them written as safetensors by the tool that wrote them' })
  throw new FileError({ code: 'no-weights', what: `${path} holds no weights`, details: { wanted: `model.safetensors, ${indexName}, or folders step-N` }, fix: `give a run's folder, a checkpoint, or a file of weights; ${didYouMean('model.safetensors', names.filter(n => n.endsWith('.safetensors')))}` })
}
