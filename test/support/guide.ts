/** Guides as programs: the ts blocks of each in order, in one file, and what each block prints. */
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { all } from './depth.ts'
import { hesitant } from './hesitant.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
/** Stands between what one block prints and what the next does. */
const mark = '\u0001'

export interface Shown {
  readonly code: string
  /** The block after it, where that is one of plain text: what it prints. */
  readonly output: string | undefined
}

/** The ts blocks of a markdown text, each with the output that is shown of it. */
export function shownIn(text: string): readonly Shown[] {
  const fences = [...text.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)].map(([, language = '', body = '']) => ({ language, body }))
  return fences.flatMap(({ language, body }, i) => {
    const next = fences[i + 1]
    return language === 'ts' ? [{ code: body, output: next?.language === '' ? next.body : undefined }] : []
  })
}

const sourceOf = (blocks: readonly Shown[]): string => blocks.map(b => `${b.code}console.log('${mark}')\n`).join('\n')

/** In dist/, which git ignores: a file of the package finds the package by its own name. */
async function written<T>(guides: readonly (readonly Shown[])[], f: (files: readonly string[]) => T | Promise<T>): Promise<T> {
  const folder = mkdtempSync(`${root}/dist/guide-`)
  try {
    const files = guides.map((_, i) => `${folder}/${i}.mts`)
    for (const [i, blocks] of guides.entries()) writeFileSync(files[i] ?? '', sourceOf(blocks))
    return await f(files)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

export interface Ran { readonly out: string; readonly err: string; readonly status: number | null }
const started = (args: readonly string[], cwd: string, loaded: readonly string[] = ['--import', import.meta.resolve('tsx')]): Promise<Ran> => new Promise((resolve, reject) => {
  const child = spawn(process.execPath, [hesitant, ...loaded, ...args], { cwd, stdio: ['ignore', 'pipe', 'pipe'] })
  let [out, err] = ['', '']
  child.stdout.on('data', (chunk: Buffer) => { out += chunk.toString() })
  child.stderr.on('data', (chunk: Buffer) => { err += chunk.toString() })
  child.on('error', reject)
  child.on('close', status => { resolve({ out, err, status }) })
})

/** What programs print, for which 'meshwork' is this repository's build. In a process each, or where `together` says so in one for all. @param cwd where they run; the repository unless said */
export async function ran(files: readonly string[], { cwd = root, together = !all }: { readonly cwd?: string; readonly together?: boolean } = {}): Promise<readonly Ran[]> {
  if (!together) {
    const each: Ran[] = []
    for (const file of files) each.push(await started([file], cwd))
    return each
  }
  const { out, err, status } = await started([fileURLToPath(new URL('programs.mjs', import.meta.url)), ...files], cwd)
  const lines = out.split('\n').filter(line => line !== '')
  // What a library writes by itself, and what ends the process, is nobody's in particular: it is everybody's.
  return files.map((_, i) => {
    const own = JSON.parse(lines[i] ?? '{ "out": "", "err": "it was not come to\\n" }') as Pick<Ran, 'out' | 'err'>
    return { out: own.out, err: `${own.err}${err}`, status: status === 0 && own.err === '' ? 0 : status === 0 ? 1 : status }
  })
}

/** What each block of each guide prints, a guide being one program. */
export const printed = (guides: readonly (readonly Shown[])[], cwd: string = root): Promise<readonly { readonly outputs: readonly string[]; readonly stderr: string; readonly status: number | null }[]> =>
  written(guides, async files => (await ran(files, { cwd })).map(({ out, err, status }) => ({ outputs: out.split(`${mark}\n`), stderr: err, status })))

/** What the compiler has against each guide. It reads the package and the language once for all of them, and what it says of no guide it says of each. */
export const mistakes = (guides: readonly (readonly Shown[])[]): Promise<readonly (readonly string[])[]> => written(guides, async files => {
  const project = join(dirname(files[0] ?? ''), 'tsconfig.json')
  writeFileSync(project, JSON.stringify({ extends: `${root}tsconfig.json`, compilerOptions: { noEmit: true }, include: [], files }))
  const { out, err, status } = await started([`${root}node_modules/tsc7/bin/tsc`, '-p', project, '--pretty', 'false'], root, [])
  const said = `${out}${err}`.split('\n').filter(line => line !== '')
  const of = (line: string): number => files.findIndex(file => line.includes(`${basename(dirname(file))}/${basename(file)}(`))
  return files.map((_, i) => said.filter(line => [i, -1].includes(of(line))).concat(status === 0 || said.length > 0 ? [] : [`the compiler ended with ${status}`]))
})
