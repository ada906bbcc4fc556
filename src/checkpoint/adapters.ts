/** Adapters of low rank as `peft` writes them: `adapter_config.json`, which names their base, beside `adapter_model.safetensors`. */
import { isAbsolute, join, resolve } from 'node:path'
import { FileError } from '../core/errors.ts'
import type { PlainObject } from '../core/plain.ts'
import { disk, readSmall, type Files } from '../io/files.ts'
import { cannotRead, damaged } from '../io/ranged.ts'

export const adapterConfigName = 'adapter_config.json'
export const adapterWeightsName = 'adapter_model.safetensors'

export interface AdapterFolder {
  readonly path: string
  readonly config: PlainObject
  /** The folder of the weights that the adapters are changes of. */
  readonly base: string
}

const largestConfig = 2 ** 22

/** What a folder says of the adapters in it; undefined where it holds none. @throws FileError where it cannot be read, or its base is not there */
export async function readAdapters(folder: string, files: Files = disk): Promise<AdapterFolder | undefined> {
  const path = join(folder, adapterConfigName)
  if ((await files.info(path).catch(() => undefined))?.kind !== 'file') return undefined
  const bytes = await readSmall(files, path, largestConfig).catch((cause: unknown) => { throw cause instanceof FileError ? cause : cannotRead(path, cause) })
  let config: unknown
  try { config = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)) } catch (cause) { throw damaged(path, 'it is not JSON', cause) }
  if (typeof config !== 'object' || config === null || Array.isArray(config)) throw damaged(path, 'it is no object')
  const { base_model_name_or_path: named } = config as PlainObject
  if (typeof named !== 'string' || named === '') throw damaged(path, 'it does not name its base in base_model_name_or_path')
  // From where the command runs, or from the folder itself, which a name that begins with a dot says first.
  const places = isAbsolute(named) ? [named] : [resolve(named), resolve(folder, named)]
  if (/^\.{1,2}(\/|$)/.test(named)) places.reverse()
  for (const base of places) {
    if ((await files.info(base).catch(() => undefined))?.kind !== 'folder') continue
    if (base === resolve(folder) || (await files.info(join(base, adapterConfigName)).catch(() => undefined)) === undefined) return { path: folder, config: config as PlainObject, base }
    throw new FileError({ code: 'adapters-on-adapters', what: `${folder} holds changes of ${named}, which itself is changes of another model`, fix: `merge that one first: npx meshwork export ${named} --to DIR, and name DIR in ${path}` })
  }
  throw new FileError({ code: 'no-base', what: `${folder} holds changes of ${named}, which is not here`, fix: `bring it here (npx meshwork import), and name its folder as base_model_name_or_path in ${path}` })
}
