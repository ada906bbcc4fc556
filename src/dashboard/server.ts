/** The server of the page that shows training: what it tells comes from the folders of runs alone, so that it is the same for a run that trains and one that is over. */
import type { AddressInfo } from 'node:net'
import { setTimeout as after } from 'node:timers/promises'
import type { Server } from 'node:http'
import { serve } from '@hono/node-server'
import { Hono, type Context } from 'hono'
import { bodyLimit } from 'hono/body-limit'
import { UsageError } from '../core/errors.ts'
import { ApiError, apiError } from '../server/errors.ts'
import { readPage } from '../server/page.ts'
import { eventStream } from '../server/sse.ts'
import { wishFor } from '../train/wish.ts'
import { columnsOf, numberOf, parsed, planAsk, wishAsk } from './asked.ts'
import { detailOf } from './detail.ts'
import { PageGuard } from './guard.ts'
import type { Planner } from './planner.ts'
import { Runs } from './runs.ts'
import { lastLooks, placesIn, placesText, streamOf, Table } from './stream.ts'

export interface DashboardOptions {
  /** The folder that runs lie in, or one run's. */
  readonly runs: string
  readonly host?: string
  /** Any that is free unless said. */
  readonly port?: number
  /** Asked of everybody, where it is given; an address beyond this machine wants one. */
  readonly token?: string | undefined
  /** Folders down to which runs are looked for; 3 unless said. */
  readonly depth?: number
  /** Whether the folder may come to be later. */
  readonly awaited?: boolean
  readonly planner: Planner
  /** Hears of failures of the server's own. */
  readonly log?: (problem: string) => void
}
export interface Dashboard {
  readonly url: string
  close(): Promise<void>
}

/** Streams at once: a browser has one a tab. */
const mostStreams = 32
/** Pictures are saved by way of `blob:` addresses. */
const policy = '; img-src \'self\' blob:'

