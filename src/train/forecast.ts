/** What a planned step would take on a machine: its time and whose it is, its memory beside what there is, utilisation, and what tokens cost. */
import { choices } from '../core/platform.ts'
import { memoryOf } from '../cost/memory.ts'
import { costliest, stepTime, type Part, type StepTime } from '../cost/time.ts'
import type { Machine } from '../machine/machine.ts'
import type { PlannedRun } from './planned.ts'
import { modelOf, type Run } from './run.ts'

/** A prediction; all of it is plain data. */
export interface Forecast extends Omit<StepTime, 'parts'> {
  readonly machine: string
  readonly devices: number
  readonly hosts: number
  /** Which share of the step the stages of a pipeline are idle; it is in the other figures, as time in which what nobody needs is computed. */
  readonly idle: number
  /** Of one device at the most, and what it has for a program. */
  readonly peakBytes: number
  readonly memoryBytes: number
  readonly fits: boolean
  /** Operations of the model, each done once, by what the devices could do in that time by specification; null where the machine does not say what that is. Masked scores count unless whole blocks are skipped. */
  readonly utilisation: number | null
  /** The same of all operations that are done, again or on several devices. */
  readonly hardwareUtilisation: number | null
  /** Tokens, or examples of a model that has none, a second. */
  readonly perSecond: number
  readonly unit: 'tokens' | 'examples'
  readonly deviceHoursPerTrillion: number
  /** Dollars for 10¹² tokens, where the price of a device is known. */
  readonly dollarsPerTrillion: number | null
  /** The three lines, or kinds of work, that take the most time. */
  readonly costliest: readonly Part[]
}

/** Bytes that a program may take of each device, where so many are on a host. */
export const memoryFor = ({ memory }: Machine, onHost: number): number => Math.max(0, Math.min(memory.bytes, (memory.perHost ?? Infinity) / onHost) - memory.reserved)

/** `price`: of a device, in dollars an hour; the machine's own unless given. @throws UsageError where the machine does not say what connects hosts */
export function forecast(run: Run, planned: PlannedRun, machine: Machine, price: number | null = machine.pricePerHour): { readonly predicted: Forecast; readonly time: StepTime } {
  const { plan, step, flops } = planned
  const time = stepTime(step.local, machine)
  const { parts: _, ...times } = time
  const model = modelOf(run)
  const seconds = time.stepMs / 1000
  const peak = machine.peak[run.precision.compute]
  const perSecond = (model.tokensPerBatch ?? model.itemsPerBatch) / seconds
  const deviceHoursPerTrillion = 1e12 / perSecond / 3600 * plan.devices
  const memoryBytes = memoryFor(machine, Math.min(plan.devices, machine.devicesPerHost))
  // A plan for another platform holds other values in memory.
  const peakBytes = planned.platform === machine.platform ? plan.perDevice.peakBytes : memoryOf(step.local, step.donations, choices[machine.platform]).peak
  const share = (done: number): number | null => (peak === undefined ? null : done / (plan.devices * peak * seconds))
  return {
    time,
    predicted: {
      machine: machine.name, devices: plan.devices, hosts: Math.ceil(plan.devices / machine.devicesPerHost), ...times,
      idle: plan.pipeline?.idle ?? 0, peakBytes, memoryBytes, fits: peakBytes <= memoryBytes, utilisation: share(flops), hardwareUtilisation: share(plan.perDevice.flops * plan.devices),
      perSecond, unit: model.tokensPerBatch === undefined ? 'examples' : 'tokens', deviceHoursPerTrillion, dollarsPerTrillion: price === null ? null : price * deviceHoursPerTrillion, costliest: costliest(time, 3),
    },
  }
}
