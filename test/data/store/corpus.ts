/** Small corpora of drawn words, and the stores made of them. */
import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { sha256 } from '../../../src/io/checksum.ts'
import { prepareStore, type PrepareOptions } from '../../../src/data/store/prepare.ts'
import type { temporaryFolder } from '../temporary.ts'

export const tokenizerPath: string = fileURLToPath(new URL('../golden/tokenizer.json', import.meta.url))

/** Whole numbers below `n`, drawn by a seed. */
export function drawing(seed: number): (n: number) => number {
  let state = seed >>> 0
  return n => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor(state / 2 ** 32 * n)
  }
}

const words = 'the people of a nation hold these words to be their own and shall keep them as long as naïve 漢字 stand; we\'ll see 1790'.split(' ')
export const textOf = (draw: (n: number) => number, count: number): string => Array.from({ length: count }, () => words[draw(words.length)]).join(' ')

/** `documents` lines of JSON, of 1 to `most` words each. */
export function jsonLines(seed: number, documents: number, most: number): string {
  const draw = drawing(seed)
  return Array.from({ length: documents }, () => `${JSON.stringify({ text: textOf(draw, 1 + draw(most)) })}\n`).join('')
}

export type Folder = ReturnType<typeof temporaryFolder>

/** A store of such lines. */
export async function makeStore(at: Folder, name: string, content: string, options: Partial<PrepareOptions> = {}): Promise<string> {
  const { folder } = await prepareStore({ files: [at.file(`${name}.jsonl`, content)], out: at.at(name), tokenizer: { path: tokenizerPath }, workers: 1, ...options })
  return folder
}

/** Every file of a folder by its checksum. */
export const contentOf = (folder: string): { readonly [file: string]: string } =>
  Object.fromEntries(readdirSync(folder).sort().map(name => [name, sha256(readFileSync(join(folder, name)))]))
