// Runs every test: types first, then vitest.
import { spawnSync } from 'node:child_process'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const bin = (...parts) => join(root, 'node_modules', ...parts)
const steps = [
  [bin('tsc7', 'bin', 'tsc'), '-p', 'tsconfig.json', '--noEmit'],
  [bin('eslint', 'bin', 'eslint.js'), '--max-warnings', '0', '.'],
  [bin('vitest', 'vitest.mjs'), 'run', ...process.argv.slice(2)],
]
for (const [command, ...args] of steps) {
  const { status } = spawnSync(process.execPath, [command, ...args], { cwd: root, stdio: 'inherit' })
  if (status !== 0) process.exit(status ?? 1)
}
