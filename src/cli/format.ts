/** Numbers as people read them. */

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
/** `4 s`, `1:23`, `2:01:07`. */
export function formatDuration(seconds: number): string {
  const s = Math.max(0, Math.round(seconds))
  if (s < 60) return `${s} s`
  const [h, m, rest] = [Math.floor(s / 3600), Math.floor(s / 60) % 60, String(s % 60).padStart(2, '0')]
  return h > 0 ? `${h}:${String(m).padStart(2, '0')}:${rest}` : `${m}:${rest}`
}
/** Columns padded to one width each; numbers to the right. */
export function formatTable(rows: readonly (readonly string[])[], rightFrom = 1): string[] {
  const widths = (rows[0] ?? []).map((_, i) => Math.max(...rows.map(r => (r[i] ?? '').length)))
  return rows.map(r => r.map((cell, i) => (i >= rightFrom ? cell.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0))).join('  ').trimEnd())
}
export { shellPath, shellWord } from '../io/shell.ts'
/** Text of a model as a terminal may show it: what would move the cursor or ring the bell is replaced. */
export const visible = (text: string): string => text.replace(/[^\P{Cc}\n\t]/gu, '\ufffd')
