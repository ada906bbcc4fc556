/** Who may look and who may act: the server's own page, and whoever has its token. */
import { randomBytes } from 'node:crypto'
import { UsageError } from '../core/errors.ts'
import { ApiError } from '../server/errors.ts'
import { Guard, isLoopback } from '../server/guard.ts'

type Header = (name: string) => string | undefined

export class PageGuard {
  readonly #reading: Guard
  readonly #acting: Guard
  /** Written into the page, where nothing else is asked of those who look: other sites cannot read it, and send nothing that has it. */
  readonly pageToken: string | undefined

  /** @throws UsageError where everybody who reaches the address could look */
  constructor(host: string, token: string | undefined) {
    if (!isLoopback(host) && token === undefined) throw new UsageError({ code: 'open-page', what: `--host: ${host} can be reached from elsewhere, and no token is asked for`, fix: 'give one that cannot be guessed: --token "$(openssl rand -hex 16)"' })
    if (token !== undefined && token.length < 8) throw new UsageError({ code: 'flag', what: '--token: it has less than 8 characters, and could be guessed', fix: 'for example --token "$(openssl rand -hex 16)"' })
    this.pageToken = token === undefined ? randomBytes(24).toString('base64url') : undefined
    this.#reading = new Guard(host, token === undefined ? [] : [token])
    this.#acting = new Guard(host, [token ?? this.pageToken ?? ''])
  }

  /** @throws ApiError for names and pages that are not this server's */
  check(header: Header): void {
    const [host, origin, site] = [header('host'), header('origin'), header('sec-fetch-site')]
    this.#reading.checkOrigin(host, origin)
    // Another port of this machine is another site, whatever its name.
    if (origin !== undefined && portOf(origin) !== portOf(`http://${host ?? ''}`)) throw foreign()
    if (site !== undefined && site !== 'same-origin' && site !== 'none') throw foreign()
  }
  /** @throws ApiError without the token, where one was given */
  mayRead(header: Header): void { this.#reading.scopeOf(header('authorization')) }
  /** @throws ApiError without a token */
  mayAct(header: Header): void { this.#acting.scopeOf(header('authorization')) }
}

const foreign = (): ApiError => new ApiError(403, 'pages of other sites may not ask this server', { type: 'permission_error', code: 'origin' })
function portOf(text: string): string | undefined {
  try {
    const { port, protocol } = new URL(text)
    return port === '' ? protocol === 'https:' ? '443' : '80' : port
  } catch { return undefined }
}
