/** The default recipe, 50 steps, on seven meshes: every step's loss beside that of one device. `npm run numbers [-- --json]`. */
import { openBackend } from '../../src/engine/index.ts'
import { train } from '../../src/train/train.ts'
import recipe from '../../recipes/gpt-tiny.ts'

const meshes = [[1, 1], [2, 1], [1, 2], [2, 2], [4, 1], [1, 4], [2, 4]] as const
const steps = 50
const limit = 1e-4
const json = process.argv.includes('--json')
const backend = await openBackend({ devices: 8 })
let base: readonly number[] = []
const rows: { readonly mesh: string; readonly worst: number; readonly firstLoss: number; readonly lastLoss: number; readonly evalLoss: number | undefined }[] = []
for (const [batch, model] of meshes) {
  process.stderr.write(`batch ${batch} × model ${model}: ${steps} steps\n`)
  const { losses, evalLoss } = await train({ ...recipe, steps, seed: 1, mesh: { batch, model } }, { backend })
  if (base.length === 0) base = losses
  const worst = Math.max(...losses.map((l, i) => Math.abs(l - (base[i] ?? Number.NaN)) / (base[i] ?? Number.NaN)))
  rows.push({ mesh: `${batch}×${model}`, worst, firstLoss: losses[0] ?? Number.NaN, lastLoss: losses.at(-1) ?? Number.NaN, evalLoss })
}
await backend.close()
const ok = rows.every(r => r.worst <= limit)
if (json) process.stdout.write(`${JSON.stringify({ recipe: recipe.name, steps, limit, ok, rows })}\n`)
else {
  for (const r of rows) process.stdout.write(`${r.mesh}  loss ${r.firstLoss.toFixed(5)} → ${r.lastLoss.toFixed(5)}  held out ${r.evalLoss?.toFixed(5)}  worst relative difference ${r.worst.toExponential(1)}\n`)
  process.stdout.write(ok ? `all within ${limit}\n` : `NOT within ${limit}\n`)
}
process.exitCode = ok ? 0 : 1
