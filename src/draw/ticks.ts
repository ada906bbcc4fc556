/** Where the rules of a picture are. */

/** Round numbers from 0 on, some five of them. */
export function ticks(most: number): number[] {
  const rough = most / 5
  const unit = 10 ** Math.floor(Math.log10(rough))
  const step = [1, 2, 5, 10].map(n => n * unit).find(s => s >= rough) ?? rough
  return Array.from({ length: Math.floor(most / step) + 1 }, (_, i) => i * step)
}
