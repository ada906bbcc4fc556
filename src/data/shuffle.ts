/** Order from a key, without state: any place of any epoch is found at once. */

/** The finaliser of MurmurHash3: every bit of the result hangs on every bit of `h`. */
function mix(h: number): number {
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}

/** A u32 from whole numbers below 2^53. */
export function hash(...numbers: readonly number[]): number {
  let h = 0
  for (const n of numbers) {
    h = mix((h ^ (n >>> 0)) + 0x9e3779b9)
    h = mix((h ^ Math.floor(n / 2 ** 32)) + 0x9e3779b9)
  }
  return h
}

const rounds = 6

/**
 * A bijection on 0 … size-1, chosen by `key`: a Feistel network over the next power of four, walked until it lands inside
 * (Black and Rogaway 2002). The network is a bijection whatever its round function, and so is the walk.
 */
export function permutation(size: number, key: number): (index: number) => number {
  const half = Math.max(1, Math.ceil(Math.log2(size) / 2))
  const radix = 2 ** half
  const keys = Array.from({ length: rounds }, (_, round) => hash(key, round))
  const once = (index: number): number => {
    let [left, right] = [Math.floor(index / radix), index % radix]
    for (const k of keys) [left, right] = [right, (left ^ mix(right ^ k)) & (radix - 1)]
    return left * radix + right
  }
  return index => {
    let at = once(index)
    while (at >= size) at = once(at)
    return at
  }
}
