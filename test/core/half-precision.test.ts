/** Whole arrays of half-precision numbers, held to the rounding of one number. */
import { describe, expect, it } from 'vitest'
import { bf16Bits, bf16FromBits, f16Bits, f16FromBits, halvesOf, numbersOf, roundBf16, roundF16 } from '../../src/core/half-precision.ts'
import { threefry2x32 } from '../../src/core/threefry.ts'

const kinds = [
  { dtype: 'bf16', toBits: (x: number) => bf16Bits(roundBf16(x)), fromBits: bf16FromBits },
  { dtype: 'f16', toBits: (x: number) => f16Bits(roundF16(x)), fromBits: f16FromBits },
] as const

/** Every pattern of the upper bits, with lower ones below, at and above a tie of either kind; and words at random. */
const words = Uint32Array.from({ length: 7 * 65536 }, (_, i) => (i < 6 * 65536 ? (i % 65536) << 16 | ([0, 1, 0x1000, 0x7fff, 0x8000, 0x8001][i >>> 16] as number) : threefry2x32(1, 2, i, 0)))

describe.each(kinds)('arrays of $dtype', ({ dtype, toBits, fromBits }) => {
  it('become numbers, whatever the bits', () => {
    const numbers = numbersOf(Uint16Array.from({ length: 65536 }, (_, i) => i), dtype)
    expect(numbers.findIndex((x, i) => !Object.is(Number(x), fromBits(i)))).toBe(-1)
  })
  it.each(['f32', 'f64'] as const)('are made of %s, each rounded once', (from) => {
    const numbers = from === 'f32' ? new Float32Array(words.buffer) : Float64Array.from(new Float32Array(words.buffer), x => x * (1 + 2 ** -40))
    const bits = halvesOf(numbers, dtype)
    expect(bits.findIndex((b, i) => b !== toBits(numbers[i] as number))).toBe(-1)
  })
})
