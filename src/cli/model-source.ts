/** A model from wherever a person says: a folder in Hugging Face's layout, a run, a GGUF file, one of the catalog, one of the Hub. */
import { stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { companionsIn, type Companions } from '../checkpoint/convert.ts'
import { byPaths, mergedWeights, openWeights, readAdapters, weightsIn, type Source } from '../checkpoint/index.ts'
import { FileError } from '../core/errors.ts'
import type { Change } from '../core/naming.ts'
import { chatTemplateOf, fetchFromHub, fetchModel, isHubId, openGgufModel, packagedModels, tokenizerOf } from '../formats/index.ts'
import { parseTokenizer } from '../data/index.ts'
import { leavesOf } from '../engine/index.ts'
import { architectureNamed, changesOf, type AnyArchitecture, type JsonObject, type LoraOptions } from '../models/index.ts'
import { partOf, positionsOf, readPretrained, type Pretrained } from '../pretrained/pretrained.ts'
import { progressOn } from './long-work.ts'
import type { Output } from './output.ts'

export interface ModelSource extends AsyncDisposable {
  readonly path: string
  readonly config: JsonObject
  readonly architecture: AnyArchitecture
  readonly weights: Source
  /** config.json, the tokenizer, the chat template: what lies beside the weights. */
  readonly beside: Companions
}

/** Where a model lies on this machine, fetched where it has to be. @throws FileError where there is none */
export async function locate(given: string, revision: string | undefined, output: Output, signal: AbortSignal): Promise<string> {
  if (await stat(given).then(() => true, () => false)) return given
  if (Object.hasOwn(packagedModels, given)) {
    const shown = progressOn(output, `fetching ${given}`)
    return (await fetchModel(given, { signal, onProgress: (done, total) => { if (total !== undefined) shown(done, total) }, onWait: holder => output.status(`another process is fetching a model (${holder}); waiting for it`, true) })).path
  }
  // A name of the Hub's has one "/" and begins with no dot: all else is a path, as is what would lie in a folder that is here.
  if (given.split('/').length === 2 && isHubId(given) && !await stat(dirname(given)).then(() => true, () => false)) return (await fetchFromHub(given, { revision, signal, onProgress: progressOn(output, `fetching ${given}`), onWait: holder => output.status(`another process is fetching it (${holder}); waiting`, true) })).path
  throw new FileError({ code: 'no-model', what: `there is no model at ${given}`, fix: `give a folder in Hugging Face's layout, a .gguf file, a run, owner/name of the Hub, or one of ${Object.keys(packagedModels).join(', ')}` })
}

const json = (value: unknown): Buffer => Buffer.from(`${JSON.stringify(value, null, 2)}\n`)

/** @throws FileError where it is no model, UsageError where it is of an architecture, or has an option, that is not computed */
export async function openModel(path: string): Promise<ModelSource> {
  if (path.endsWith('.gguf')) {
    const model = await openGgufModel(path)
    try {
      const { config, tensors, file: { metadata } } = model
      const [tokenizer, template] = [tokenizerOf(path, metadata), chatTemplateOf(path, metadata)]
      const close = (): Promise<void> => model.close()
      return {
        path, config, architecture: architectureNamed(config), weights: { path, tensors, close, [Symbol.asyncDispose]: close }, [Symbol.asyncDispose]: close,
        beside: [['config.json', json(config)], ...tokenizer === undefined ? [] : [['tokenizer.json', json(tokenizer)] as const], ...template === undefined ? [] : [['chat_template.jinja', Buffer.from(template)] as const]],
      }
    } catch (e) {
      await model.close()
      throw e
    }
  }
  const given = await readPretrained(path)
  const { config, architecture, adapters } = given
  const opened = await openWeights(await weightsIn(path))
  try {
    const weights = adapters === undefined ? opened : await mergedWeights(opened, changesIn(given, adapters))
    const base = (await readAdapters(path))?.base
    return { path, config, architecture, weights, beside: await companionsIn([path, ...base === undefined ? [] : [base]]), [Symbol.asyncDispose]: () => opened.close() }
  } catch (e) {
    await opened.close()
    throw e
  }
}

/** What adapters add to the tensors of their base. */
function changesIn(given: Pretrained, adapters: LoraOptions): readonly Change[] {
  const part = partOf(given, { seq: Math.min(given.positions, 512) })
  return changesOf(given.architecture.names((part.config as { readonly base: never }).base), part.build({ batch: 1 }), adapters)
}

/**
 * Whether the weights are those of the model, every name and shape, and the tokenizer has no token that the model lacks, before any weights are read. Resolves to how many
 * numbers they are. @throws FileError that names every tensor that does not fit
 */
export async function checkModel({ path, config, architecture, weights, beside }: ModelSource): Promise<number> {
  // Positions are weights where they are learned, and their number is not the window's.
  const part = partOf({ folder: path, config, architecture }, { seq: Math.min(positionsOf(config), 512) })
  const parameters = leavesOf(part.build({ batch: 1 }).params).map(({ path, leaf }) => ({ path, value: leaf }))
  await byPaths(weights, architecture.names(part.config as never), parameters, { missing: true, unexpected: true })
  const tokenizer = beside.find(([name]) => name === 'tokenizer.json')
  const has = config['vocab_size']
  if (tokenizer !== undefined && typeof has === 'number') {
    const { vocab } = parseTokenizer(Buffer.from(tokenizer[1]).toString(), `${path}: tokenizer.json`)
    if (vocab > has) throw new FileError({ code: 'vocab', what: `${path}: the tokenizer has ${vocab} tokens, and the model a vocabulary of ${has}`, fix: 'use the tokenizer that belongs to the model' })
  }
  return parameters.reduce((n, p) => n + p.value.shape.reduce((m, d) => m * d.size, 1), 0)
}
