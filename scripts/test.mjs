// Runs every test: types first, which take seconds, then lint beside vitest. What follows `npm test --` is vitest's.
import { spawn } from 'node:child_process'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const bin = (...parts) => join(root, 'node_modules', ...parts)
const began = performance.now()

/** The exit code, and what was printed where it was not printed already. */
function run(args, stdio) {
  const child = spawn(process.execPath, args, { cwd: root, stdio })
  const printed = []
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', chunk => printed.push(chunk))
  return new Promise(resolve => {
    child.on('error', e => { resolve({ code: 1, printed: `${e.message}\n` }) })
    child.on('close', (code, signal) => { resolve({ code: code ?? (signal === 'SIGINT' ? 130 : 1), printed: Buffer.concat(printed).toString() }) })
  })
}
// Ctrl-C reaches the children, too; this process ends with them.
process.on('SIGINT', () => undefined)

for (const project of ['tsconfig.json', 'src/page/tsconfig.json']) {
  const types = await run([bin('tsc7', 'bin', 'tsc'), '-p', project, '--noEmit'], 'inherit')
  if (types.code !== 0) process.exit(types.code)
}

const linting = run([bin('oxlint', 'bin', 'oxlint'), '--deny-warnings', '.'], ['ignore', 'pipe', 'pipe'])
const tests = await run([bin('vitest', 'vitest.mjs'), 'run', ...process.argv.slice(2)], 'inherit')
const lint = await linting
if (lint.code !== 0) process.stderr.write(`\nlint failed:\n${lint.printed}`)
const seconds = Math.round((performance.now() - began) / 1000)
process.stderr.write(`types, lint and tests took ${Math.floor(seconds / 60)} min ${seconds % 60} s\n`)
process.exit(tests.code !== 0 ? tests.code : lint.code)
