/** The page beside a run: its server is in a thread of its own, so that a step waits for nobody who looks. */
import { Worker } from 'node:worker_threads'
import { MeshworkError, UsageError, type Problem } from '../core/errors.ts'
import { threadEntry } from '../io/thread.ts'

/** What the thread begins with. */
export interface PageStart { readonly runs: string; readonly host: string; readonly port: number; readonly token: string | undefined }
/** What it says. */
export type PageSays = { readonly url: string } | { readonly refused: Pick<Problem, 'code' | 'what' | 'fix'> } | { readonly broke: string } | { readonly log: string } | 'closed'

export interface PageThread {
  readonly url: string
  /** Lets those who look see the end. */
  close(): Promise<void>
}

/** Milliseconds that its end may take. */
const patience = 3000

/** @throws UsageError for an address that cannot be had */
export async function openPage(start: PageStart, log: (problem: string) => void): Promise<PageThread> {
  const worker = new Worker(threadEntry('cli/page-worker'), { workerData: start, name: 'page', execArgv: [] })
  const url = await new Promise<string>((resolve, reject) => {
    worker.once('error', reject)
    worker.on('message', (said: PageSays) => {
      if (said === 'closed') return
      if ('url' in said) resolve(said.url)
      else if ('refused' in said) reject(new UsageError(said.refused))
      else if ('log' in said) log(said.log)
      else reject(new MeshworkError({ code: 'internal', what: said.broke, fix: 'this is a fault of Meshwork: please report it' }))
    })
  }).catch(async (e: unknown) => {
    await worker.terminate()
    throw e
  })
  // A page that breaks ends no run.
  worker.on('error', e => { log(`the page is gone: ${e.message}`) })
  worker.unref()
  return {
    url,
    async close() {
      const closed = new Promise<void>(resolve => {
        worker.on('message', (said: PageSays) => { if (said === 'closed') resolve() })
        worker.once('exit', () => { resolve() })
        setTimeout(resolve, patience)
      })
      worker.postMessage('close')
      await closed
      await worker.terminate()
    },
  }
}
