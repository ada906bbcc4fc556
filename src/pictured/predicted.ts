/** What a planned step would take on a machine, as pictures take it. */
import { collectiveMs, groupOf, type Group } from '../cost/collective.ts'
import type { Machine } from '../machine/machine.ts'
import { ticksOf, type ScheduleName } from '../parallel/schedule.ts'
import type { CollectiveKind } from '../partition/collectives.ts'
import type { forecast } from '../train/forecast.ts'
import type { PredictedShown, TurnShown } from '../train/pictured-shape.ts'
import type { PlannedRun } from '../train/planned.ts'

/** A forecast, and the machine that it is for; `named` is what `--machine` calls it. */
export interface On extends ReturnType<typeof forecast> { readonly machine: Machine; readonly named: string }

/** Milliseconds that a collective takes once, where so many bytes enter it on each device. */
export function collectivePrice({ step: { local } }: PlannedRun, machine: Machine): (kind: CollectiveKind, axes: readonly string[], bytes: number) => number {
  const groups = new Map<string, Group>()
  return (kind, axes, bytes) => {
    const found = groups.get(axes.join()) ?? groupOf(machine, local.mesh, axes)
    groups.set(axes.join(), found)
    return collectiveMs(machine, found, kind, bytes)
  }
}

const scheduleNames: readonly ScheduleName[] = ['gpipe', 'circular', '1f1b']
/** Who computes which microbatch when. */
function turnsOf({ plan: { pipeline } }: PlannedRun): readonly TurnShown[] | null {
  const schedule = scheduleNames.find(s => s === pipeline?.schedule)
  if (pipeline === null || schedule === undefined) return null
  const numbers = (works: readonly ({ readonly microbatch: number } | undefined)[] = []): (number | null)[] => Array.from(works, w => w?.microbatch ?? null)
  return ticksOf({ stages: pipeline.stages, microbatches: pipeline.microbatches, schedule }).map(({ forward, backward }) => ({ forward: numbers(forward), backward: numbers(backward) }))
}

export const predictedShown = (planned: PlannedRun, { machine, named, predicted: { stepMs, overheadMs, memoryBytes, fits, utilisation }, time }: On): PredictedShown =>
  ({ machine: machine.name, named, stepMs, overheadMs, memoryBytes, fits, utilisation, parts: time.parts, turns: turnsOf(planned) })
