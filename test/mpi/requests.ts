/** A job of ranks that stays for many requests: starting one takes longer than most of them. */
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import type { MeshSizes } from '../support/again.ts'
import type { Trial } from '../support/op-table.ts'
import type { Form } from '../support/parallel-runs.ts'
import { environment, watched, worker, type Mpi } from './support.ts'

export type Request =
  | { readonly task: 'nothing' }
  | { readonly task: 'ops'; readonly mesh: MeshSizes; readonly trials: readonly Trial[]; readonly where: string }
  | { readonly task: 'numbers'; readonly form: Form; readonly wide?: true }
  /** A form of test/parallel/forms.ts by its name. */
  | { readonly task: 'trained'; readonly form: string; readonly count: number }
  | { readonly task: 'throws' }

/** What a line of rank 0 begins with that answers a request. */
export const answerMark = 'ANSWER '

export interface Job {
  /** One at a time. @throws Error with all that was printed, where the job ends instead. */
  ask(request: Request): Promise<unknown>
  /** Resolves when all ranks have ended. */
  close(): Promise<void>
}

/** A job that has begun, so that its first request does not take longer than the others. */
export async function openedJob(...how: Parameters<typeof openJob>): Promise<Job> {
  const job = openJob(...how)
  await job.ask({ task: 'nothing' })
  return job
}

/** @param cache the folder in which the first rank leaves what it compiles, for the others. */
export function openJob(mpi: Mpi, ranks: number, cache: string, env: Readonly<Record<string, string>> = {}): Job {
  const child = watched(spawn(mpi.mpirun, ['-n', String(ranks), 'node', '--import', 'tsx', worker, cache], { env: environment(env), stdio: ['pipe', 'pipe', 'pipe'] }))
  let printed = ''
  let waiting: { readonly resolve: (answer: unknown) => void; readonly reject: (e: Error) => void } | undefined
  const settle = (f: (w: NonNullable<typeof waiting>) => void): void => {
    const w = waiting
    waiting = undefined
    if (w !== undefined) f(w)
  }
  const keep = (text: string): void => { printed = `${printed}${text}`.slice(-20_000) }
  createInterface({ input: child.stdout }).on('line', line => {
    if (line.startsWith(answerMark)) settle(w => { w.resolve(JSON.parse(line.slice(answerMark.length))) })
    else keep(`${line}\n`)
  })
  child.stderr.on('data', (chunk: Buffer) => { keep(chunk.toString()) })
  // Of a job that has ended, its end tells more than the pipe.
  child.stdin.on('error', () => undefined)
  let ended: Error | undefined
  const over = new Promise<void>(resolve => {
    child.on('error', e => { ended ??= e; settle(w => { w.reject(e) }); resolve() })
    child.on('close', code => {
      const e = ended ??= new Error(`the job of ${ranks} ranks (${mpi.name}) ended with ${code}\n${printed}`)
      settle(w => { w.reject(e) })
      resolve()
    })
  })
  return {
    ask: request => new Promise((resolve, reject) => {
      if (ended !== undefined) return reject(ended)
      if (waiting !== undefined) return reject(new Error('the job is busy'))
      waiting = { resolve, reject }
      child.stdin.write(`${JSON.stringify(request)}\n`)
    }),
    close: async () => {
      child.stdin.end()
      await over
    },
  }
}
