/** The server: routes, each with who may call it; what is asked is counted and logged; its end is orderly. */
import { randomUUID } from 'node:crypto'
import type { AddressInfo } from 'node:net'
import type { Server } from 'node:http'
import { serve } from '@hono/node-server'
import { Hono, type Context } from 'hono'
import { bodyLimit } from 'hono/body-limit'
import { UsageError } from '../core/errors.ts'
import { Call } from './call.ts'
import { ApiError, apiError } from './errors.ts'
import { Guard, isLoopback } from './guard.ts'
import { Metrics } from './metrics.ts'
import { loadOf, withAdaptersOf, type ServedModel } from './models.ts'
import { readPage } from './page.ts'
import { routes, type RouteState } from './routes.ts'

export interface ServerOptions {
  readonly models: readonly ServedModel[]
  /** 127.0.0.1 unless said. Another address wants keys, or `anonymous`. */
  readonly host?: string
  /** Any that is free unless said. */
  readonly port?: number
  readonly keys?: readonly string[]
  /** Whether anybody may ask who can reach an address that is not the loopback. */
  readonly anonymous?: boolean
  /** Milliseconds that an answer may take, its waiting counted; any number unless said. */
  readonly deadline?: number | undefined
  /** Bytes of a body at most; 16 MiB unless said. */
  readonly bodyBytes?: number
  /** Hears an object for each request and each failure, without prompts and keys. */
  readonly log?: (event: { readonly event: string; readonly error?: string; readonly [field: string]: unknown }) => void
}

/** Seconds after which a step that does not end is no longer waited for with confidence. */
const stalled = 60

export interface OpenServer {
  readonly url: string
  /** Milliseconds for which a request's head, and all of it, are waited for. */
  readonly limits: { readonly headers: number; readonly request: number }
  /** Takes nothing new, and waits for what is under way, so many milliseconds at most; then it is cut off. */
  drain(milliseconds: number): Promise<void>
  close(): Promise<void>
}

const limits = { headers: 15_000, request: 60_000 } as const

/** @throws UsageError where everybody could ask a server that more than this machine reaches */
export async function openServer({ models, host = '127.0.0.1', port = 0, keys = [], anonymous = false, deadline, bodyBytes = 2 ** 24, log = () => {} }: ServerOptions): Promise<OpenServer> {
  if (!isLoopback(host) && keys.length === 0 && !anonymous) throw new UsageError({ code: 'open-server', what: `${host} can be reached from elsewhere, and no key is asked for`, fix: 'give keys: MESHWORK_API_KEYS=…, or say that anybody may ask: --allow-anonymous' })
  const [guard, metrics, ending] = [new Guard(host, keys), new Metrics(), new AbortController()]
  let ready = true
  const page = await readPage()
  const state: RouteState = { metrics, page, isEnding: () => !ready, isReady: () => ready && models.every(m => { const { failing, stepSeconds } = loadOf(m); return !failing && stepSeconds < stalled }) }
  const app = new Hono()
  const failure = (c: Context, e: unknown, id: string): Response => {
    const error = apiError(e)
    if (error.status === 500) log({ event: 'failed', id, error: e instanceof Error ? e.stack ?? e.message : String(e) })
    return c.json(error.body, error.status as 400, { ...error.headers })
  }
  app.use(bodyLimit({ maxSize: bodyBytes, onError: c => c.json(new ApiError(413, `the body has more than ${bodyBytes} bytes`, { code: 'too_large' }).body, 413) }))
  for (const { method, path, open: isOpen, run } of routes) {
    app[method](path, async c => {
      const began = performance.now()
      const id = /^[\w.-]{1,128}$/.exec(c.req.header('x-request-id') ?? '')?.[0] ?? randomUUID()
      let response: Response
      try {
        guard.checkOrigin(c.req.header('host'), c.req.header('origin'))
        const scope = isOpen === true ? '' : guard.scopeOf(c.req.header('authorization'))
        if (method === 'post' && !ready) throw new ApiError(503, 'the server is about to end', { type: 'server_error', code: 'draining', headers: { 'retry-after': '5' } })
        const signal = AbortSignal.any([c.req.raw.signal, ending.signal])
        response = await run(new Call({ deadline, models: withAdaptersOf(models), metrics, scope, signal, text: () => c.req.text(), log }), c, state)
      } catch (e) {
        response = failure(c, e, id)
      }
      response.headers.set('x-request-id', id)
      // A connection that is kept would hold up the end.
      if (!ready) response.headers.set('connection', 'close')
      metrics.http(method.toUpperCase(), path, response.status)
      log({ event: 'request', id, method: method.toUpperCase(), route: path, status: response.status, ms: Math.round(performance.now() - began) })
      return response
    })
    const allowed = routes.filter(r => r.path === path).map(r => r.method.toUpperCase()).join(', ')
    app.all(path, c => c.json(new ApiError(405, `${c.req.method} is not for ${path}`, { code: 'method_not_allowed' }).body, 405, { allow: allowed }))
  }
  app.notFound(c => c.json(new ApiError(404, 'there is no such route', { code: 'not_found' }).body, 404))
  app.onError((e, c) => failure(c, e, ''))
  const { server, address } = await new Promise<{ readonly server: Server; readonly address: AddressInfo }>((resolve, reject) => {
    const made = serve({ fetch: app.fetch, hostname: host, port }, found => { resolve({ server: made, address: found }) }) as Server
    made.requestTimeout = limits.request
    made.headersTimeout = limits.headers
    made.once('error', (e: NodeJS.ErrnoException) => {
      reject(e.code === 'EADDRINUSE' || e.code === 'EACCES' || e.code === 'EADDRNOTAVAIL' ? new UsageError({ code: 'port', what: `${host}:${port} cannot be listened on: ${e.message}`, fix: 'give another --port, or --host', cause: e }) : e)
    })
  })
  const closed = (): Promise<void> => new Promise(resolve => { server.close(() => { resolve() }); server.closeIdleConnections() })
  return {
    limits,
    url: `http://${host.includes(':') && !host.startsWith('[') ? `[${host}]` : host}:${address.port}`,
    async drain(milliseconds) {
      ready = false
      const done = closed()
      const cut = setTimeout(() => { ending.abort(); server.closeAllConnections() }, milliseconds)
      await done
      clearTimeout(cut)
    },
    async close() {
      ready = false
      ending.abort()
      const done = closed()
      server.closeAllConnections()
      await done
    },
  }
}
