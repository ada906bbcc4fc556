/** Pictures as plain trees of SVG: a page renders them as its own elements, a file has them as text. */

export interface Shape {
  readonly tag: string
  readonly attrs: { readonly [name: string]: string | number }
  readonly children: readonly (Shape | string)[]
}

/** What is undefined is left out. */
export function shape(tag: string, attrs: { readonly [name: string]: string | number | undefined }, ...children: readonly (Shape | string | undefined)[]): Shape {
  const given = Object.entries(attrs).filter((entry): entry is [string, string | number] => entry[1] !== undefined)
  return { tag, attrs: Object.fromEntries(given), children: children.filter(c => c !== undefined) }
}

/** A whole picture, in pixels of a page. */
export interface Picture {
  readonly width: number
  readonly height: number
  /** What it shows, for those who do not see it. */
  readonly title: string
  readonly shapes: readonly Shape[]
}

const escaped = (text: string): string => text.replace(/[&<>"]/g, c => `&#${c.charCodeAt(0)};`)
const round = (x: string | number): string => (typeof x === 'number' ? String(Math.round(x * 100) / 100) : x)

const textOf = ({ tag, attrs, children }: Shape, indent: string): string => {
  const open = `${indent}<${tag}${Object.entries(attrs).map(([name, value]) => ` ${name}="${escaped(round(value))}"`).join('')}`
  if (children.length === 0) return `${open}/>`
  // White space within text would be drawn.
  const text = children.every(c => typeof c === 'string')
  return text ? `${open}>${children.map(c => escaped(c)).join('')}</${tag}>` : `${open}>\n${children.map(c => (typeof c === 'string' ? escaped(c) : textOf(c, `${indent} `))).join('\n')}\n${indent}</${tag}>`
}

/** The picture as the text of a file that stands by itself, in the colours of `style`. */
export const fileOf = ({ width, height, title, shapes }: Picture, style: string): string => `${textOf(shape('svg', {
  xmlns: 'http://www.w3.org/2000/svg', class: 'drawn', viewBox: `0 0 ${Math.ceil(width)} ${Math.ceil(height)}`, width: Math.ceil(width), height: Math.ceil(height), role: 'img', 'aria-label': title,
}, shape('title', {}, title), shape('style', {}, style), shape('rect', { class: 'ground', width: '100%', height: '100%' }), ...shapes), '')}\n`

export interface TextOptions { readonly class?: string; readonly anchor?: 'start' | 'middle' | 'end'; readonly [attr: string]: string | number | undefined }
/** A line of text; `y` is its baseline. */
export const text = (x: number, y: number, words: string, { anchor = 'start', ...attrs }: TextOptions = {}): Shape =>
  shape('text', { x, y, ...(anchor === 'start' ? {} : { 'text-anchor': anchor }), ...attrs }, words)

/** About as wide as text of a picture is, in its usual size: nobody can measure it in a file. */
export const widthOf = (words: string, size = 12): number => words.length * size * 0.56
/** As much of it as fits. */
export const fitted = (words: string, width: number, size = 12): string => {
  const most = Math.floor(width / (size * 0.56))
  return words.length <= most ? words : most < 2 ? '' : `${words.slice(0, most - 1)}…`
}
