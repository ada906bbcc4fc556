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

/** `1.23 ms`, `4.5 s`. */
export const formatMs = (ms: number): string => (ms < 1 ? `${(1000 * ms).toPrecision(3)} µs` : ms < 1000 ? `${ms.toPrecision(3)} ms` : `${(ms / 1000).toPrecision(3)} s`)
