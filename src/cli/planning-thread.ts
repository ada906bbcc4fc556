/** Searches and sweeps in a thread of their own: meanwhile this one takes its words off the terminal when it is interrupted, and tells other ranks that it is still at it. */
import { Worker } from 'node:worker_threads'
import { DimError, FileError, LayoutError, MeshworkError, UsageError } from '../core/errors.ts'
import { threadEntry, withLines } from '../io/thread.ts'
import { interrupts } from './interrupt.ts'
import type { Output } from './output.ts'
import type { Answer, Asked, Says, Work } from './planning-worker.ts'

const kinds: readonly (typeof MeshworkError)[] = [UsageError, LayoutError, FileError, DimError]

/** Asks the thread; what is wrong with what is asked is an answer, too. */
export function askThread<K extends keyof Asked>(kind: K, work: Asked[K]['work'], output: Pick<Output, 'note' | 'status'>): Promise<Answer<K>> {
  const worker = new Worker(threadEntry('cli/planning-worker'), { name: kind, execArgv: [...withLines], workerData: { kind, ...work } as Work })
  return new Promise((done, failed) => {
    worker.on('message', (says: Says) => {
      if ('note' in says) output.note(says.note)
      else if ('status' in says) output.status(says.status)
      else done(says as Answer<K>)
    })
    worker.on('error', failed)
    worker.on('exit', code => { failed(new Error(`the thread that plans ended with code ${code}`)) })
  })
}

/** What was found. @throws what is wrong, as it was thrown in the thread */
export function foundIn<K extends keyof Asked>(answer: Answer<K>): Asked[K]['found'] {
  if ('wrong' in answer) throw new (kinds.find(k => k.name === answer.wrong.name) ?? MeshworkError)(answer.wrong.problem)
  return answer.found
}

/** The same in a command of one process, which Ctrl-C ends. @throws what is wrong */
export async function askedOf<K extends keyof Asked>(kind: K, work: Asked[K]['work'], output: Output): Promise<Asked[K]['found']> {
  const stops = interrupts()
  try {
    return foundIn(await askThread(kind, work, output))
  } finally {
    output.clear()
    stops.release()
  }
}
