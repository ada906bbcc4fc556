/** The whole numbers and scales of a quantized tensor as they are, for weights that stay of 8 or 4 bits on a device. */
import { f16Bits } from '../../core/half-precision.ts'
import type { Ranged } from '../../io/ranged.ts'
import type { StoredTensor } from '../stored.ts'
import type { Blocks, Groups } from './blocks.ts'
import { copyPart, eachRun } from './decode.ts'

/**
 * A weight is `number · scale`, or `number · scale + offset` where there are offsets. Numbers are along the last axis, as `meshwork/nn`'s `Quantized` has them:
 * i8; or, of 4 bits, u8 of two neighbours, the first in its low half, 8 more than it is, or where there are offsets (0 to 15) as it is.
 */
export interface QuantizedParts {
  readonly bits: 8 | 4
  /** Neighbours along the last axis that share a scale. */
  readonly group: number
  /** i8 of the tensor's shape, or u8 with half as many along the last axis. */
  readonly values: StoredTensor
  /** f16 or f32, a scale for each group along the last axis. */
  readonly scale: StoredTensor
  readonly offset: StoredTensor | undefined
}

export function quantizedParts(file: Ranged, start: number, blocks: Blocks, shape: readonly number[]): QuantizedParts {
  const { bits, group, hasOffset, halfScales } = blocks
  const along = (by: number): readonly number[] => [...shape.slice(0, -1), (shape.at(-1) ?? 0) / by]
  const part = (dtype: 'i8' | 'u8' | 'f16' | 'f32', by: number, view: (groups: Groups) => ArrayBufferView): StoredTensor => {
    const bytes = { i8: 1, u8: 1, f16: 2, f32: 4 }[dtype]
    return {
      dtype, tag: dtype.toUpperCase(), shape: along(by), dims: undefined,
      read: (into, at) => eachRun(file, start, blocks, Math.floor(at / bytes) * by, Math.ceil((at + into.byteLength) / bytes) * by, (groups, first) => { copyPart(view(groups), first / by * bytes, into, at) }),
    }
  }
  const floats = (pick: (groups: Groups) => Float32Array): StoredTensor =>
    halfScales ? part('f16', group, groups => Uint16Array.from(pick(groups), f16Bits)) : part('f32', group, pick)
  return {
    bits, group, scale: floats(g => g.scales), offset: hasOffset ? floats(g => g.offsets) : undefined,
    values: bits === 8 ? part('i8', 1, g => g.numbers) : part('u8', 2, g => paired(g.numbers, hasOffset ? 0 : 8)),
  }
}

function paired(numbers: Int8Array, more: number): Uint8Array {
  const pairs = new Uint8Array(numbers.length / 2)
  for (let i = 0; i < pairs.length; i++) pairs[i] = (numbers[2 * i] as number) + more | (numbers[2 * i + 1] as number) + more << 4
  return pairs
}
