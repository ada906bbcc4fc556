/** Weights with the changes of adapters added to them, as they are read: W + α/r · B·A (Hu et al. 2021, section 4.1), row by row. */
import { dtypes } from '../core/dtype.ts'
import { FileError } from '../core/errors.ts'
import { numbersOf } from '../core/half-precision.ts'
import type { Change } from '../core/naming.ts'
import { castHost, elementsOf } from './cast.ts'
import type { Source, SourceTensor } from './source.ts'

interface Factors { readonly down: Float32Array; readonly up: Float32Array; readonly rank: number; readonly inputs: number }

/** `source` without its adapters, their changes in the tensors of the base, in the base's dtypes. The adapters are held in memory. @throws FileError where one is missing or of another shape */
export async function mergedWeights(source: Source, changes: readonly Change[]): Promise<Source> {
  const factors = new Set(changes.flatMap(c => [c.down, c.up]))
  const tensors = new Map([...source.tensors].filter(([name]) => !factors.has(name)))
  for (const change of changes) {
    const into = tensors.get(change.tensor)
    if (into === undefined) throw lacks(source, change.tensor)
    tensors.set(change.tensor, added(change.tensor, into, change, await factorsOf(source, change, into)))
  }
  return { path: source.path, tensors, close: () => source.close(), [Symbol.asyncDispose]: () => source.close() }
}

const lacks = ({ path }: Source, name: string): FileError => new FileError({ code: 'tensors-differ', what: `${path} lacks ${name}`, fix: 'use the base and the adapters that belong together' })

async function factorsOf(source: Source, { tensor, down, up, contracted, part }: Change, { shape }: SourceTensor): Promise<Factors> {
  const [a, b] = [source.tensors.get(down), source.tensors.get(up)]
  if (a === undefined || b === undefined) throw lacks(source, a === undefined ? down : up)
  const sizeOf = (axis: number): number => (part?.axis === axis ? part.size : shape[axis] ?? 0)
  const [inputs, outputs, rank] = [sizeOf(contracted), sizeOf(1 - contracted), a.shape[0] ?? 0]
  if (a.shape.join() !== [rank, inputs].join() || b.shape.join() !== [outputs, rank].join()) {
    throw new FileError({ code: 'tensors-differ', what: `${source.path}: ${down} is [${a.shape.join(', ')}] and ${up} [${b.shape.join(', ')}], which is no change of ${tensor}, [${shape.join(', ')}]`, fix: 'use the base and the adapters that belong together' })
  }
  return { down: await numbers(a), up: await numbers(b), rank, inputs }
}

async function numbers({ dtype, shape, read }: SourceTensor): Promise<Float32Array> {
  const stored = dtype ?? 'f32'
  const bytes = new Uint8Array(shape.reduce((n, s) => n * s, 1) * dtypes[stored].bytes)
  await read(bytes, 0)
  return new Float32Array(numbersOf(elementsOf(bytes, stored), stored) as Float32Array)
}

function added(name: string, tensor: SourceTensor, { contracted, part, scale }: Change, { down, up, rank, inputs }: Factors): SourceTensor {
  const { dtype, shape: [rows = 0, columns = 0] } = tensor
  if (dtype === undefined) throw new FileError({ code: 'tensor-dtype', what: `${name} is ${tensor.tag}, which cannot be read`, fix: 'convert it with the tool that wrote it' })
  const width = dtypes[dtype].bytes
  const [firstRow, lastRow] = part?.axis === 0 ? [part.from, part.from + part.size] : [0, rows]
  const [firstColumn, lastColumn] = part?.axis === 1 ? [part.from, part.from + part.size] : [0, columns]
  /** Of the element in a row and a column, counted from where the change begins. */
  const at = contracted === 1
    ? (r: number, c: number): number => { let sum = 0; for (let k = 0; k < rank; k++) sum += (up[r * rank + k] as number) * (down[k * inputs + c] as number); return sum }
    : (r: number, c: number): number => { let sum = 0; for (let k = 0; k < rank; k++) sum += (up[c * rank + k] as number) * (down[k * inputs + r] as number); return sum }
  return {
    ...tensor,
    async read(into, from) {
      const [first, last] = [Math.floor(from / width), Math.ceil((from + into.byteLength) / width)]
      const bytes = new Uint8Array((last - first) * width)
      await tensor.read(bytes, first * width)
      const values = new Float32Array(numbersOf(elementsOf(bytes, dtype), dtype) as Float32Array)
      for (let row = Math.max(firstRow, Math.floor(first / columns)); row < Math.min(lastRow, Math.ceil(last / columns)); row++) {
        const [begin, end] = [Math.max(firstColumn, first - row * columns), Math.min(lastColumn, last - row * columns)]
        for (let column = begin; column < end; column++) values[row * columns + column - first] = (values[row * columns + column - first] as number) + scale * at(row - firstRow, column - firstColumn)
      }
      const data = castHost(values, 'f32', dtype)
      into.set(new Uint8Array(data.buffer, data.byteOffset + from - first * width, into.byteLength))
    },
  }
}
