/** Curves as an SVG that stands by itself, for papers and READMEs. */
import { escaped } from '../shell/save.ts'

export interface Line { readonly label: string; readonly colour: string; readonly x: readonly number[]; readonly y: readonly (number | null | undefined)[]; readonly kind: 'line' | 'faint' | 'points' }
export interface Chart { readonly title: string; readonly x: string; readonly lines: readonly Line[]; readonly log: boolean; readonly ink: string; readonly muted: string; readonly grid: string; readonly ground: string; readonly width?: number; readonly height?: number }

/** Numbers at even distances, 1, 2 or 5 times a power of ten. */
export function ticks(low: number, high: number, most: number): number[] {
  if (!(high > low)) return [low]
  const raw = (high - low) / most
  const power = 10 ** Math.floor(Math.log10(raw))
  const step = [1, 2, 5, 10].map(f => f * power).find(s => s >= raw) ?? 10 * power
  return Array.from({ length: Math.floor(high / step + 1e-9) - Math.ceil(low / step - 1e-9) + 1 }, (_, i) => Number(((Math.ceil(low / step - 1e-9) + i) * step).toPrecision(12)))
}
const powers = (low: number, high: number): number[] => Array.from({ length: Math.max(0, Math.floor(Math.log10(high)) - Math.ceil(Math.log10(low)) + 1) }, (_, i) => 10 ** (Math.ceil(Math.log10(low)) + i))

/** A number on an axis. */
export const tick = (x: number): string => {
  const size = Math.abs(x)
  return size === 0 ? '0' : size >= 1e6 || size < 1e-3 ? x.toExponential(1).replace('.0e', 'e').replace('e+', 'e') : Number(x.toPrecision(6)).toLocaleString('en', { maximumFractionDigits: 6 })
}

export function chartSvg({ title, x: axis, lines, log, ink, muted, grid, ground, width = 720, height = 320 }: Chart): string {
  const isDrawn = (y: number | null | undefined): y is number => typeof y === 'number' && (!log || y > 0)
  const [left, right, top, bottom] = [64, 16, 40, 40 + 18 * Math.ceil(lines.filter(l => l.kind !== 'faint').length / 3)]
  const xs = lines.flatMap(l => l.x.filter((_, i) => isDrawn(l.y[i])))
  const ys = lines.flatMap(l => l.y.filter(isDrawn))
  const [x0, x1] = [xs.reduce((a, b) => Math.min(a, b), Infinity), xs.reduce((a, b) => Math.max(a, b), -Infinity)]
  const [least, greatest] = [ys.reduce((a, b) => Math.min(a, b), Infinity), ys.reduce((a, b) => Math.max(a, b), -Infinity)]
  const scale = (y: number): number => (log ? Math.log10(y) : y)
  const pad = greatest > least ? 0.05 * (scale(greatest) - scale(least)) : Math.abs(scale(least)) * 0.1 || 1
  const [y0, y1] = [scale(least) - pad, scale(greatest) + pad]
  const px = (x: number): number => left + (x1 > x0 ? (x - x0) / (x1 - x0) : 0.5) * (width - left - right)
  const py = (y: number): number => height - bottom - (scale(y) - y0) / (y1 - y0) * (height - top - bottom)
  const at = (x: number): string => x.toFixed(1)
  const text = (x: number, y: number, anchor: string, colour: string, words: string): string => `<text x="${at(x)}" y="${at(y)}" text-anchor="${anchor}" fill="${colour}">${escaped(words)}</text>`
  const parts: string[] = []
  if (xs.length > 0) {
    const marks = log ? powers(10 ** y0, 10 ** y1) : []
    for (const y of marks.length > 1 ? marks : ticks(log ? 10 ** y0 : y0, log ? 10 ** y1 : y1, 5).filter(t => !log || t > 0)) parts.push(`<path d="M${left} ${at(py(y))}H${width - right}" stroke="${grid}"/>`, text(left - 8, py(y) + 4, 'end', muted, tick(y)))
    for (const x of ticks(x0, x1, 6)) parts.push(text(px(x), height - bottom + 18, 'middle', muted, tick(x)))
  }
  parts.push(text(width - right, height - bottom + 34, 'end', muted, axis))
  for (const { colour, kind, x, y } of lines) {
    if (kind === 'points') {
      x.forEach((place, i) => { const value = y[i]; if (isDrawn(value)) parts.push(`<circle cx="${at(px(place))}" cy="${at(py(value))}" r="3" fill="${ground}" stroke="${colour}" stroke-width="1.5"/>`) })
      continue
    }
    let [path, open] = ['', false]
    x.forEach((place, i) => {
      const value = y[i]
      if (value === undefined) return
      if (isDrawn(value)) path += `${open ? 'L' : 'M'}${at(px(place))} ${at(py(value))}`
      open = isDrawn(value)
    })
    if (path !== '') parts.push(`<path d="${path}" fill="none" stroke="${colour}" stroke-width="1.5" stroke-linejoin="round"${kind === 'faint' ? ' stroke-opacity="0.3"' : ''}/>`)
  }
  lines.filter(l => l.kind !== 'faint').forEach(({ label, colour }, i) => {
    const [x, y] = [left + (i % 3) * (width - left - right) / 3, height - bottom + 52 + 18 * Math.floor(i / 3)]
    parts.push(`<path d="M${at(x)} ${at(y - 4)}h16" stroke="${colour}" stroke-width="3"/>`, text(x + 22, y, 'start', ink, label))
  })
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height + 20}" width="${width}" height="${height + 20}" font-family="system-ui, sans-serif" font-size="12"><rect width="100%" height="100%" fill="${ground}"/><text x="${left}" y="24" fill="${ink}" font-size="15" font-weight="600">${escaped(title)}</text>${parts.join('')}</svg>\n`
}
