/** Files with something wrong in them, the same ones for the same seed. */
import { draw } from '../../support/values.ts'

/** Bytes that often mean something, so that they hit more than chance does. */
const telling = [0, 1, 0x7f, 0x80, 0xff, 0x0a, 0x0d, 0x22, 0x2c, 0x5c, 0x7b, 0x7d, 0x20, 0xfe, 0xc3, 0xe2]

/** The nth mutation of some bytes: one to four changes of random kinds. */
export function mutated(bytes: Uint8Array, seed: number, nth: number): Buffer {
  let at = nth * 64
  const below = (n: number): number => Math.floor(draw(seed, at++) * n)
  let all: Buffer = Buffer.from(bytes)
  for (let changes = 1 + below(4); changes > 0 && all.length > 0; changes--) {
    const from = below(all.length)
    const to = Math.min(all.length, from + 1 + below(below(8) === 0 ? all.length : 16))
    const kinds = [
      () => { all[from] = (all[from] ?? 0) ^ 1 << below(8) },
      () => { all[from] = telling[below(telling.length)] ?? 0 },
      () => { all[from] = below(256) },
      () => { if (from + 4 <= all.length) all.writeUInt32LE([0xffffffff, 0x7fffffff, 0x80000000, 0, 0x10000, 0xfffffff][below(6)] ?? 0, from) },
      () => { all = all.subarray(0, from) },
      () => { all = Buffer.concat([all.subarray(0, from), all.subarray(to)]) },
      () => { all = Buffer.concat([all.subarray(0, to), all.subarray(from)]) },
      () => { all = Buffer.concat([all.subarray(0, from), Buffer.from(Array.from({ length: 1 + below(8) }, () => telling[below(telling.length)] ?? 0)), all.subarray(from)]) },
      () => { all.fill(telling[below(telling.length)] ?? 0, from, to) },
    ]
    kinds[below(kinds.length)]?.()
  }
  return all
}
