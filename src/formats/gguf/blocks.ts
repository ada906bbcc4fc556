/**
 * GGUF's blocks of quantized weights, decoded as llama.cpp does (ggml-quants.c, `dequantize_row_*`): whole numbers of a few bits, and for each group of them a
 * scale, in some an offset too. A weight is `number · scale` or `number · scale + offset`; every product is exact, so that each weight is rounded once, to f32.
 */
import { f16FromBits } from '../../core/half-precision.ts'

/** Whole numbers with their groups' scales: weight = number · scale + offset. */
export interface Groups {
  /** From −128 to 127. */
  readonly numbers: Int8Array
  readonly scales: Float32Array
  /** Zeros where the type has none. */
  readonly offsets: Float32Array
}

export interface Blocks {
  readonly elements: number
  readonly bytes: number
  /** Elements that share a scale. */
  readonly group: number
  /** Bits that a number needs. */
  readonly bits: 4 | 8
  /** Whether groups have an offset. */
  readonly hasOffset: boolean
  /** Whether every scale and offset is an f16. */
  readonly halfScales: boolean
  /** One block from byte `at` on; its elements begin at the n-th of `into`. */
  readonly unpack: (bytes: Uint8Array, at: number, into: Groups, n: number) => void
}

const u16 = (bytes: Uint8Array, at: number): number => (bytes[at] as number) | (bytes[at + 1] as number) << 8
const half = (bytes: Uint8Array, at: number): number => f16FromBits(u16(bytes, at))

/** The blocks of 32: scale, offset in some, a fifth bit of each in some, then halves of bytes: the low ones are the first 16 elements. */
function small(fifth: boolean, hasOffset: boolean): Blocks {
  const head = hasOffset ? 4 : 2
  const zero = hasOffset ? 0 : fifth ? 16 : 8
  return {
    elements: 32, bytes: head + (fifth ? 4 : 0) + 16, group: 32, bits: fifth ? 8 : 4, hasOffset, halfScales: true,
    unpack(bytes, at, { numbers, scales, offsets }, n) {
      scales[n / 32] = half(bytes, at)
      offsets[n / 32] = hasOffset ? half(bytes, at + 2) : 0
      const high = fifth ? u16(bytes, at + head) | u16(bytes, at + head + 2) << 16 : 0
      const data = at + head + (fifth ? 4 : 0)
      for (let i = 0; i < 16; i++) {
        const pair = bytes[data + i] as number
        numbers[n + i] = (pair & 15 | (high >>> i & 1) << 4) - zero
        numbers[n + 16 + i] = (pair >> 4 | (high >>> i + 16 & 1) << 4) - zero
      }
    },
  }
}
export const q4_0: Blocks = small(false, false)
export const q4_1: Blocks = small(false, true)
export const q5_0: Blocks = small(true, false)
export const q5_1: Blocks = small(true, true)

export const q8_0: Blocks = {
  elements: 32, bytes: 34, group: 32, bits: 8, hasOffset: false, halfScales: true,
  unpack(bytes, at, { numbers, scales, offsets }, n) {
    scales[n / 32] = half(bytes, at)
    offsets[n / 32] = 0
    for (let i = 0; i < 32; i++) numbers[n + i] = bytes[at + 2 + i] as number
  },
}

/** The blocks of 256 with eight groups: two f16, by which eight scales and eight offsets of six bits are multiplied (12 bytes); a fifth bit of each in some; halves of bytes. */
function large(fifth: boolean): Blocks {
  return {
    elements: 256, bytes: 16 + (fifth ? 32 : 0) + 128, group: 32, bits: fifth ? 8 : 4, hasOffset: true, halfScales: false,
    unpack(bytes, at, { numbers, scales, offsets }, n) {
      const [scale, offset] = [half(bytes, at), half(bytes, at + 2)]
      const six = at + 4
      for (let g = 0; g < 8; g++) {
        // Of the last four groups the upper two bits lie in the upper bits of the first four.
        const s = g < 4 ? (bytes[six + g] as number) & 63 : (bytes[six + g + 4] as number) & 15 | (bytes[six + g - 4] as number) >> 6 << 4
        const o = g < 4 ? (bytes[six + g + 4] as number) & 63 : (bytes[six + g + 4] as number) >> 4 | (bytes[six + g] as number) >> 6 << 4
        scales[n / 32 + g] = scale * s
        offsets[n / 32 + g] = -(offset * o)
      }
      const high = at + 16
      const data = high + (fifth ? 32 : 0)
      // Each 32 bytes hold two groups, in their halves.
      for (let g = 0; g < 8; g++) {
        const from = data + 32 * (g >> 1)
        for (let i = 0; i < 32; i++) {
          const pair = bytes[from + i] as number
          const low = g & 1 ? pair >> 4 : pair & 15
          numbers[n + 32 * g + i] = fifth ? low | ((bytes[high + i] as number) >> g & 1) << 4 : low
        }
      }
    },
  }
}
export const q4_k: Blocks = large(false)
export const q5_k: Blocks = large(true)

/** 128 bytes of low halves, 64 of upper pairs of bits, 16 scales (i8), and the f16 that they are multiplied by. */
export const q6_k: Blocks = {
  elements: 256, bytes: 210, group: 16, bits: 8, hasOffset: false, halfScales: false,
  unpack(bytes, at, { numbers, scales, offsets }, n) {
    const scale = half(bytes, at + 208)
    for (let g = 0; g < 16; g++) {
      scales[n / 16 + g] = scale * ((bytes[at + 192 + g] as number) << 24 >> 24)
      offsets[n / 16 + g] = 0
    }
    for (let i = 0; i < 256; i++) {
      // Of each half of the block: four stretches of 32, the first two in the low halves of 64 bytes, the others in the upper.
      const [side, stretch, within] = [i >> 7, i >> 5 & 3, i & 31]
      const pair = bytes[at + 64 * side + 32 * (stretch & 1) + within] as number
      const low = stretch < 2 ? pair & 15 : pair >> 4
      const upper = (bytes[at + 128 + 32 * side + within] as number) >> 2 * stretch & 3
      numbers[n + i] = (low | upper << 4) - 32
    }
  },
}

export const emptyGroups = ({ group }: Blocks, elements: number): Groups =>
  ({ numbers: new Int8Array(elements), scales: new Float32Array(elements / group), offsets: new Float32Array(elements / group) })

/** Blocks side by side, as many as `into` has elements for. */
export function unpackAll(blocks: Blocks, bytes: Uint8Array, into: Groups): void {
  for (let n = 0, at = 0; n < into.numbers.length; n += blocks.elements, at += blocks.bytes) blocks.unpack(bytes, at, into, n)
}

/** The weights of unpacked groups. */
export function weightsOf({ group, hasOffset }: Blocks, { numbers, scales, offsets }: Groups, out: Float32Array): void {
  for (let g = 0, i = 0; i < numbers.length; g++) {
    const [scale, offset] = [scales[g] as number, offsets[g] as number]
    const end = i + group
    if (hasOffset) for (; i < end; i++) out[i] = (numbers[i] as number) * scale + offset
    else for (; i < end; i++) out[i] = (numbers[i] as number) * scale
  }
}
