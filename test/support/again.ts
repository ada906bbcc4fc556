/** Meshes, layouts and whole trials as the words of a command line, and back. */
import type { Layout } from '../../src/core/layout.ts'

export interface MeshSizes { readonly [axis: string]: number }

export const meshText = (sizes: MeshSizes): string => Object.entries(sizes).map(([axis, size]) => `${axis}=${size}`).join(',')
/** `a=x,b=y+z`: dim b on the axes y and z; nothing split is `none`. */
export const layoutText = (layout: Layout): string => Object.entries(layout).map(([dim, axes]) => `${dim}=${[axes ?? []].flat().join('+')}`).join(',') || 'none'

function pairs(text: string, form: string): [string, string][] {
  return text.split(',').map(pair => {
    const [, key, value] = /^([\w.]+)=([\w.+]+)$/.exec(pair) ?? []
    if (key === undefined || value === undefined) throw new Error(`"${text}" is not ${form}`)
    return [key, value]
  })
}

export const parsedMesh = (text: string): MeshSizes => Object.fromEntries(pairs(text, 'AXIS=N,…').map(([axis, size]) => {
  if (!/^[1-9]\d*$/.test(size)) throw new Error(`"${text}" is not AXIS=N,…: "${size}" is no size`)
  return [axis, Number(size)]
}))
export const parsedLayout = (text: string): Layout => (text === 'none' ? {} : Object.fromEntries(pairs(text, 'DIM=AXIS,… or none').map(([dim, axes]) => [dim, axes.split('+')])))

/** As a shell reads it. */
export const quoted = (word: string): string => (/^[\w=,.+/:-]+$/.test(word) ? word : `'${word.replaceAll('\'', '\'\\\'\'')}'`)

/** The command that runs one trial. */
export const again = (t: { readonly name: string; readonly layout: Layout }, sizes: MeshSizes, backend: string): string =>
  `npm run ops -- --case ${quoted(t.name)} --mesh ${meshText(sizes)} --layout ${layoutText(t.layout)} --backend ${backend}`
