/** How a worker of ours is asked: one request a line on the first process's stdin, which all of them hear, and its answer a line on stdout. */
import { createInterface } from 'node:readline'
import { fromFirst, type Processes } from '../src/runtime/processes.ts'

/** Answers until stdin ends. */
export async function answerLines<R>(processes: Processes, answer: (request: R) => Promise<unknown>): Promise<void> {
  const lines = processes.rank === 0 ? createInterface(process.stdin)[Symbol.asyncIterator]() : undefined
  for (;;) {
    const line = await fromFirst(processes, 'the next request', async () => {
      const next = await lines?.next()
      return next?.done === false ? next.value : null
    })
    if (line === null) break
    const answered = JSON.stringify(await answer(JSON.parse(line) as R))
    if (processes.rank === 0) process.stdout.write(`${answered}\n`)
  }
}
