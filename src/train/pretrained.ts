/** A model that exists: its folder as other tools have it, what it is, and how it is built here. */
import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Part } from '../core/configurable.ts'
import { FileError, MeshworkError, UsageError } from '../core/errors.ts'
import { isSystemError } from '../io/atomic.ts'
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

/** `named` says of which architecture it is. @throws FileError where there is no model, UsageError where it is of an architecture that is not known */
export async function readPretrained(folder: string, named: (config: JsonObject) => AnyArchitecture = architectureNamed): Promise<Pretrained> {
  const file = join(folder, 'config.json')
  const info = await stat(file).catch((cause: unknown) => {
    if (!isSystemError(cause)) throw cause
    throw new FileError({ code: 'no-model', what: `${folder} holds no model: it has no config.json`, fix: 'give a folder in Hugging Face\'s layout, a finished run, or a model that was imported', cause })
  })
  if (info.size > largestConfig) throw new FileError({ code: 'config', what: `${file} has ${info.size} bytes, which no configuration has`, fix: 'give the model\'s own' })
  const config = parse(await readFile(file, 'utf8'), file)
  const tokenizer = join(folder, 'tokenizer.json')
  try {
    return { folder, config, architecture: named(config), tokenizer: await stat(tokenizer).then(s => s.isFile(), () => false) ? tokenizer : undefined, positions: positionsOf(config) }
  } catch (e) {
    throw inFile(e, file)
  }
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
    throw e instanceof MeshworkError ? inFile(e, join(folder, 'config.json')) : e
  }
}