/** @throws UsageError for an address that cannot be had, or that everybody could look at; FileError where there is no such folder */
export async function openDashboard({ runs: folder, host = '127.0.0.1', port = 0, token, depth, awaited, planner, log = () => {} }: DashboardOptions): Promise<Dashboard> {
  const guard = new PageGuard(host, token)
  const runs = await Runs.open(folder, { ...(depth === undefined ? {} : { depth }), ...(awaited === undefined ? {} : { awaited }) })
  const table = new Table(runs)
  const page = await readPage(undefined, { html: 'watch.html', policy, write: html => html.replace('name="meshwork-token" content=""', `name="meshwork-token" content="${guard.pageToken ?? ''}"`) })
  const ending = new AbortController()
  let streams = 0

  const run = (c: Context): string => {
    const id = c.req.query('id') ?? ''
    if (runs.folderOf(id) === undefined) throw new ApiError(404, `there is no run "${id.slice(0, 200)}"`, { code: 'no_run' })
    return id
  }
  const events = (c: Context): Response => {
    if (streams >= mostStreams) throw new ApiError(503, `there are ${mostStreams} pages open already`, { code: 'busy', headers: { 'retry-after': '5' } })
    streams++
    const gone = new AbortController()
    const places = placesIn(c.req.header('last-event-id') ?? new URL(c.req.url).search.slice(1))
    let counted = true
    const left = (): void => {
      if (counted) streams--
      counted = false
      gone.abort()
    }
    const signal = AbortSignal.any([gone.signal, ending.signal, c.req.raw.signal])
    return eventStream(streamOf(table, { places, signal }), { left, failed: e => { left(); log(String(e)) }, named: true, id: () => placesText(places) })
  }
  const series = async (c: Context): Promise<Response> => {
    const { columns, points, from, to } = c.req.query()
    const history = runs.historyOf(run(c))
    const [first, last] = [numberOf(from, 'from', -Infinity, 0, 2 ** 53), numberOf(to, 'to', Infinity, 0, 2 ** 53)]
    return Response.json(await history?.series(columnsOf(columns), { points: numberOf(points, 'points', 1000, 2, 4096), from: first, to: last }))
  }
  const wish = async (c: Context): Promise<Response> => {
    const asked = parsed(wishAsk, await c.req.text())
    await runs.look()
    const at = runs.folderOf(asked.run)
    if (at === undefined) throw new ApiError(404, `there is no run "${asked.run.slice(0, 200)}"`, { code: 'no_run' })
    if (runs.rows.find(r => r.id === asked.run)?.state !== 'running') throw new ApiError(409, 'the run does not run any more', { code: 'not_running' })
    await wishFor(at, asked.wish)
    return Response.json({ asked: asked.wish })
  }
  const plan = async (c: Context): Promise<Response> => {
    const { run: id, recipe = '', flags = {}, machine } = parsed(planAsk, await c.req.text())
    const at = id === undefined ? undefined : runs.folderOf(id)
    if (id !== undefined && at === undefined) throw new ApiError(404, `there is no run "${id.slice(0, 200)}"`, { code: 'no_run' })
    // A recipe is one that comes along: no request names a file.
    if (id === undefined && !(await planner.recipes()).includes(recipe)) throw new ApiError(404, `there is no recipe "${recipe.slice(0, 200)}"`, { code: 'no_recipe' })
    // Nor a machine's.
    if (typeof machine === 'string' && !(await planner.machines()).includes(machine)) throw new ApiError(404, `there is no machine "${machine.slice(0, 200)}"`, { code: 'no_machine' })
    const given = Object.fromEntries(Object.entries(flags).filter(([, value]) => value !== undefined))
    const found = await planner.plan({ from: at === undefined ? { recipe } : { folder: at }, flags: given, ...(machine === undefined ? {} : { machine }) }, AbortSignal.any([c.req.raw.signal, ending.signal]))
    if ('plan' in found) return Response.json(found.plan)
    if ('failed' in found) throw new Error(found.failed)
    const { what, ...fault } = found.fault
    // A layout that cannot be is an answer, which a browser need not complain of.
    return Response.json({ error: { ...fault, message: what } })
  }

  type Route = readonly [method: 'get' | 'post', path: string, who: 'all' | 'reader' | 'actor', answer: (c: Context) => Response | Promise<Response>]
  const routes: readonly Route[] = [
    ['get', '/', 'all', () => page.answer('/')],
    ['get', '/assets/:file', 'all', c => page.answer(`/assets/${c.req.param('file')}`)],
    ['get', '/api/runs', 'reader', async () => { await table.fresh(); return Response.json({ root: runs.root, runs: runs.rows }) }],
    ['get', '/api/run', 'reader', async c => Response.json(await detailOf(runs, run(c)))],
    ['get', '/api/series', 'reader', series],
    ['get', '/api/events', 'reader', events],
    ['get', '/api/recipes', 'reader', async () => Response.json(await planner.recipes())],
    ['get', '/api/machines', 'reader', async () => Response.json(await planner.machines())],
    ['post', '/api/plan', 'actor', plan],
    ['post', '/api/wish', 'actor', wish],
  ]
  const failure = (e: unknown): Response => {
    const error = apiError(e)
    if (error.status === 500) log(e instanceof Error ? e.stack ?? e.message : String(e))
    return Response.json(error.body, { status: error.status, headers: { ...error.headers } })
  }
  const app = new Hono()
  app.use(bodyLimit({ maxSize: 1 << 16, onError: () => failure(new ApiError(413, 'the body is too large', { code: 'too_large' })) }))
  for (const [method, path, who, answer] of routes) {
    app[method](path, async c => {
      const header = (name: string): string | undefined => c.req.header(name)
      try {
        guard.check(header)
        if (who !== 'all') guard.mayRead(header)
        if (who === 'actor') guard.mayAct(header)
        const response = await answer(c)
        response.headers.set('x-content-type-options', 'nosniff')
        if (who !== 'all') response.headers.set('cache-control', 'no-store')
        return response
      } catch (e) {
        return failure(e)
      }
    })
  }
  app.notFound(() => failure(new ApiError(404, 'there is no such route', { code: 'not_found' })))

  const { server, address } = await new Promise<{ readonly server: Server; readonly address: AddressInfo }>((resolve, reject) => {
    const made = serve({ fetch: app.fetch, hostname: host, port }, found => { resolve({ server: made, address: found }) }) as Server
    made.requestTimeout = 60_000
    made.headersTimeout = 15_000
    made.once('error', (e: NodeJS.ErrnoException) => {
      reject(['EADDRINUSE', 'EACCES', 'EADDRNOTAVAIL'].includes(e.code ?? '') ? new UsageError({ code: 'port', what: `${host}:${port} cannot be listened on: ${e.message}`, fix: 'give another port, or host', cause: e }) : e)
    })
  })
  return {
    url: `http://${host.includes(':') && !host.startsWith('[') ? `[${host}]` : host}:${address.port}`,
    async close() {
      // Who looks sees how it ended.
      if (streams > 0) {
        await runs.look()
        await after(lastLooks)
      }
      ending.abort()
      const closed = new Promise<void>(resolve => { server.close(() => { resolve() }) })
      server.closeAllConnections()
      await closed
      await planner.close()
    },
  }
}
