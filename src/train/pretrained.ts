/** A model that exists: its folder as other tools have it, what it is, and how it is built here. */
import { readFile, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Part } from '../core/configurable.ts'
import { FileError, MeshworkError, UsageError } from '../core/errors.ts'
import { openGgufModel, tokenizerOf } from '../formats/index.ts'
import { isSystemError, writeFileAtomic } from '../io/atomic.ts'
import { cacheRoot, makeCacheFolder } from '../io/cache-root.ts'
import { sha256 } from '../io/checksum.ts'
import { architectureNamed, type AnyArchitecture, type AnyModel, type BuildOptions, type JsonObject, type Wanted } from '../models/index.ts'

export interface Pretrained {
  readonly folder: string
  readonly config: JsonObject
  readonly architecture: AnyArchitecture
  /** The path of its tokenizer.json, where there is one. */
  readonly tokenizer: string | undefined
  /** The longest window that it has positions for. */
  readonly positions: number
}

const largestConfig = 2 ** 24

/** A model's folder, or a GGUF file. @throws FileError where there is no model, UsageError where it is of an architecture that is not known */
export async function readPretrained(folder: string): Promise<Pretrained> {
  if (folder.endsWith('.gguf')) return readGgufModel(folder)
  const file = join(folder, 'config.json')
  const info = await stat(file).catch((cause: unknown) => {
    if (!isSystemError(cause)) throw cause
    throw new FileError({ code: 'no-model', what: `${folder} holds no model: it has no config.json`, fix: 'give a folder in Hugging Face\'s layout, a finished run, or a model that was imported', cause })
  })
  if (info.size > largestConfig) throw new FileError({ code: 'config', what: `${file} has ${info.size} bytes, which no configuration has`, fix: 'give the model\'s own' })
  const config = parse(await readFile(file, 'utf8'), file)
  const tokenizer = join(folder, 'tokenizer.json')
  try {
    return { folder, config, architecture: architectureNamed(config), tokenizer: await stat(tokenizer).then(s => s.isFile(), () => false) ? tokenizer : undefined, positions: positionsOf(config) }
  } catch (e) {
    throw inFile(e, file)
  }
}

/** A GGUF file as a folder: data wants a tokenizer as a file, so the one within is kept in the cache. */
async function readGgufModel(path: string): Promise<Pretrained> {
  await using model = await openGgufModel(path)
  const { config, file: { metadata } } = model
  const found = tokenizerOf(path, metadata)
  const text = found === undefined ? undefined : JSON.stringify(found)
  const tokenizer = text === undefined ? undefined : join(cacheRoot(), 'tokenizers', sha256(text), 'tokenizer.json')
  if (tokenizer !== undefined && text !== undefined && !await stat(tokenizer).then(s => s.isFile(), () => false)) {
    await makeCacheFolder(dirname(tokenizer))
    await writeFileAtomic(tokenizer, text)
  }
  return { folder: path, config, architecture: architectureNamed(config), tokenizer, positions: positionsOf(config) }
}

/** The longest window that a configuration has positions for. */
export function positionsOf(config: JsonObject): number {
  const found = [config['max_position_embeddings'], config['n_positions'], config['seq']].find(n => typeof n === 'number' && Number.isSafeInteger(n) && n > 0)
  return typeof found === 'number' ? found : 512
}

/** Where a folder's weights lie: its one file where it has one, which of a run is what it ended with, else whatever it holds. */
export async function weightsIn(folder: string): Promise<string> {
  const single = join(folder, 'model.safetensors')
  return await stat(single).then(s => s.isFile(), () => false) ? single : folder
}

/** What is wrong with a configuration, with the path of its file. */
function inFile(e: unknown, file: string): unknown {
  if (!(e instanceof UsageError)) return e
  return new UsageError({ ...e.problem, what: e.problem.what.replace(/^config\.json/, file), cause: e })
}

function parse(text: string, file: string): JsonObject {
  let value: unknown
  try { value = JSON.parse(text) } catch (cause) { throw new FileError({ code: 'config', what: `${file} is not JSON`, fix: 'write or copy it again', cause }) }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new FileError({ code: 'config', what: `${file} is no object`, fix: 'write or copy it again' })
  return value as JsonObject
}

/** The model as a recipe holds it, for windows of `seq` tokens. @throws UsageError that names an option which is not computed */
export function partOf({ folder, config, architecture }: Pick<Pretrained, 'folder' | 'config' | 'architecture'>, wanted: Wanted): Part<AnyModel, BuildOptions> {
  try {
    const given = architecture.fromConfig(config, wanted)
    return (architecture.kind as unknown as (config: unknown) => Part<AnyModel, BuildOptions>)(given)
  } catch (e) {
    throw e instanceof MeshworkError ? inFile(e, folder.endsWith('.gguf') ? folder : join(folder, 'config.json')) : e
  }
}
