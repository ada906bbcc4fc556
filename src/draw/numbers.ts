/** Bytes, operations and counts as people read them: on the command line, on the page, in pictures. */

const units = ['B', 'KB', 'MB', 'GB', 'TB', 'PB'] as const
/** Decimal units, three digits: `1.23 MB`. */
export function formatBytes(bytes: number): string {
  let [value, unit] = [bytes, 0]
  while (value >= 999.5 && unit < units.length - 1) [value, unit] = [value / 1000, unit + 1]
  return `${unit === 0 ? value : value.toPrecision(3)} ${units[unit] ?? ''}`
}
/** `1.23 M`, `456 K`. */
export function formatCount(n: number): string {
  return n >= 1e6 ? `${(n / 1e6).toPrecision(3)} M` : n >= 1e4 ? `${Math.round(n / 1e3)} K` : String(Math.round(n))
}
const flopUnits = ['FLOP', 'KFLOP', 'MFLOP', 'GFLOP', 'TFLOP', 'PFLOP', 'EFLOP', 'ZFLOP'] as const
/** `1.23 TFLOP`. */
export function formatFlops(flops: number): string {
  let [value, unit] = [flops, 0]
  while (value >= 999.5 && unit < flopUnits.length - 1) [value, unit] = [value / 1000, unit + 1]
  return `${unit === 0 ? value : value.toPrecision(3)} ${flopUnits[unit] ?? ''}`
}
export const formatInteger = (n: number): string => Math.round(n).toLocaleString('en-US')

/** `123 µs`, `12.3 ms`, `4.56 s`, `20.5 min`, `12 h`. */
export function formatMs(ms: number): string {
  if (ms === 0) return '0'
  if (ms < 1) return `${(1000 * ms).toPrecision(3)} µs`
  if (ms < 999.5) return `${ms.toPrecision(3)} ms`
  const s = ms / 1000
  return s < 999.5 ? `${s.toPrecision(3)} s` : s < 3600 * 10 ? `${(s / 60).toPrecision(3)} min` : s < 3.6e6 ? `${(s / 3600).toPrecision(3)} h` : `${formatInteger(s / 3600)} h`
}

/** Round numbers from 0 on, some five of them. */
export function ticks(most: number): number[] {
  const rough = most / 5
  const unit = 10 ** Math.floor(Math.log10(rough))
  const step = [1, 2, 5, 10].map(n => n * unit).find(s => s >= rough) ?? rough
  return Array.from({ length: Math.floor(most / step) + 1 }, (_, i) => i * step)
}
