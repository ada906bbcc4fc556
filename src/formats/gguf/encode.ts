/** Weights as the blocks of GGUF, as llama.cpp's reference makes them (ggml-quants.c, `quantize_row_*_ref`). */
import { bf16Bits, f16Bits, roundBf16, roundF16 } from '../../core/half-precision.ts'

/** What can be written. */
export type WrittenType = 'F32' | 'F16' | 'BF16' | 'Q8_0' | 'Q4_0'

interface Encoding {
  /** The number that the file has for the type. */
  readonly id: number
  readonly elements: number
  readonly bytes: number
  /** `into` has the bytes for all of `weights`. */
  readonly encode: (weights: Float32Array, into: Uint8Array) => void
}

const words = (bits: (x: number) => number) => (weights: Float32Array, into: Uint8Array): void => {
  const view = new DataView(into.buffer, into.byteOffset)
  weights.forEach((x, i) => { view.setUint16(2 * i, bits(x), true) })
}
const half = (x: number): number => f16Bits(roundF16(x))
const { fround } = Math
/** To the nearest whole number, halves away from zero, as C's roundf. */
const round = (x: number): number => (x < 0 ? -Math.floor(-x + 0.5) : Math.floor(x + 0.5))

/** Calls `block` for each 32 weights with the element of the largest size among them. */
function eachBlock(weights: Float32Array, block: (from: number, largest: number, nth: number) => void): void {
  for (let from = 0, nth = 0; from < weights.length; from += 32, nth++) {
    let largest = 0
    for (let i = from; i < from + 32; i++) if (Math.abs(weights[i] as number) > Math.abs(largest)) largest = weights[i] as number
    block(from, largest, nth)
  }
}

export const encodings: { readonly [T in WrittenType]: Encoding } = {
  F32: { id: 0, elements: 1, bytes: 4, encode: (weights, into) => { into.set(new Uint8Array(weights.buffer, weights.byteOffset, weights.byteLength)) } },
  F16: { id: 1, elements: 1, bytes: 2, encode: words(half) },
  BF16: { id: 30, elements: 1, bytes: 2, encode: words(x => bf16Bits(roundBf16(x))) },
  Q8_0: {
    id: 8, elements: 32, bytes: 34,
    encode(weights, into) {
      const view = new DataView(into.buffer, into.byteOffset)
      eachBlock(weights, (from, largest, nth) => {
        const scale = fround(Math.abs(largest) / 127)
        const inverse = scale === 0 ? 0 : fround(1 / scale)
        view.setUint16(34 * nth, half(scale), true)
        for (let i = 0; i < 32; i++) view.setInt8(34 * nth + 2 + i, round(fround((weights[from + i] as number) * inverse)))
      })
    },
  },
  Q4_0: {
    id: 2, elements: 32, bytes: 18,
    encode(weights, into) {
      const view = new DataView(into.buffer, into.byteOffset)
      eachBlock(weights, (from, largest, nth) => {
        const scale = fround(largest / -8)
        const inverse = scale === 0 ? 0 : fround(1 / scale)
        const number = (i: number): number => Math.min(15, Math.trunc((weights[from + i] as number) * inverse + 8.5))
        view.setUint16(18 * nth, half(scale), true)
        for (let i = 0; i < 16; i++) view.setUint8(18 * nth + 2 + i, number(i) | number(i + 16) << 4)
      })
    },
  },
}
