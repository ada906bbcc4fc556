/** The colours of pictures: one style sheet, for files and for the page alike, in light and in dark. Those of a step's time differ to most eyes (Okabe and Ito 2008). */

/** What a class of shape is filled with, where the ground is light and where it is dark. */
const fills: { readonly [name: string]: readonly [light: string, dark: string] } = {
  ground: ['#fcfcfa', '#131514'], raised: ['#f3f3ef', '#1c1f1e'],
  parameters: ['#17624f', '#63c5a8'], state: ['#3455b5', '#8fa9f5'], activations: ['#c77a12', '#e3a54a'], rest: ['#8c8f88', '#6d7571'],
  forward: ['#2f8f6f', '#4aa486'], backward: ['#b35c00', '#d98a35'], update: ['#5b6fc4', '#7f92e0'],
  'of-product': ['#0072b2', '#4aa3dc'], 'of-memory': ['#56b4e9', '#2b6f9c'], 'of-collective': ['#d55e00', '#e8843c'], 'of-turn': ['#8c8f88', '#6d7571'], idle: ['#d3d3cc', '#3a403d'], back: ['#009e73', '#2fc79b'],
  'all-reduce': ['#a3285f', '#f08bb8'], 'all-gather': ['#6a3fa0', '#c3a1f0'], 'reduce-scatter': ['#0b6f85', '#66cbe0'], 'all-to-all': ['#5b6b00', '#c1cf5c'], permute: ['#7a4a2b', '#d5a582'],
}
const inks: { readonly [name: string]: readonly [light: string, dark: string] } = { ink: ['#1b1d1c', '#e6e8e5'], muted: ['#5c605a', '#9aa09b'], line: ['#cfcfc8', '#3a403d'], strong: ['#62665f', '#9aa09b'], accent: ['#17624f', '#63c5a8'] }

/** Those that curves are drawn in. */
const curves = ['of-product', 'back'] as const

const rules = (which: 0 | 1): string => [
  ...Object.entries(fills).map(([name, of]) => `.drawn .${name}{fill:${of[which]}}`),
  ...curves.map(name => `.drawn .curve.${name}{fill:none;stroke:${fills[name]?.[which] ?? ''}}`),
  `.drawn text{fill:${inks['ink']?.[which] ?? ''}}`, `.drawn .muted{fill:${inks['muted']?.[which] ?? ''}}`,
  `.drawn .on{fill:${which === 0 ? '#ffffff' : '#0c1a15'}}`, `.drawn .frame{stroke:${inks['line']?.[which] ?? ''}}`, `.drawn .rule{stroke:${inks['line']?.[which] ?? ''}}`, `.drawn .strong{stroke:${inks['strong']?.[which] ?? ''}}`, `.drawn .chosen{stroke:${inks['accent']?.[which] ?? ''}}`,
].join('')

/** For shapes within something of class `drawn`. */
export const style: string = [
  '.drawn text{font:12px system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans","Liberation Sans",sans-serif}', '.drawn .small{font-size:10px}', '.drawn .heading{font-weight:600}', '.drawn .onpart{fill:#10201a}',
  '.drawn .frame,.drawn .chosen{fill:none;stroke-width:1}', '.drawn .chosen{stroke-width:2.5}', '.drawn .rule,.drawn .strong{stroke-width:1;fill:none}', '.drawn .curve{stroke-width:2}', '.drawn .dashed{stroke-dasharray:3 3}', '.drawn .soft{fill-opacity:.14}',
  rules(0), `@media (prefers-color-scheme:dark){${rules(1)}}`,
].join('')

const channel = (x: number): string => Math.round(255 * Math.min(1, Math.max(0, x <= 0.0031308 ? 12.92 * x : 1.055 * x ** (1 / 2.4) - 0.055))).toString(16).padStart(2, '0')
/** A colour of OKLCH in sRGB; hue in degrees (Ottosson 2020). */
export function oklch(lightness: number, chroma: number, hue: number): string {
  const [a, b] = [chroma * Math.cos(hue * Math.PI / 180), chroma * Math.sin(hue * Math.PI / 180)]
  const [l, m, s] = [lightness + 0.3963377774 * a + 0.2158037573 * b, lightness - 0.1055613458 * a - 0.0638541728 * b, lightness - 0.0894841775 * a - 1.291485548 * b].map(x => x ** 3) as [number, number, number]
  return `#${channel(4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s)}${channel(-1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s)}${channel(-0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s)}`
}

/** The colour of one of some parts: hues all round, as even as they can be told apart; dark letters stand on any of them. What is whole is grey. */
export const partColour = (part: number, parts: number): string => (parts <= 1 ? oklch(0.82, 0.01, 160) : oklch(0.78, 0.115, (160 + 360 * part / parts) % 360))
