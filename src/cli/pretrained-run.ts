/** What commands make of a model that exists, in a finished run's folder or in one of another tool: a run to generate, measure or train it by. */
import { join } from 'node:path'
import { checkpointsName, newestIn, weightsIn } from '../checkpoint/index.ts'
import { FileError, UsageError } from '../core/errors.ts'
import { readTokenizer } from '../data/index.ts'
import { filesOf, isWritingModel, type WritingModel } from '../models/index.ts'
import type { Generating } from '../serve/open.ts'
import { readRunFile, readSummary } from '../train/folder.ts'
import { adamwCosine } from '../train/optimizers.ts'
import { partOf, type Pretrained } from '../pretrained/pretrained.ts'
import { modelOf, withFields, type Run } from '../train/run.ts'
import { endsIn } from '../pretrained/model-files.ts'

const empty = { data: { batch: () => ({}) }, hooks: [] }

/** A run of nothing but a model, for windows of `seq` tokens, its mesh and its layouts: the folder's own where a run made it. */
export async function runOfModel(folder: string, given: Pretrained, seq: number): Promise<Run> {
  const found = await readRunFile(folder)
  const model = partOf(given, { seq })
  const optimizer = adamwCosine({ rate: 1 })
  const parts = { ...empty, model, optimizer } as unknown as Run
  if (found === undefined) return withFields(parts, { name: 'model', model: model.config, optimizer: optimizer.config, batch: 1, steps: 1 }, folder)
  const { model: _, data: __, optimizer: ___, ...settings } = found.run
  const file = join(folder, 'run.json')
  try { return withFields(parts, { ...settings, model: model.config, optimizer: optimizer.config }, file) } catch (e) {
    if (!(e instanceof UsageError)) throw e
    throw new FileError({ code: 'run-file', what: `${file} is no run of this version: ${e.problem.what.slice(file.length + 2)}`, fix: 'train the run again', cause: e })
  }
}

/** What generates from a folder. @throws UsageError where its model is none that writes text */
export async function generatingOf(given: Pretrained, run: Run): Promise<Generating> {
  const { folder, tokenizer: file, config } = given
  if (file === undefined) throw new FileError({ code: 'no-tokenizer', what: `${folder} holds no tokenizer.json`, fix: 'copy the model\'s own there' })
  const { model: part } = run
  const build = (rows: number): WritingModel => {
    const model = modelOf({ ...run, batch: rows })
    if (isWritingModel(model)) return model
    throw new UsageError({ code: 'no-text', what: `${folder} is a model of type ${JSON.stringify(config['model_type'])}, which writes no text`, fix: 'give one that does, such as a GPT, a Llama or a T5' })
  }
  const found = build(1)
  const naming = 'kind' in part ? filesOf(part as never, found as never)?.naming : undefined
  const { weights, step } = await newestWeights(folder)
  const tokenizer = await readTokenizer(file)
  return { weights, model: build, naming, tokenizer, ends: await endsIn(folder, { given, tokenizer }), step }
}

/** Weights, and the step of a run that has made them. */
export interface WeightsOfStep { readonly weights: string; readonly step: number | undefined }
/** A folder's weights: of a run that has not ended, or was gone on with, its newest checkpoint's. @throws FileError where a run has none yet */
export async function newestWeights(folder: string): Promise<WeightsOfStep> {
  const weights = await weightsIn(folder)
  if (folder.endsWith('.gguf') || await readRunFile(folder) === undefined) return { weights, step: undefined }
  const ended = weights === folder ? undefined : (await readSummary(folder))?.steps ?? 0
  const newest = await newestIn(join(folder, checkpointsName)).catch((e: unknown) => { if (ended === undefined) throw e; return undefined })
  if (newest !== undefined && newest.manifest.step > (ended ?? -1)) return { weights: newest.path, step: newest.manifest.step }
  if (ended === undefined) throw new FileError({ code: 'no-run', what: `${folder} holds no finished run, and no checkpoint`, details: { missing: join(folder, 'model.safetensors') }, fix: 'give a folder that `npx meshwork train` named at its end' })
  return { weights, step: ended }
}
