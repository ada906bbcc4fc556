/** A model that exists: its folder as other tools have it, what it is, and how it is built here. */
import { readFile, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Part } from '../core/configurable.ts'
import { FileError, MeshworkError, UsageError } from '../core/errors.ts'
import { adapterConfigName, adapterWeightsName, readAdapters, type AdapterFolder } from '../checkpoint/index.ts'
import { openFile } from '../checkpoint/source.ts'
import { openGgufModel, tokenizerOf } from '../formats/index.ts'
import { isSystemError, writeFileAtomic } from '../io/atomic.ts'
import { cacheRoot, makeCacheFolder } from '../io/cache-root.ts'
import { sha256 } from '../io/checksum.ts'
import { adaptersOf, architectureNamed, loraModel, type AnyArchitecture, type AnyModel, type BuildOptions, type JsonObject, type LoraOptions, type Wanted } from '../models/index.ts'

export interface Pretrained {
  readonly folder: string
  /** Of a folder of adapters: that of their base. */
  readonly config: JsonObject
  readonly architecture: AnyArchitecture
  /** The path of its tokenizer.json, where there is one. */
  readonly tokenizer: string | undefined
  /** The longest window that it has positions for. */
  readonly positions: number
  /** Of a folder of adapters what they change. */
  readonly adapters?: LoraOptions
}

const largestConfig = 2 ** 24

/**
 * A model by its folder or GGUF file, or adapters of one by their folder; `named` says of which architecture it is.
 * @throws FileError where there is no model, UsageError where it is of an architecture that is not known
 */
export async function readPretrained(folder: string, named: (config: JsonObject) => AnyArchitecture = architectureNamed): Promise<Pretrained> {
  if (folder.endsWith('.gguf')) return readGgufModel(folder, named)
  const adapted = await readAdapters(folder)
  const home = adapted?.base ?? folder
  const file = join(home, 'config.json')
  const config = await readConfig(file).catch((cause: unknown) => {
    if (!isSystemError(cause)) throw cause
    throw new FileError({ code: 'no-model', what: `${folder} holds no model: it has no config.json`, fix: 'give a folder in Hugging Face\'s layout, a GGUF file, a finished run, or a model that was imported', cause })
  })
  const tokenizers = [folder, home].map(at => join(at, 'tokenizer.json'))
  const there = await Promise.all(tokenizers.map(path => stat(path).then(s => s.isFile(), () => false)))
  try {
    const found: Pretrained = { folder, config, architecture: named(config), tokenizer: tokenizers.find((_, i) => there[i]), positions: positionsOf(config) }
    return adapted === undefined ? found : { ...found, adapters: await adaptersIn(adapted, found) }
  } catch (e) {
    throw inFile(e, file, folder)
  }
}

/** A `config.json`. @throws FileError where it is none; what the system says where it cannot be read */
export async function readConfig(file: string): Promise<JsonObject> {
  const { size } = await stat(file)
  if (size > largestConfig) throw new FileError({ code: 'config', what: `${file} has ${size} bytes, which no configuration has`, fix: 'give the model\'s own' })
  return parse(await readFile(file, 'utf8'), file)
}

/** What the adapters of a folder change, by the names of their tensors. */
async function adaptersIn({ path, config }: AdapterFolder, found: Pretrained): Promise<LoraOptions> {
  await using source = await openFile(join(path, adapterWeightsName))
  const base = partOf(found, { seq: Math.min(found.positions, 512) })
  const { r } = config
  const all = loraModel(base, { rank: typeof r === 'number' && Number.isSafeInteger(r) && r > 0 ? r : 1 })
  return adaptersOf(config, [...source.tensors.keys()], found.architecture.names(base.config as never), all.build({ batch: 1 }))
}

/** A GGUF file as a folder: data wants a tokenizer as a file, so the one within is kept in the cache. */
async function readGgufModel(path: string, named: (config: JsonObject) => AnyArchitecture): Promise<Pretrained> {
  await using model = await openGgufModel(path)
  const { config, file: { metadata } } = model
  const found = tokenizerOf(path, metadata)
  const text = found === undefined ? undefined : JSON.stringify(found)
  const tokenizer = text === undefined ? undefined : join(cacheRoot(), 'tokenizers', sha256(text), 'tokenizer.json')
  if (tokenizer !== undefined && text !== undefined && !await stat(tokenizer).then(s => s.isFile(), () => false)) {
    await makeCacheFolder(dirname(tokenizer))
    await writeFileAtomic(tokenizer, text)
  }
  return { folder: path, config, architecture: named(config), tokenizer, positions: positionsOf(config) }
}

/** The longest window that a configuration has positions for. */
export function positionsOf(config: JsonObject): number {
  const found = [config['max_position_embeddings'], config['n_positions'], config['seq']].find(n => typeof n === 'number' && Number.isSafeInteger(n) && n > 0)
  return typeof found === 'number' ? found : 512
}

/** What is wrong with a configuration, with the path of its file. */
function inFile(e: unknown, file: string, folder: string): unknown {
  if (!(e instanceof UsageError)) return e
  return new UsageError({ ...e.problem, what: e.problem.what.replace(/^config\.json/, file).replace(/^adapter_config\.json/, join(folder, adapterConfigName)), cause: e })
}

function parse(text: string, file: string): JsonObject {
  let value: unknown
  try { value = JSON.parse(text) } catch (cause) { throw new FileError({ code: 'config', what: `${file} is not JSON`, fix: 'write or copy it again', cause }) }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new FileError({ code: 'config', what: `${file} is no object`, fix: 'write or copy it again' })
  return value as JsonObject
}

/** The model as a recipe holds it, for windows of `seq` tokens; with its adapters where it has them. @throws UsageError that names an option which is not computed */
export function partOf({ folder, config, architecture, adapters }: Pick<Pretrained, 'folder' | 'config' | 'architecture' | 'adapters'>, wanted: Wanted): Part<AnyModel, BuildOptions> {
  try {
    const given = architecture.fromConfig(config, wanted)
    const part = (architecture.kind as unknown as (config: unknown) => Part<AnyModel, BuildOptions>)(given)
    return adapters === undefined ? part : loraModel(part, adapters)
  } catch (e) {
    throw e instanceof MeshworkError ? inFile(e, folder.endsWith('.gguf') ? folder : join(folder, 'config.json'), folder) : e
  }
}
