/** The whole numbers and scales of a quantized tensor as they are, for weights that stay of 8 or 4 bits on a device. */
import { f16Bits } from '../../core/half-precision.ts'
import type { Ranged } from '../../io/ranged.ts'
import type { StoredTensor } from '../stored.ts'
import type { Blocks, Groups } from './blocks.ts'
import { copyPart, eachRun } from './decode.ts'

/** How numbers of few bits and what they are multiplied by lie: as `meshwork/nn`'s `Quantized` has them, along the last axis. */
export interface QuantizedForm {
  /** Numbers are i8; or, of 4 bits, u8 of two neighbours, the first in its low half: 8 more than it is, or, where there are offsets, from 0 to 15 as it is. */
  readonly bits: 8 | 4
  /** Neighbours along the last axis that share a scale. */
  readonly group: number
  /** What scales and offsets are. */
  readonly scales: 'f16' | 'f32'
  /** Whether a weight is `number · scale + offset`, and not `number · scale`. */
  readonly offsets: boolean
}
export interface QuantizedTensors {
  /** i8 of the tensor's shape, or u8 with half as many along the last axis. */
  readonly values: StoredTensor
  /** A scale for each group along the last axis. */
  readonly scale: StoredTensor
  readonly offset: StoredTensor | undefined
}

/** A tensor of few bits as it is. */
export interface QuantizedParts extends QuantizedTensors, Pick<QuantizedForm, 'bits' | 'group'> {
  readonly form: QuantizedForm
  /**
   * The same weights in a wider form, exactly: more bits, groups that are parts of its own, f32 for f16, offsets where it has none. So several tensors, of other types, become one parameter.
   * @throws RangeError for a form that is narrower
   */
  as(form: QuantizedForm): QuantizedTensors
}

const widths = { i8: 1, u8: 1, f16: 2, f32: 4 } as const

export function quantizedParts(file: Ranged, start: number, blocks: Blocks, shape: readonly number[]): QuantizedParts {
  const own: QuantizedForm = { bits: blocks.bits, group: blocks.group, scales: blocks.halfScales ? 'f16' : 'f32', offsets: blocks.hasOffset }
  const along = (by: number): readonly number[] => [...shape.slice(0, -1), (shape.at(-1) ?? 0) / by]
  const part = (dtype: keyof typeof widths, by: number, view: (groups: Groups) => ArrayBufferView): StoredTensor => {
    const bytes = widths[dtype]
    return {
      dtype, tag: dtype.toUpperCase(), shape: along(by), dims: undefined,
      read: (into, at) => eachRun(file, start, blocks, Math.floor(at / bytes) * by, Math.ceil((at + into.byteLength) / bytes) * by, (groups, first) => { copyPart(view(groups), first / by * bytes, into, at) }),
    }
  }
  const as = ({ bits, group, scales, offsets }: QuantizedForm): QuantizedTensors => {
    if (bits < own.bits || own.group % group !== 0 || (scales === 'f16' && own.scales === 'f32') || (own.offsets && !offsets)) throw new RangeError('a form that is narrower than the weights')
    // Pairs of numbers with offsets are never below 0; what these have too much is in the offset, which is exact: it is a power of two times the scale.
    const raised = bits === 4 && offsets && !own.offsets
    const floats = (pick: (groups: Groups) => Float32Array): StoredTensor => {
      const each = (groups: Groups): Float32Array => repeated(pick(groups), own.group / group)
      return scales === 'f16' ? part('f16', group, groups => Uint16Array.from(each(groups), f16Bits)) : part('f32', group, each)
    }
    return {
      values: bits === 8 ? part('i8', 1, g => g.numbers) : part('u8', 2, g => paired(g.numbers, own.offsets ? 0 : 8)),
      scale: floats(g => g.scales), offset: offsets ? floats(g => (raised ? g.scales.map(scale => -8 * scale) : g.offsets)) : undefined,
    }
  }
  return { bits: own.bits, group: own.group, form: own, as, ...as(own) }
}

/** Each number so many times. */
function repeated(numbers: Float32Array, times: number): Float32Array {
  if (times === 1) return numbers
  const out = new Float32Array(numbers.length * times)
  for (let i = 0; i < numbers.length; i++) out.fill(numbers[i] as number, i * times, (i + 1) * times)
  return out
}

function paired(numbers: Int8Array, more: number): Uint8Array {
  const pairs = new Uint8Array(numbers.length / 2)
  for (let i = 0; i < pairs.length; i++) pairs[i] = (numbers[2 * i] as number) + more | (numbers[2 * i + 1] as number) + more << 4
  return pairs
}
