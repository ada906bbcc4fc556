/** A server that speaks as much of the Hub's protocol as downloading models takes: revisions, listings, files by ranges, redirections, tokens. */
import { createHash } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface Repo { readonly commits: { readonly [commit: string]: { readonly [path: string]: Uint8Array } }; readonly branches: { [name: string]: string }; readonly token?: string }
export interface Faults {
  /** Of a file's bytes, how many are sent before the connection is cut, one for each time; −1 for an answer of 503. */
  cuts: number[]
  /** Bytes are sent as they are not. */
  wrong: boolean
  /** A server that knows no ranges. */
  whole: boolean
  /** Paths are listed otherwise. */
  listed: ((path: string) => string) | undefined
}

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')
const gitSha1 = (bytes: Uint8Array): string => createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex')

export async function hubServer(repos: { readonly [id: string]: Repo }) {
  const faults: Faults = { cuts: [], wrong: false, whole: false, listed: undefined }
  const asked: { readonly path: string; readonly range: string | undefined; readonly token: string | undefined }[] = []
  const answer = (request: IncomingMessage, response: ServerResponse): void => {
    const url = new URL(request.url ?? '/', 'http://x')
    const path = decodeURIComponent(url.pathname)
    const token = request.headers.authorization?.replace('Bearer ', '')
    asked.push({ path, range: request.headers.range, token })
    const json = (value: unknown, status = 200): void => { response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(value)) }
    const [, cdn] = /^\/cdn\/(.+)$/.exec(path) ?? []
    const [, api, id = '', rest = ''] = /^\/(api\/models\/)?([^/]+\/[^/]+)\/(.*)$/.exec(path) ?? []
    if (cdn !== undefined) {
      const bytes = Object.values(repos).flatMap(r => Object.values(r.commits)).flatMap(files => Object.values(files)).find(b => sha256(b) === cdn)
      return bytes === undefined ? json({}, 404) : send(bytes)
    }
    const repo = repos[id]
    if (repo === undefined) return json({ error: 'Repository not found' }, 404)
    if (repo.token !== undefined && token !== repo.token) return json({ error: 'Access to this model is restricted' }, 401)
    const [kind, revision = '', ...file] = rest.split('/')
    const commit = repo.branches[revision] ?? revision
    const files = repo.commits[commit]
    if (files === undefined) return json({ error: 'Invalid rev id' }, 404)
    if (api !== undefined && kind === 'revision') return json({ _id: '1', id, modelId: id, sha: commit, private: false, gated: false, downloads: 0, likes: 0, lastModified: '2026-01-01T00:00:00.000Z' })
    if (api !== undefined && kind === 'tree') {
      return json(Object.entries(files).map(([name, bytes]) => ({ type: 'file', oid: gitSha1(bytes), size: bytes.length, path: faults.listed?.(name) ?? name, ...bytes.length > 1000 ? { lfs: { oid: sha256(bytes), size: bytes.length, pointerSize: 130 } } : {} })))
    }
    const bytes = files[file.join('/')]
    if (bytes === undefined) return json({ error: 'Entry not found' }, 404)
    if (bytes.length > 1000) { response.writeHead(302, { Location: `/cdn/${sha256(bytes)}` }).end(); return }
    send(bytes)

    function send(all: Uint8Array): void {
      const cut = faults.cuts.shift()
      if (cut === -1) return json({}, 503)
      const [, begin] = /^bytes=(\d+)-/.exec(request.headers.range ?? '') ?? []
      const from = begin === undefined || faults.whole ? 0 : Number(begin)
      const part = Buffer.from(all.subarray(from))
      if (faults.wrong) part[0] = (part[0] ?? 0) ^ 1
      response.writeHead(from > 0 ? 206 : 200, { 'Content-Length': part.length, 'Accept-Ranges': 'bytes' })
      if (cut === undefined) response.end(part)
      else response.write(part.subarray(0, cut), () => { response.socket?.destroy() })
    }
  }
  const server = createServer(answer)
  await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return { endpoint, faults, asked, close: (): Promise<void> => new Promise(resolve => { server.closeAllConnections(); server.close(() => { resolve() }) }) }
}
