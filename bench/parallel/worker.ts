/** Our side of the section on parallelism, on virtual devices of one process or one on each rank: a request a line on stdin, an answer a line on stdout; rank 0 has both. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { mesh } from '../../src/core/mesh.ts'
import { openBackend, type Tree } from '../../src/engine/index.ts'
import { convNet } from '../../src/models/conv-net.ts'
import { gpt, llama, llamaSchema, type GptConfig } from '../../src/models/index.ts'
import type { Model } from '../../src/models/model.ts'
import { joinJob } from '../../src/runtime/job.ts'
import type { Where } from '../../src/train/program.ts'
import type { PlainOptimizer } from '../../test/oracle/cases.ts'
import { batch, batches, experts, images, sizes, type Compared } from './forms.ts'
import { answerLines } from '../answers.ts'
import { openStepper, type Stepper } from '../stepper.ts'

export interface Opening { readonly form: Compared; readonly optimizer: PlainOptimizer; readonly folder: string }
export type Request = { readonly do: 'open' } & Opening | { readonly do: 'save' } | { readonly do: 'close' } | { readonly do: 'steps'; readonly count: number }
export interface Answers {
  readonly open: { readonly runtime: string }
  readonly save: Record<string, never>
  readonly steps: { readonly ms: readonly number[]; readonly losses: readonly number[] }
  readonly close: Record<string, never>
}

const processes = await joinJob()
const backend = await openBackend({ devices: 4, cache: false })

function modelOf({ context, pipeline, model }: Compared): Model<Tree, Tree> {
  if (model === 'images') return convNet(images, batch) as unknown as Model<Tree, Tree>
  const { hidden, ...others } = sizes
  const more = { ...(context === undefined ? {} : { context }), ...(pipeline === undefined ? {} : { pipeline }) }
  if (model !== 'experts') return gpt({ ...others, hidden, ...more } as GptConfig, batch) as unknown as Model<Tree, Tree>
  return llama(llamaSchema.parse({ ...others, hidden, ...more, tied: true, experts: { ...experts, hidden: hidden / 2, balance: 0 } }), batch) as unknown as Model<Tree, Tree>
}

async function open({ form, optimizer, folder }: Opening): Promise<Stepper> {
  const model = modelOf(form)
  const { mesh: axes, context: _, pipeline: __, model: ___, jax: ____, torch: _____, ...layouts } = form
  const where: Where = { mesh: mesh(axes), ...layouts, backend, dims: model.dims, ...(model.layouts === undefined ? {} : { uses: model.layouts }) }
  const given = await Promise.all(Array.from({ length: batches }, async (_, i) => {
    const read = async (name: string): Promise<ArrayBuffer> => new Uint8Array(await readFile(join(folder, `${name}.${i}`))).buffer
    if (form.model === 'images') return { images: new Uint8Array(await read('images')), labels: new Int32Array(await read('labels')) }
    const ids = new Int32Array(await read('batch'))
    return { tokens: ids.subarray(0, ids.length / 2), targets: ids.subarray(ids.length / 2) }
  }))
  return openStepper({ model, where, optimizer, folder, batches: given, remat: 'all-but-contractions' })
}
let opened: Stepper | undefined
function current(): Stepper {
  if (opened === undefined) throw new Error('nothing is open')
  return opened
}

type Handlers = { readonly [K in keyof Answers]: (request: Extract<Request, { readonly do: K }>) => Promise<Answers[K]> }
const handlers: Handlers = {
  open: async request => {
    opened = await open(request)
    return { runtime: backend.description }
  },
  save: async () => {
    await current().save()
    return {}
  },
  steps: ({ count }) => current().steps(count),
  close: () => {
    current().close()
    opened = undefined
    return Promise.resolve({})
  },
}
const answer = <K extends keyof Answers>(request: Extract<Request, { readonly do: K }>): Promise<Answers[K]> =>
  (handlers[request.do as K] as (r: typeof request) => Promise<Answers[K]>)(request)

await answerLines<Request>(processes, answer)
await backend.close()
