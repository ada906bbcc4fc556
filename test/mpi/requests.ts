/** A job of ranks that stays for many requests: starting one takes longer than most of them. */
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { built } from '../support/built.ts'
import { hesitant } from '../support/hesitant.ts'
import { answerMark, type Request } from './answers.ts'
import { environment, watched, type Mpi } from './support.ts'

export interface Job {
  /** One at a time. @throws Error with all that was printed, where the job ends instead. */
  ask(request: Request): Promise<unknown>
  /** Resolves when all ranks have ended. */
  close(): Promise<void>
}

/** A job that has begun, so that its first request does not take longer than the others. */
export async function openedJob(...how: Parameters<typeof openJob>): Promise<Job> {
  const job = await openJob(...how)
  await job.ask({ task: 'nothing' })
  return job
}

let worker: Promise<string> | undefined
/** @param cache the folder in which the first rank leaves what it compiles, for the others. */
export async function openJob(mpi: Mpi, ranks: number, cache: string, env: Readonly<Record<string, string>> = {}): Promise<Job> {
  const program = await (worker ??= built('mpi/worker.ts'))
  const child = watched(spawn(mpi.mpirun, ['-n', String(ranks), 'node', hesitant, program, cache], { env: environment(env), stdio: ['pipe', 'pipe', 'pipe'] }))
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
