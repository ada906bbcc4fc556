/** What a run leaves for others: its weights, or the changes to those that it began with, and what they are of. */
import { stat } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { isPart } from '../core/configurable.ts'
import type { PlainObject } from '../core/plain.ts'
import { adapterConfigName, adapterWeightsName, checkInitial, newestIn, saveWeights, type Named } from '../checkpoint/index.ts'
import { companionsIn } from '../checkpoint/convert.ts'
import { writeTokenizer } from '../data/index.ts'
import { fromFirst, type MeshArray } from '../engine/index.ts'
import { writeFileAtomic } from '../io/atomic.ts'
import { namedArrays } from './evaluate.ts'
import { readConfig } from '../pretrained/pretrained.ts'
import type { Run } from './run.ts'
import type { Session } from './session.ts'

/**
 * Writes what a run has learnt as other tools open it. Of a model with adapters these alone, as `peft` has them, where the weights that they are changes of lie in a folder
 * of their own; else those beside them. All processes call it.
 */
export async function writeResult(path: string, params: unknown, session: Session): Promise<void> {
  const { run, files, backend: { processes } } = session
  const naming = files?.naming
  // What a model is compared with is no part of what it has learnt.
  const arrays = namedArrays(params).filter(({ path: name }) => naming?.copies === undefined || !name.startsWith('reference.'))
  if (files?.adapter === undefined) {
    await fromFirst(processes, 'what the weights are of', async () => { await describe(path, session); return null })
    return saveWeights(join(path, 'model.safetensors'), arrays, processes, naming)
  }
  const isChange = ({ path: name }: Named<MeshArray>): boolean => /^(policy\.)?lora\./.test(name)
  const base = arrays.filter(a => !isChange(a))
  const home = await fromFirst(processes, 'where the base is', async () => await homeOf(run, base, session) ?? null)
  await fromFirst(processes, 'what the adapters are of', async () => {
    if (home === null) await describe(path, session)
    else await describeBeside(path, session)
    await writeJson(join(path, adapterConfigName), { ...files.adapter, base_model_name_or_path: home ?? '.' })
    return null
  })
  if (home === null) await saveWeights(join(path, 'model.safetensors'), base, processes, naming)
  const { zeros: _, ...ofChanges } = files.naming
  await saveWeights(join(path, adapterWeightsName), arrays.filter(isChange), processes, ofChanges)
}

/**
 * Says what a run's checkpoints are of before it has ended, so that a model can be made of them. Adapters are described with their base, at the end. The first process
 * calls it.
 */
export async function describeCheckpoints(path: string, session: Session): Promise<void> {
  if (session.files?.adapter === undefined) await describe(path, session)
}

/** The folder of the model that a run starts from, as other tools open it; undefined where there is none. */
async function folderOf({ initFrom }: Pick<Run, 'initFrom'>): Promise<string | undefined> {
  if (initFrom === null) return undefined
  const isFile = await stat(initFrom.path).then(s => s.isFile(), () => false)
  const folder = resolve(isFile ? dirname(initFrom.path) : initFrom.path)
  const described = await stat(join(folder, 'config.json')).then(s => s.isFile(), () => false)
  // Of a run's folder weights are the newest checkpoint's, and those for others may be others.
  return described && (isFile || await newestIn(folder) === undefined) ? folder : undefined
}

/** The folder that holds all of a base's weights, as the run began with them; undefined where some are nowhere else. */
async function homeOf(run: Run, base: readonly Named<MeshArray>[], { files }: Session): Promise<string | undefined> {
  const { initFrom } = run
  const folder = await folderOf(run)
  if (folder === undefined || initFrom === null || initFrom.only !== undefined || initFrom.except !== undefined) return undefined
  const { missing } = await checkInitial(initFrom.path, base.map(({ path, value }) => ({ path, value: { shape: value.shape, dtype: value.dtype } })), {}, files?.naming)
  return missing.length === 0 ? folder : undefined
}

const writeJson = (path: string, value: unknown): Promise<void> => writeFileAtomic(path, `${JSON.stringify(value, null, 2)}\n`)

/** What the weights are of, as other tools read it; of a model that they do not know, its own configuration. */
async function describe(path: string, session: Session): Promise<void> {
  const { run, files, data: { tokenizer } } = session
  const from = await folderOf(run)
  await describeBeside(path, session)
  // An architecture that knows its own tokens says them itself; a model that was there before goes by its own.
  const end: PlainObject = tokenizer?.endOfText === undefined ? {} : { bos_token_id: tokenizer.endOfText, eos_token_id: tokenizer.endOfText }
  const kept = from === undefined || files === undefined ? {} : Object.fromEntries(Object.entries(await readConfig(join(from, 'config.json'))).filter(([key]) => key.endsWith('_token_id')))
  const config = files !== undefined ? { ...end, ...kept, ...files.config } : isPart<unknown, never>(run.model) ? { architecture: run.model.kind.name, ...run.model.config as object } : undefined
  if (config !== undefined) await writeJson(join(path, 'config.json'), config)
}

/** What lies beside weights: the tokenizer, and of a model that was there before its chat template and how it generates. */
async function describeBeside(path: string, { run, data: { tokenizer } }: Session): Promise<void> {
  const from = await folderOf(run)
  if (tokenizer !== undefined) await writeTokenizer(join(path, 'tokenizer.json'), tokenizer)
  if (from === undefined) return
  for (const [name, bytes] of await companionsIn([from])) if (name !== 'config.json' && (name !== 'tokenizer.json' || tokenizer === undefined)) await writeFileAtomic(join(path, name), bytes)
}
