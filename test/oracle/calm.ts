/** Stands before a server and asks it for the likeliest tokens where a client leaves the temperature out: what a small model says by chance is no fault of a server's. */
import { createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface Calm extends AsyncDisposable { readonly url: string }

export async function calmed(url: string): Promise<Calm> {
  const server = createServer((asked, answer) => {
    const parts: Buffer[] = []
    asked.on('data', (part: Buffer) => { parts.push(part) })
    asked.on('end', () => {
      let body = Buffer.concat(parts)
      try {
        const fields: unknown = JSON.parse(body.toString())
        if (typeof fields === 'object' && fields !== null && !('temperature' in fields)) body = Buffer.from(JSON.stringify({ ...fields, temperature: 0 }))
      } catch {
        // It goes on as it is: what is no JSON is for the server to refuse.
      }
      const { host: _, 'content-length': __, ...headers } = asked.headers
      const on = request(new URL(asked.url ?? '/', url), { method: asked.method, headers: { ...headers, 'content-length': body.length } }, response => {
        answer.writeHead(response.statusCode ?? 500, response.headers)
        response.pipe(answer)
      })
      on.on('error', () => { answer.destroy() })
      answer.on('close', () => { on.destroy() })
      on.end(body)
    })
  })
  await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise(resolve => { server.close(resolve) })
    },
  }
}
