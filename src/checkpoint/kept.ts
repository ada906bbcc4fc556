/** Weights that are of few bits in their file, and stay so on devices: which parameters can be, in which form, and where their numbers lie. */
import type { Dim } from '../core/dim.ts'
import { isHalf, type DType } from '../core/dtype.ts'
import type { Naming } from '../core/naming.ts'
import type { QuantizedForm, QuantizedTensors } from '../formats/index.ts'
import { renamed } from './renamed.ts'
import type { Source, SourceTensor } from './source.ts'
import { storedTensors, type Named, type Shaped } from './stored.ts'

/** Fewer neighbours that share a scale than this are no saving. */
const leastGroup = 4

const divisor = (a: number, b: number): number => (b === 0 ? a : divisor(b, a % b))

/**
 * The forms in which parameters hold the numbers of their tensors exactly, each one that fits all of its tensors (those of its layers); of those alone whose tensors all are of few
 * bits. `parameters` are those that may be so along their last dims.
 */
export function keptForms({ tensors }: Pick<Source, 'tensors'>, naming: Naming, parameters: readonly Named<Shaped>[]): ReadonlyMap<string, QuantizedForm> {
  const found = new Map<string, (QuantizedForm | undefined)[]>()
  for (const { name, pieces } of storedTensors(naming, parameters)) {
    for (const path of new Set(pieces.map(p => p.path))) found.set(path, [...found.get(path) ?? [], tensors.get(name)?.quantized?.form])
  }
  return new Map(parameters.flatMap(({ path, value: { shape } }): [string, QuantizedForm][] => {
    const [last, forms] = [shape.at(-1)?.size ?? 0, found.get(path) ?? []]
    const known = forms.filter(f => f !== undefined)
    const group = known.reduce((g, f) => divisor(g, f.group), last)
    if (known.length === 0 || known.length < forms.length || group < leastGroup) return []
    return [[path, { group, bits: last % 2 === 1 || known.some(f => f.bits === 8) ? 8 : 4, scales: known.some(f => f.scales === 'f32') ? 'f32' : 'f16', offsets: known.some(f => f.offsets) }]]
  }))
}

/** What stands for a parameter of few bits, as `Quantized` of meshwork/nn has it: dims and dtype of each of its tensors. */
export function keptShapes({ bits, group, scales, offsets }: QuantizedForm, shape: readonly Dim[]): { readonly values: Shaped; readonly scale: Shaped; readonly offset?: Shaped } {
  const along = (by: number): readonly Dim[] => shape.map((d, i) => (i === shape.length - 1 ? { name: d.name, size: d.size / by } : d))
  const [values, scale]: readonly { readonly shape: readonly Dim[]; readonly dtype: DType }[] = [{ shape: along(bits === 8 ? 1 : 2), dtype: bits === 8 ? 'i8' : 'u8' }, { shape: along(group), dtype: scales }]
  return { values: values as Shaped, scale: scale as Shaped, ...(offsets ? { offset: scale as Shaped } : {}) }
}

/**
 * A file's tensors by the paths of a model's parameters: whole, and of those with a form `values`, `scale` and `offset` under theirs. Closing is left to `source`.
 * @throws FileError as `renamed`
 */
export async function keptSource(source: Source, naming: Naming, parameters: readonly Named<Shaped>[], forms: ReadonlyMap<string, QuantizedForm>): Promise<Source> {
  const lenient = { missing: false, unexpected: false }
  const whole = await renamed(source, naming, parameters.filter(p => !forms.has(p.path)), lenient)
  const tensors = new Map<string, SourceTensor>(whole.tensors)
  for (const { path, value } of parameters) {
    const [form, named] = [forms.get(path), naming.parameters[path]]
    if (form === undefined || named === undefined) continue
    const own: Naming = { parameters: { [path]: named } }
    const parts = new Map<string, QuantizedTensors>()
    for (const { name } of storedTensors(own, [{ path, value }])) {
      const found = source.tensors.get(name)?.quantized?.as(form)
      if (found !== undefined) parts.set(name, found)
    }
    for (const [part, shaped] of Object.entries(keptShapes(form, value.shape))) {
      const views = new Map([...parts].flatMap(([name, found]): [string, SourceTensor][] => { const tensor = found[part as keyof QuantizedTensors]; return tensor === undefined ? [] : [[name, tensor]] }))
      const seen = (await renamed({ ...source, tensors: views }, own, [{ path, value: shaped }], lenient)).tensors.get(path)
      if (seen !== undefined) tensors.set(`${path}.${part}`, seen)
    }
  }
  return { ...whole, tensors }
}

/** The parameters of which a file has all tensors in one dtype of 16 bits, and that dtype. */
export function storedHalves({ tensors }: Pick<Source, 'tensors'>, naming: Naming | undefined, parameters: readonly Named<Shaped>[]): ReadonlyMap<string, DType> {
  const found = new Map<string, Set<DType | undefined>>()
  const see = (path: string, name: string): void => { found.set(path, (found.get(path) ?? new Set()).add(tensors.get(name)?.dtype)) }
  if (naming === undefined) for (const { path } of parameters) see(path, path)
  else for (const { name, pieces } of storedTensors(naming, parameters)) for (const { path } of pieces) see(path, name)
  return new Map([...found].flatMap(([path, dtypes]): [string, DType][] => { const [dtype] = dtypes; return dtypes.size === 1 && dtype !== undefined && isHalf(dtype) ? [[path, dtype]] : [] }))
}
