/** Numbers as people read them. */

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
export { formatBytes, formatCount, formatFlops, formatInteger, formatMs } from '../core/quantities.ts'
export { shellPath, shellWord } from '../io/shell.ts'
/** Text of a model as a terminal may show it: what would move the cursor or ring the bell is replaced. */
export const visible = (text: string): string => text.replace(/[^\P{Cc}\n\t]/gu, '\ufffd')
