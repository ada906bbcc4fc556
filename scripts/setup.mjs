// Sets a fresh clone up: dependencies, build, plugin. What is up to date is left alone. Plain Node: it runs before anything is installed.
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const needs = [20, 19]
const wantsPlugin = !process.argv.includes('--no-plugin')

function fail(what, fix) {
  process.stderr.write(`setup: ${what}\n  fix  ${fix}\n`)
  process.exit(1)
}
const say = text => process.stderr.write(`${text}\n`)
const read = path => (existsSync(path) ? readFileSync(path, 'utf8') : '')
const hash = text => createHash('sha256').update(text).digest('hex')

function files(folder) {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap(e => {
    const path = join(folder, e.name)
    return e.isDirectory() ? files(path) : [path]
  })
}

/** Runs a command; its output goes to stderr, so that stdout stays the program's own, or of a `quiet` one nowhere: what is wrong it tells on stderr. */
function run(command, args, what, fix, quiet = false) {
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: ['ignore', quiet ? 'ignore' : 2, 2] })
  if (error !== undefined || status !== 0) fail(`${what} failed${error === undefined ? '' : `: ${error.message}`}`, fix)
}

const [major, minor] = process.versions.node.split('.').map(Number)
if (major < needs[0] || (major === needs[0] && minor < needs[1])) fail(`Node ${process.versions.node} is too old`, `install Node ${needs.join('.')} or newer`)

const installed = join(root, 'node_modules', '.meshwork-installed')
const lock = hash(read(join(root, 'package-lock.json')))
if (read(installed) !== lock) {
  say('installing dependencies')
  run(process.platform === 'win32' ? 'npm.cmd' : 'npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error'], 'npm ci', 'check the network and npm\'s own message above, then run it again')
  writeFileSync(installed, lock)
}

const built = join(root, 'dist', '.meshwork-built')
const sources = [...files('src'), ...files('recipes'), 'tsconfig.json', 'tsconfig.build.json', 'vite.config.ts', 'rolldown.config.ts', 'package.json'].sort()
const state = hash(lock + sources.map(f => { const s = statSync(join(root, f)); return `${f} ${s.size} ${s.mtimeMs}` }).join('\n'))
if (read(built) !== state) {
  say('building')
  rmSync(join(root, 'dist'), { recursive: true, force: true })
  run(process.execPath, [join(root, 'node_modules', 'tsc7', 'bin', 'tsc'), '-p', 'tsconfig.build.json'], 'the build', 'mend the lines named above')
  run(process.execPath, [join(root, 'node_modules', 'rolldown', 'bin', 'cli.mjs'), '--config', 'rolldown.config.ts'], 'the build of the package', 'mend the lines named above', true)
  run(process.execPath, [join(root, 'node_modules', 'vite', 'bin', 'vite.js'), 'build', '--config', 'vite.config.ts', '--logLevel', 'warn'], 'the build of the page', 'mend the lines named above')
  writeFileSync(built, state)
}

if (wantsPlugin) run(process.execPath, [join(root, 'bin', 'meshwork.js'), 'plugins', 'install', 'cpu'], 'installing the plugin', 'see above; `npx meshwork train --plugin simulate` works without one')
