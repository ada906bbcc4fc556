/** A GGUF file as a model of Hugging Face's: its configuration, and its tensors under their names there, in their order and scale. */
import { FileError } from '../../core/errors.ts'
import { disk, type Files } from '../../io/files.ts'
import type { StoredTensor } from '../stored.ts'
import { partOf, renamed, type Family, type JsonObject } from './architectures.ts'
import { configOf, familyOf } from './config.ts'
import { halved, shifted, transposed } from './moved.ts'
import { openGguf, type GgufFile, type GgufTensor } from './open.ts'
import type { QuantizedParts, QuantizedTensors } from './quantized.ts'
import { valuesOf } from './values.ts'

export interface ModelTensor extends StoredTensor {
  /** As of the file's tensor, in the order of this one's rows; undefined where it has none, or is turned over. */
  readonly quantized: QuantizedParts | undefined
}

export interface GgufModel extends AsyncDisposable {
  readonly path: string
  /** What `config.json` would hold. */
  readonly config: JsonObject
  readonly tensors: ReadonlyMap<string, ModelTensor>
  readonly file: GgufFile
  close(): Promise<void>
}

/** Tensors that say nothing which the configuration does not. */
const idle = ['rope_freqs.weight', 'rope_factors_long.weight', 'rope_factors_short.weight']

/** @throws FileError where it is no GGUF, of an architecture that is not read here, or has an option or a tensor that its architecture does not */
export async function openGgufModel(path: string, files: Files = disk): Promise<GgufModel> {
  const file = await openGguf(path, files)
  try {
    const config = await configOf(file)
    const family = familyOf(path, valuesOf(path, file.metadata))
    const tensors = new Map<string, ModelTensor>()
    for (const [name, tensor] of file.tensors) {
      if (idle.includes(name)) continue
      const hf = renamed(family, name, 'hf')
      if (hf === undefined) throw new FileError({ code: 'unknown-tensor', what: `${path}: a model of architecture ${family.gguf} has no tensor "${name}"`, fix: 'give the model in Hugging Face\'s format' })
      tensors.set(hf, seen(path, family, name, tensor, Number(config['head_dim'])))
    }
    return { path, config, tensors, file, close: () => file.close(), [Symbol.asyncDispose]: () => file.close() }
  } catch (error) {
    await file.close()
    throw error
  }
}

function seen(path: string, { stored }: Family, name: string, tensor: GgufTensor, head: number): ModelTensor {
  const part = partOf(name)
  if (stored.interleaved?.includes(part) === true) {
    if ((tensor.shape[0] ?? 0) % head !== 0) throw new FileError({ code: 'tensor-shape', what: `${path}: "${name}" has ${tensor.shape[0]} rows, no whole number of heads of ${head}`, fix: 'convert the model again' })
    const rows = <T extends StoredTensor>(t: T): StoredTensor => halved(t, head)
    const moved = ({ values, scale, offset }: QuantizedTensors): QuantizedTensors => ({ values: rows(values), scale: rows(scale), offset: offset === undefined ? undefined : rows(offset) })
    const { quantized: q } = tensor
    return { ...rows(tensor), quantized: q === undefined ? undefined : { ...q, ...moved(q), as: form => moved(q.as(form)) } }
  }
  if (stored.oneMore?.test(name) === true) return { ...shifted(tensor, -1), quantized: undefined }
  if (stored.turned?.includes(part) === true && name.endsWith('.weight') && tensor.shape.length === 2) return { ...transposed(tensor), quantized: undefined }
  return tensor
}
