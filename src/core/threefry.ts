/** Threefry-2x32 with 20 rounds, plainly (Salmon et al. 2011, and Random123's threefry.h for the constants). */

const rotations = [[13, 15, 26, 6], [17, 29, 16, 24]] as const
const rotate = (x: number, by: number): number => ((x << by) | (x >>> (32 - by))) >>> 0

/** The first word of the block. All arguments and the result are u32. */
export function threefry2x32(key0: number, key1: number, counter0: number, counter1: number): number {
  const keys = [key0, key1, (key0 ^ key1 ^ 0x1bd11bda) >>> 0] as const
  let x0 = (counter0 + key0) >>> 0
  let x1 = (counter1 + key1) >>> 0
  for (let group = 0; group < 5; group++) {
    for (const by of rotations[group % 2 === 0 ? 0 : 1]) {
      x0 = (x0 + x1) >>> 0
      x1 = (rotate(x1, by) ^ x0) >>> 0
    }
    x0 = (x0 + (keys[(group + 1) % 3] ?? 0)) >>> 0
    x1 = (x1 + (keys[(group + 2) % 3] ?? 0) + group + 1) >>> 0
  }
  return x0
}
