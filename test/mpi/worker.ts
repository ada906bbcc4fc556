/** What the tests run on every rank: `worker FOLDER`, built, takes requests, a line of JSON each, from rank 0's input; rank 0 answers each with a line. */
import { createInterface } from 'node:readline'
import { fromFirst, openBackend } from '../../src/engine/index.ts'
import { train } from '../../src/train/train.ts'
import { forms, usual } from '../parallel/forms.ts'
import { trained } from '../parallel/harness.ts'
import { wrongIn } from '../support/op-table.ts'
import { formed, small, wide } from '../support/parallel-runs.ts'
import { answerMark, type Request } from './answers.ts'

const [cache = ''] = process.argv.slice(2)
const backend = await openBackend({ cache })
const { rank, count } = backend.processes

async function answerOf(request: Request): Promise<unknown> {
  if (request.task === 'nothing') return null
  if (request.task === 'ops') return wrongIn(request.trials, request.mesh, backend, request.where)
  if (request.task === 'numbers') {
    const { losses, liveAfter } = await train(formed(request.form, request.wide === true ? wide : small), { backend })
    if (liveAfter !== 0) throw new Error(`${liveAfter} buffers are left over`)
    return losses
  }
  if (request.task === 'trained') {
    const form = forms[request.form]
    if (form === undefined) throw new Error(`there is no form ${request.form}`)
    return trained(backend, form.subject ?? usual, form, { count: request.count })
  }
  // An exception that nobody catches, in the last rank alone, while the others are inside a program. As many steps as of those that are asked for numbers: their number is in the program.
  return train(formed(request.form, wide), {
    backend, onEvent: e => { if (e.type === 'step' && e.step === 1 && rank === count - 1) throw new Error(`a fault of rank ${rank}`) },
  })
}

// Only rank 0 has an input; the others hear from it.
const lines = rank === 0 ? createInterface({ input: process.stdin })[Symbol.asyncIterator]() : undefined
const next = async (): Promise<Request | null> => {
  const line = await lines?.next()
  return line?.done === false ? JSON.parse(line.value) as Request : null
}
for (;;) {
  const request = await fromFirst(backend.processes, 'the next request', next)
  if (request === null) break
  const answer = await answerOf(request)
  if (rank === 0) process.stdout.write(`${answerMark}${JSON.stringify(answer)}\n`)
}
await backend.close()
