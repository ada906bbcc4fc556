/** The default recipe, 50 steps, on seven meshes and on four ranks under MPI: every step's loss beside that of one device. `npm run numbers [-- --json]`; `-- --precision` trains it in full in other dtypes. */
import { openBackend } from '../../src/engine/index.ts'
import { train } from '../../src/train/train.ts'
import recipe from '../../recipes/gpt-tiny.ts'
import { onRanks } from './mpi.ts'
import { precisionRows } from './precision.ts'

const meshes = [[1, 1], [2, 1], [1, 2], [2, 2], [4, 1], [1, 4], [2, 4]] as const
const steps = 50
const limit = 1e-4
const json = process.argv.includes('--json')
const say = (line: string): void => { process.stderr.write(`${line}\n`) }

if (process.argv.includes('--precision')) {
  const rows = await precisionRows(say)
  // Less of a loss is no fault.
  const ok = rows.every(r => r.difference <= r.limit)
  if (json) process.stdout.write(`${JSON.stringify({ recipe: recipe.name, ok, rows })}\n`)
  else for (const r of rows) process.stdout.write(`${r.what.padEnd(26)}held out ${r.evalLoss.toFixed(5)}  ${(100 * r.difference).toFixed(2).padStart(6)} %  (at most ${100 * r.limit} %)\n`)
  process.exit(ok ? 0 : 1)
}

const backend = await openBackend({ devices: 8, backend: 'local' })
const found: { readonly mesh: string; readonly losses: readonly number[]; readonly evalLoss: number | undefined }[] = []
for (const [batch, model] of meshes) {
  say(`batch ${batch} × model ${model}: ${steps} steps`)
  const { losses, evalLoss } = await train({ ...recipe, steps, seed: 1, mesh: { batch, model } }, { backend })
  found.push({ mesh: `${batch}×${model}`, losses, evalLoss })
}
await backend.close()
found.push(...await onRanks(steps, say))

const base = found[0]?.losses ?? []
const rows = found.map(({ mesh, losses, evalLoss }) => ({
  mesh, evalLoss, firstLoss: losses[0] ?? NaN, lastLoss: losses.at(-1) ?? NaN,
  worst: Math.max(...base.map((one, i) => Math.abs((losses[i] ?? NaN) - one) / one)),
}))
const ok = rows.every(r => r.worst <= limit)
if (json) process.stdout.write(`${JSON.stringify({ recipe: recipe.name, steps, limit, ok, rows })}\n`)
else {
  for (const r of rows) process.stdout.write(`${r.mesh.padEnd(12)}  loss ${r.firstLoss.toFixed(5)} → ${r.lastLoss.toFixed(5)}  held out ${r.evalLoss?.toFixed(5)}  worst relative difference ${r.worst.toExponential(1)}\n`)
  process.stdout.write(ok ? `all within ${limit}\n` : `NOT within ${limit}\n`)
}
process.exitCode = ok ? 0 : 1
