/** `meshwork train --dry-run`: what would run, found out without devices and without making anything. */
import { plan } from '../engine/index.ts'
import type { PlanEvent } from '../train/events.ts'
import { stepFlops } from '../train/flops.ts'
import type { FolderChoice } from '../train/folder.ts'
import { collectiveRows, deviceRows, parameterCount } from '../train/plan-event.ts'
import { stateOf, trainStep } from '../train/program.ts'
import { fieldsOf, identityOf, layoutsOf, meshOfRun, modelOf, type Run } from '../train/run.ts'
import { trainerConfig } from '../train/session.ts'
import { formatBytes } from './format.ts'
import type { Output } from './output.ts'
import { drawCollectives, drawMesh } from './picture.ts'

export function dryRun(run: Run, out: FolderChoice, json: boolean, output: Output): void {
  const model = modelOf(run)
  const mesh = meshOfRun(run)
  const config = trainerConfig(run)
  const step = plan(trainStep(model, config), [stateOf(model, config), model.batch] as const, { mesh, dims: model.dims, ...layoutsOf(run, model) })
  const found: Pick<PlanEvent, 'mesh' | 'devices' | 'collectives' | 'parameters' | 'flops'> = {
    mesh: mesh.axes.map(({ name, size }) => ({ name, size })), devices: deviceRows(step, mesh, run.batch), collectives: collectiveRows(step), parameters: parameterCount(step), flops: stepFlops(model),
  }
  const folder = typeof out === 'string' ? out : `${out.parent}/${out.name}-N`
  if (json) {
    process.stdout.write(`${JSON.stringify({ type: 'dry-run', out: folder, run: fieldsOf(run), optimizer: config.optimizer.description, identity: identityOf(run), ...found })}\n`)
    return
  }
  output.print(JSON.stringify(fieldsOf(run), null, 2))
  output.print('')
  output.print(`parameters  ${found.parameters.toLocaleString('en-US')}, ${(found.flops / 1e9).toPrecision(4)} GFLOP a step`)
  output.print(`at rest     ${formatBytes(found.devices.reduce((n, d) => n + d.bytes, 0))} of parameters and slots, on ${found.devices.length} device${found.devices.length === 1 ? '' : 's'}`)
  output.print(`run folder  ${folder}`)
  output.print('')
  for (const line of [...drawMesh(found, output.columns), '', ...drawCollectives(found)]) output.print(line)
}
