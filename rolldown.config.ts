/** How the package is built: from src/ and recipes/ into dist/, in pieces as large as folders allow. Node takes about half a millisecond for each file that it loads, and there are nine hundred. */
import { readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { RolldownOptions } from 'rolldown'

const at = (path: string): string => fileURLToPath(new URL(path, import.meta.url))

/** What is loaded by its name: the package's doors, the command and what it begins with, what threads begin with, and the loader's hook. */
const entries = [
  'index', 'nn/index', 'parallel/index', 'optim/index', 'models/index', 'data/index', 'serve/index', 'train/index',
  'cli/main', 'runtime/pjrt/cpu/allocator', 'cli/page-worker', 'cli/plan-worker', 'cli/planning-worker', 'data/store/worker', 'serve/constraints/worker', 'cli/as-module',
]
const recipes = readdirSync(at('recipes')).filter(file => file.endsWith('.ts')).map(file => file.slice(0, -'.ts'.length))

/** `src/graph` of a module in that folder, or below; what lies in src/ itself has none, and neither has what is not ours. */
const folderOf = (id: string): string | undefined => (id.startsWith(at('src/')) ? /^src\/[^/]+(?=\/)/.exec(id.slice(at('.').length))?.[0] : undefined)

const config = {
  input: Object.fromEntries([...entries.map(name => `src/${name}`), ...recipes.map(name => `recipes/${name}`)].map(name => [name, at(`${name}.ts`)])),
  // As tsc has it: what Node 20 does not know is written in older words, with a helper that comes along.
  platform: 'node', transform: { target: 'es2023' },
  external: (id: string): boolean => !/^[./]|^\0|^@oxc-project\/runtime/.test(id),
  // A door may lie in a piece with more names than its own; that is how others find them there.
  preserveEntrySignatures: 'allow-extension',
  output: {
    dir: at('dist'), format: 'es', sourcemap: true, sourcemapExcludeSources: true, keepNames: true, entryFileNames: '[name].js',
    // By the folder that a frame's file lies in, the user's lines are told from ours (core/site.ts). Two levels down everywhere, so that paths from there are the same as from src/.
    chunkFileNames: ({ facadeModuleId, moduleIds }) => `${folderOf(facadeModuleId ?? moduleIds[0] ?? '') ?? 'src/others'}/part-[hash].js`,
    // A folder's modules that the same entries need are one piece. Folders import each other in one direction alone, so pieces do too, and everything runs in the order that it had.
    codeSplitting: { includeDependenciesRecursively: false, groups: [{ debugName: 'folders', name: id => folderOf(id) ?? null, entriesAware: true }] },
  },
} satisfies RolldownOptions
export default config
