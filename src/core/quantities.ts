/** Bytes, operations, times and counts as people read them: on the command line, in errors, on the page, in pictures. */

/** Three digits, and the unit in which they are less than a thousand: the last one has whatever there is. */
function scaled(n: number, units: readonly string[]): string {
  let [value, unit] = [n, 0]
  while (value >= 999.5 && unit < units.length - 1) [value, unit] = [value / 1000, unit + 1]
  return `${unit === 0 ? String(Math.round(value)) : value < 999.5 ? value.toPrecision(3) : formatInteger(value)} ${units[unit] ?? ''}`.trimEnd()
}

/** Decimal units, three digits: `1.23 MB`. */
export const formatBytes = (bytes: number): string => scaled(bytes, ['B', 'KB', 'MB', 'GB', 'TB', 'PB', 'EB'])
/** `1.23 M`, `456 K`; to the last one below ten thousand. */
export const formatCount = (n: number): string => (n < 9999.5 ? String(Math.round(n)) : scaled(n, ['', 'K', 'M', 'G', 'T']))
/** `1.23 TFLOP`. */
export const formatFlops = (flops: number): string => scaled(flops, ['FLOP', 'KFLOP', 'MFLOP', 'GFLOP', 'TFLOP', 'PFLOP', 'EFLOP', 'ZFLOP'])
export const formatInteger = (n: number): string => Math.round(n).toLocaleString('en-US')

/** `123 µs`, `12.3 ms`, `4.56 s`, `20.5 min`, `12.0 h`. */
export function formatMs(ms: number): string {
  if (ms === 0) return '0'
  if (ms < 0.9995) return `${(1000 * ms).toPrecision(3)} µs`
  if (ms < 999.5) return `${ms.toPrecision(3)} ms`
  const s = ms / 1000
  return s < 999.5 ? `${s.toPrecision(3)} s` : s < 3600 * 9.995 ? `${(s / 60).toPrecision(3)} min` : s < 3600 * 999.5 ? `${(s / 3600).toPrecision(3)} h` : `${formatInteger(s / 3600)} h`
}
