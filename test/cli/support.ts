/** The built command in processes of its own, in a folder of its own, with what it needs to be quick. */
import { fork, spawn, type ChildProcess, type ChildProcessByStdio } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { Readable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { cacheRoot } from '../../src/io/cache-root.ts'
import { queue } from '../../src/runtime/processes.ts'
import { quickly } from '../support/depth.ts'
import { hesitant } from '../support/hesitant.ts'

export const root = fileURLToPath(new URL('../..', import.meta.url))
const bin = join(root, 'bin', 'meshwork.js')

/** A model that a laptop's interpreter trains in no time. */
export const small = [
  '--set', 'model.layers=1', 'model.embed=16', 'model.heads=2', 'model.headDim=8', 'model.hidden=32', 'model.vocab=300', 'model.seq=16',
  'batch=4', 'evaluation.batches=2', 'sample.tokens=4',
]
const words = 'the people of a nation hold these words to be their own and shall keep them'.split(' ')
/** Text in which every word comes often, about 12 KB. */
export const text = Array.from({ length: 2400 }, (_, i) => words[(i * i + (i >> 3)) % words.length]).join(' ')

export interface Ended { readonly code: number | null; readonly signal: NodeJS.Signals | null; readonly out: string; readonly err: string }
type Child = ChildProcessByStdio<null, Readable, Readable>
export interface RunOptions {
  readonly cwd: string
  readonly env?: Readonly<Record<string, string>>
  readonly onStart?: (child: Child) => void
  /** Called with everything printed so far whenever there is more. */
  readonly onOutput?: (all: string, child: Child) => void
}

/** What is tested here must not depend on what the tester's own environment says. */
const ownVariables = ['PJRT_PLUGIN_LIBRARY_PATH', 'XLA_FLAGS', 'NODE_OPTIONS', 'FORCE_COLOR', 'XDG_CACHE_HOME']
const environment = (env: Readonly<Record<string, string>>): NodeJS.ProcessEnv =>
  ({ ...Object.fromEntries(Object.entries(process.env).filter(([name]) => !ownVariables.includes(name))), ...quickly, ...env })

export function run(args: readonly string[], { cwd, env = {}, onStart = () => {}, onOutput = () => {} }: RunOptions): Promise<Ended> {
  const child = spawn(process.execPath, [bin, ...args], { cwd, env: environment(env), stdio: ['ignore', 'pipe', 'pipe'] })
  onStart(child)
  return new Promise(resolve => {
    let [out, err] = ['', '']
    child.stdout.on('data', (chunk: Buffer) => { out += chunk.toString(); onOutput(out + err, child) })
    child.stderr.on('data', (chunk: Buffer) => { err += chunk.toString(); onOutput(out + err, child) })
    child.on('close', (code, signal) => { resolve({ code, signal, out, err }) })
  })
}

export interface Server {
  /** What `run` gives of a command that is not interrupted, from a process that does one after another. */
  readonly run: (args: readonly string[], options: Pick<RunOptions, 'cwd' | 'env'>) => Promise<Ended>
}

let forked: ChildProcess | undefined
/** It ends with this process, whose own channel keeps it waiting: that of the child does not. */
function beginning(): ChildProcess {
  const child = fork(fileURLToPath(new URL('server.mjs', import.meta.url)), { execArgv: [hesitant], stdio: ['ignore', 'inherit', 'inherit', 'ipc'], env: environment({}) })
  child.once('exit', () => { forked = undefined })
  child.unref()
  child.channel?.unref()
  return child
}
const inTurn = queue()

/** A process that takes many commands, of all files that share this one: for those of which it does not matter how a process begins and ends. Each of its own would cost a second, and the first of each kind some more until V8 knows what it runs. */
export function openServer(): Server {
  return {
    run: (args, { cwd, env = {} }) => inTurn(() => new Promise((resolve, reject) => {
      const child = forked ??= beginning()
      const onExit = (code: number | null, signal: NodeJS.Signals | null): void => { reject(new Error(`meshwork ${args.join(' ')} ended the process with ${signal ?? code}`)) }
      child.once('exit', onExit)
      child.once('message', (ended: Ended) => { child.off('exit', onExit); resolve(ended) })
      child.send({ args, cwd, env: environment(env) })
    })),
  }
}

export interface Place {
  readonly path: string
  /** Writes a file, and the folders above it. */
  file(name: string, content: string | Uint8Array, mode?: number): string
  /** A new empty folder. */
  folder(name: string): string
  /** A folder that imports Meshwork as a project that has installed it does; without a type it has no package.json. */
  project(name: string, type?: string): string
  /** All files and folders below, sorted; what links lead to is elsewhere. */
  list(under?: string): string[]
  remove(): void
}

export function temporaryPlace(): Place {
  const path = mkdtempSync(join(tmpdir(), 'meshwork-cli-'))
  return {
    path,
    file(name, content, mode) {
      const file = join(path, name)
      mkdirSync(dirname(file), { recursive: true })
      writeFileSync(file, content)
      if (mode !== undefined) chmodSync(file, mode)
      return file
    },
    folder(name) {
      mkdirSync(join(path, name), { recursive: true })
      return join(path, name)
    },
    project(name, type) {
      if (type !== undefined) this.file(`${name}/package.json`, JSON.stringify({ type }))
      symlinkSync(root, join(this.folder(`${name}/node_modules`), 'meshwork'))
      return join(path, name)
    },
    list: (under = '') => namesBelow(join(path, under)).sort(),
    remove: () => { rmSync(path, { recursive: true, force: true }) },
  }
}

const namesBelow = (folder: string): string[] => readdirSync(folder, { withFileTypes: true })
  .flatMap(e => [e.name, ...e.isDirectory() ? namesBelow(join(folder, e.name)).map(below => join(e.name, below)) : []])

/** A cache of one's own, but for what a C compiler makes: building that takes longer than any command. */
export function cacheWithBuilt(path: string): string {
  for (const part of ['kernels', 'mpi']) {
    const built = join(cacheRoot(), part)
    mkdirSync(built, { recursive: true })
    mkdirSync(path, { recursive: true })
    symlinkSync(built, join(path, part))
  }
  return path
}

/** A python3 whose pip does what `download` says, in shell, in which $target is pip's -d. The folder it lies in, for PATH. */
export function pretendPip(place: Place, name: string, download: string): string {
  place.file(`${name}/python3`, `#!/bin/sh
shift 2
if [ "$1" = --version ]; then echo "pip 99.0"; exit 0; fi
while [ $# -gt 1 ]; do if [ "$1" = -d ]; then target=$2; fi; shift; done
${download}
`, 0o755)
  return join(place.path, name)
}

/** The lines of a file of JSON lines. */
export const jsonLines = (content: string): Record<string, unknown>[] => content.split('\n').filter(line => line !== '').map(line => JSON.parse(line) as Record<string, unknown>)
