/** `meshwork train --dry-run`: what would run, found out without devices and without making anything. */
import { deviceRows } from '../train/plan-event.ts'
import type { FolderChoice } from '../train/folder.ts'
import { planRun } from '../train/planned.ts'
import { fieldsOf, identityOf, optimizerOf, type Run } from '../train/run.ts'
import type { Output } from './output.ts'
import { drawMesh } from './picture.ts'
import { drawPlanned } from './plan-picture.ts'

export function dryRun(run: Run, out: FolderChoice, json: boolean, output: Output): void {
  const planned = planRun(run)
  const folder = typeof out === 'string' ? out : `${out.parent}/${out.name}-N`
  if (json) {
    process.stdout.write(`${JSON.stringify({ type: 'dry-run', out: folder, run: fieldsOf(run), optimizer: optimizerOf(run).description, identity: identityOf(run), parameters: planned.parameters, ...planned.plan })}\n`)
    return
  }
  const { mesh, step } = planned
  const pictured = { mesh: mesh.axes.map(({ name, size }) => ({ name, size })), devices: deviceRows(step, mesh, run.batch) }
  const lines = [JSON.stringify(fieldsOf(run), null, 2), '', ...drawPlanned(run, planned), '', ...drawMesh(pictured, output.columns), '', `run folder  ${folder}`]
  for (const line of lines) output.print(line)
}
