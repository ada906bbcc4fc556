/** Many planned rows as one list of what there is to price: what several of them do takes the same time, and is priced once for all. */
import { tasksTime, workMs } from '../../src/cost/time.ts'
import type { Machine } from '../../src/machine/machine.ts'
import type { Planned } from './planned-gpt.ts'

type Of<P> = P extends { readonly tasks: readonly (infer T)[] } ? T : never
/** `number`: the same of tasks that take the same time on any machine. */
export interface Numbered extends Omit<Planned, 'tasks'> { readonly tasks: readonly (Of<Planned> & { readonly number: number })[] }

/** A task takes the same wherever it is the same, on as many devices of a host, and, if it communicates, along axes of the same sizes. What rows have alike is held once: there are thousands of tasks to a row. */
export function numbering(devicesPerHost: number): (planned: Planned) => Numbered {
  const known = new Map<string, number>()
  const held = new Map<string, Numbered['tasks'][number]>()
  return planned => {
    const { axes, size } = planned.mesh
    return {
      ...planned,
      tasks: planned.tasks.map(task => {
        const { times, ...rest } = task
        const key = JSON.stringify([rest, Math.min(size, devicesPerHost), task.kind === 'collective' ? axes : 0])
        const number = known.get(key) ?? known.size
        known.set(key, number)
        const one = held.get(`${number} ${times}`) ?? { ...task, number }
        held.set(`${number} ${times}`, one)
        return one
      }),
    }
  }
}

/** Milliseconds that steps take on a machine, row by row. */
export function predictor(machine: Machine): (planned: Numbered) => number {
  const priced: number[] = []
  return planned => tasksTime(planned, machine, planned.mesh, undefined, (task, onHost, group) => (priced[task.number] ??= workMs(machine, task, onHost, group))).stepMs
}
