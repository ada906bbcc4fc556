/** A guide as a program: its ts blocks in order, in one file, and what each of them prints. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'
import { testLimit } from './limits.ts'

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
function written<T>(blocks: readonly Shown[], f: (file: string) => T): T {
  const folder = mkdtempSync(`${root}/dist/guide-`)
  try {
    const file = `${folder}/guide.mts`
    writeFileSync(file, sourceOf(blocks))
    return f(file)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** What each block prints, run as one program for which 'meshwork' is this repository's build. @param cwd where it runs; the repository unless said */
export const printed = (blocks: readonly Shown[], cwd: string = root): { readonly outputs: readonly string[]; readonly stderr: string; readonly status: number | null } => written(blocks, file => {
  const { stdout, stderr, status } = spawnSync(process.execPath, ['--import', import.meta.resolve('tsx'), file], { cwd, encoding: 'utf8', timeout: testLimit })
  return { outputs: stdout.split(`${mark}\n`), stderr, status }
})

/** The compiler's options, and files that it has read: those of the package and of the language are the same for every guide. */
let compiler: { readonly options: ts.CompilerOptions; readonly host: ts.CompilerHost } | undefined
function compilerOnce(): NonNullable<typeof compiler> {
  if (compiler !== undefined) return compiler
  const { config } = ts.readConfigFile(`${root}tsconfig.json`, path => ts.sys.readFile(path)) as { readonly config: object }
  const { options } = ts.parseJsonConfigFileContent({ ...config, include: [], files: ['package.json'] }, ts.sys, root)
  const host = ts.createCompilerHost(options)
  const read = host.getSourceFile.bind(host)
  const known = new Map<string, ts.SourceFile | undefined>()
  host.getSourceFile = (file, ...how) => {
    if (/\/guide-[^/]+\/guide\.mts$/.test(file)) return read(file, ...how)
    if (!known.has(file)) known.set(file, read(file, ...how))
    return known.get(file)
  }
  return compiler = { options, host }
}

/** What the compiler has against the program. */
export const mistakes = (blocks: readonly Shown[]): readonly string[] => written(blocks, file => {
  const { options, host } = compilerOnce()
  const program = ts.createProgram([file], options, host)
  return ts.getPreEmitDiagnostics(program, program.getSourceFile(file)).map(d => ts.flattenDiagnosticMessageText(d.messageText, '\n'))
})
