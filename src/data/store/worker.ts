/** What runs in a worker thread: one handler, made once, and a reply to each request. */
import { parentPort, workerData, type TransferListItem } from 'node:worker_threads'
import { batchMaker, type BatchJob, type SourceSpec } from './source.ts'
import { pieceEncoder, type Encoding } from './encode.ts'
import { wordCounter, type CountJob } from './learn.ts'
import { failureOf, oneByOne, type Reply, type Request, type Task } from './pool.ts'
import type { Piece } from '../documents.ts'

interface Done { readonly result: unknown; readonly transfer?: readonly TransferListItem[] }
type Handler = (job: unknown) => Promise<Done>

const buffersOf = (views: readonly Uint8Array[]): ArrayBuffer[] => views.map(v => v.buffer as ArrayBuffer).filter(b => b.byteLength > 0)

const makers: { readonly [kind: string]: (init: unknown) => Handler } = {
  encode: init => {
    const encode = pieceEncoder(init as Encoding)
    return async job => {
      const result = await encode(job as Piece)
      return { result, transfer: [...new Set(buffersOf([result.tokens, result.lengths, result.sources, result.mask]))] }
    }
  },
  count: () => {
    const count = wordCounter()
    return async job => ({ result: await count(job as CountJob) })
  },
  batches: init => {
    const make = batchMaker(init as SourceSpec)
    return async job => ({ result: make(job as BatchJob) })
  },
}

function handlerOf({ kind, init }: Task): Handler {
  const make = makers[kind]
  if (make === undefined) throw new Error(`there is no worker "${kind}"`)
  return oneByOne(make(init))
}

const { kind, init } = workerData as Task
let handler: Handler | undefined
parentPort?.on('message', ({ id, job }: Request) => {
  const reply = (r: Reply, transfer: readonly TransferListItem[] = []): void => parentPort?.postMessage(r, [...transfer])
  void (async () => {
    try {
      handler ??= handlerOf({ kind, init })
      const { result, transfer } = await handler(job)
      reply({ id, result }, transfer)
    } catch (e) {
      reply({ id, failed: failureOf(e) })
    }
  })()
})
