/** Who may ask: the names that the server is called by, the pages that may call it, and keys. */
import { createHash, timingSafeEqual } from 'node:crypto'
import { ApiError } from './errors.ts'

const hash = (text: string): Buffer => createHash('sha256').update(text).digest()
const loopback = new Set(['127.0.0.1', 'localhost', '[::1]', '::1'])
export const isLoopback = (host: string): boolean => loopback.has(host)

/** The host of a `Host` header or an origin, without its port. */
function hostIn(text: string): string | undefined {
  try { return new URL(text.includes('://') ? text : `http://${text}`).hostname } catch { return undefined }
}

export class Guard {
  /** Hashes alone are kept: keys are in no log, error or dump. */
  readonly #keys: readonly Buffer[]
  readonly #hosts: ReadonlySet<string> | undefined

  /** @param host that the server listens on: on the loopback it answers to no other name, which a page of elsewhere may have made point here (DNS rebinding) */
  constructor(host: string, keys: readonly string[]) {
    this.#keys = keys.map(hash)
    this.#hosts = isLoopback(host) ? loopback : undefined
  }

  /** @throws ApiError for a host or a page that is not this server's */
  checkOrigin(host: string | undefined, origin: string | undefined): void {
    const called = host === undefined ? undefined : hostIn(host)
    if (this.#hosts !== undefined && (called === undefined || !this.#hosts.has(called))) throw new ApiError(403, 'this server answers to its own address only', { type: 'permission_error', code: 'host' })
    if (origin !== undefined && (hostIn(origin) === undefined || hostIn(origin) !== called)) throw new ApiError(403, 'pages of other sites may not ask this server', { type: 'permission_error', code: 'origin' })
  }

  /** Whose request it is: what is kept of prompts is shared within. @throws ApiError without a key of the server's */
  scopeOf(authorization: string | undefined): string {
    if (this.#keys.length === 0) return ''
    const given = hash(/^Bearer (.+)$/i.exec(authorization ?? '')?.[1] ?? '')
    // All are compared, whichever fits.
    const fits = this.#keys.map(key => timingSafeEqual(key, given)).indexOf(true)
    if (fits < 0) throw new ApiError(401, 'this server wants a key: Authorization: Bearer KEY', { type: 'authentication_error', code: 'invalid_api_key' })
    return String(fits)
  }
}
