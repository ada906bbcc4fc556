/** Steps of the section on foresight, on virtual devices of one process or one on each rank, and the calibration before them: a request a line on stdin, an answer a line on stdout; rank 0 has both. */
import { calibrate } from '../../src/calibrate/calibrate.ts'
import { openBackend, type Backend } from '../../src/engine/index.ts'
import type { MachineInput } from '../../src/machine/machine.ts'
import { joinJob } from '../../src/runtime/job.ts'
import { answerLines } from '../answers.ts'
import { isQuick, models } from './runs.ts'
import { cached, clockOf, compiled, rest, stepped, type Collectives, type Stepped } from './stepped.ts'

export interface Named { readonly model: string; readonly layout: string }
export type Request = { readonly do: 'calibrate' } | ({ readonly do: 'open' } & Named) | ({ readonly do: 'steps'; readonly count: number } & Named) | { readonly do: 'close' }
export interface Answers {
  readonly calibrate: { readonly seconds: number; readonly machine: MachineInput }
  readonly open: Collectives & { readonly peakBytes: number }
  readonly steps: { readonly ms: readonly number[] }
  readonly close: Record<string, never>
}

const processes = await joinJob()
/** Devices of this process, as a run on so many has them; of a job all ranks. */
const [, , asked] = process.argv
const openWith = (devices: number | undefined): Promise<Backend> => openBackend({ ...devices === undefined ? {} : { devices }, ...cached() })
let backend: Promise<Backend> | undefined
const opened = (): Promise<Backend> => backend ??= openWith(asked === undefined ? undefined : Number(asked))

const clock = clockOf()

const open = new Map<string, Stepped>()
const keyOf = ({ model, layout }: Named): string => `${model} ${layout}`

type Handlers = { readonly [K in keyof Answers]: (request: Extract<Request, { readonly do: K }>) => Promise<Answers[K]> }
const handlers: Handlers = {
  calibrate: async () => {
    const start = performance.now()
    const machine = await calibrate({ open: openWith, devices: asked === undefined ? undefined : Number(asked), name: 'here', clock, quick: isQuick, onProgress: (what, done) => { if (processes.rank === 0) process.stderr.write(`calibrating ${(100 * done).toFixed(0)} % ${what}\n`) } })
    return { seconds: (performance.now() - start) / 1000, machine }
  },
  open: async named => {
    const run = models[named.model]?.[named.layout]
    if (run === undefined) throw new Error(`there is no run ${keyOf(named)}`)
    const { found, ...step } = await compiled(run, await opened())
    open.set(keyOf(named), step)
    return found
  },
  steps: async ({ count, ...named }) => {
    const o = open.get(keyOf(named))
    if (o === undefined) throw new Error(`${keyOf(named)} is not open`)
    const ms = await stepped(o, count, clock)
    return { ms }
  },
  close: async () => {
    for (const o of open.values()) { rest(o); o.dispose() }
    open.clear()
    return {}
  },
}

await answerLines<Request>(processes, request => (handlers[request.do] as (r: Request) => Promise<unknown>)(request))
await (await backend)?.close()
await processes.end()
