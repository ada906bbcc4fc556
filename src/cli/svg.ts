/** Pictures as SVG: bars and curves with their words, light or dark as whoever looks at them has it. */

const escape = (text: string): string => text.replace(/[&<>"]/g, c => `&#${c.charCodeAt(0)};`)

export interface Box { readonly x: number; readonly y: number; readonly width: number; readonly height: number }

/** A bar with a colour, and what is said of it. */
export const bar = ({ x, y, width, height }: Box, colour: string, title: string): string =>
  `<rect x="${x.toFixed(1)}" y="${y.toFixed(1)}" width="${Math.max(0.3, width).toFixed(1)}" height="${height.toFixed(1)}" fill="${colour}"><title>${escape(title)}</title></rect>`
export const text = (x: number, y: number, words: string, anchor: 'start' | 'middle' | 'end' = 'start'): string => `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" text-anchor="${anchor}">${escape(words)}</text>`
export const rule = (x1: number, y1: number, x2: number, y2: number): string => `<line x1="${x1.toFixed(1)}" y1="${y1.toFixed(1)}" x2="${x2.toFixed(1)}" y2="${y2.toFixed(1)}"/>`
export const curve = (points: readonly (readonly [number, number])[], colour: string): string =>
  `<polyline fill="none" stroke="${colour}" stroke-width="2" points="${points.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join(' ')}"/>${points.map(([x, y]) => `<circle cx="${x.toFixed(1)}" cy="${y.toFixed(1)}" r="3" fill="${colour}"/>`).join('')}`

export const picture = (width: number, height: number, title: string, parts: readonly string[]): string => `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img">
<title>${escape(title)}</title>
<style>text { font: 12px sans-serif; fill: #222 } line { stroke: #999 } @media (prefers-color-scheme: dark) { svg { background: #181818 } text { fill: #ddd } }</style>
${parts.join('\n')}
</svg>
`

/** Colours that differ to most eyes, after Okabe and Ito 2008. */
export const colours = { product: '#0072b2', memory: '#56b4e9', collective: '#d55e00', turn: '#999999', idle: '#cccccc', good: '#009e73' } as const

/** Round numbers from 0 on, some five of them. */
export function ticks(most: number): number[] {
  const rough = most / 5
  const unit = 10 ** Math.floor(Math.log10(rough))
  const step = [1, 2, 5, 10].map(n => n * unit).find(s => s >= rough) ?? rough
  return Array.from({ length: Math.floor(most / step) + 1 }, (_, i) => i * step)
}
