/** The thread that serves the page beside a run. */
import { parentPort, workerData } from 'node:worker_threads'
import { MeshworkError } from '../core/errors.ts'
import { openDashboard } from '../dashboard/index.ts'
import type { PageSays, PageStart } from './page-thread.ts'
import { PlanThread } from './plan-thread.ts'

const say = (said: PageSays): void => { parentPort?.postMessage(said) }
const { runs, host, port, token } = workerData as PageStart
try {
  const page = await openDashboard({ runs, host, port, token, depth: 1, awaited: true, planner: new PlanThread(), log: problem => { say({ log: problem }) } })
  parentPort?.once('message', () => { void page.close().then(() => { say('closed') }) })
  say({ url: page.url })
} catch (e) {
  if (!(e instanceof MeshworkError)) say({ broke: e instanceof Error ? e.stack ?? e.message : String(e) })
  else {
    const { code, what, fix } = e.problem
    say({ refused: { code, what, ...(fix === undefined ? {} : { fix }) } })
  }
}
