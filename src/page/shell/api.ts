/** What the page asks of its server, with the token that the server gave it, or that whoever opened it did. */
import { keep, kept } from '../kept.ts'

const tokenName = 'meshwork-token'
/** A server of this machine writes one into its page, which no other site can read; one that is reached from elsewhere is opened with it behind the #. */
const given = /(?:^#|[#&?])token=([^&]+)/.exec(location.hash)?.[1]
if (given !== undefined) {
  keep('sessionStorage', tokenName, decodeURIComponent(given))
  history.replaceState(null, '', `${location.pathname}${location.search}`)
}
let token = document.querySelector<HTMLMetaElement>('meta[name=meshwork-token]')?.content || (kept('sessionStorage', tokenName) ?? '')
export function giveToken(text: string): void {
  token = text
  keep('sessionStorage', tokenName, text)
}
export const hasToken = (): boolean => token !== ''

interface ErrorFields { readonly code: string; readonly message: string }
/** An answer that is none. */
export class Refusal extends Error {
  override readonly name = 'Refusal'
  readonly status: number
  readonly error: ErrorFields
  constructor(status: number, error: ErrorFields) {
    super(error.message)
    this.status = status
    this.error = error
  }
}

export interface Asked { readonly signal?: AbortSignal; readonly body?: object; readonly headers?: Readonly<Record<string, string>> }
/** The answer as it begins. Paths are relative: the server may lie under a path. @throws Refusal */
export async function request(path: string, { signal, body, headers = {} }: Asked = {}): Promise<Response> {
  const response = await fetch(path, {
    ...(signal === undefined ? {} : { signal }), cache: 'no-store', headers: { ...headers, ...(token === '' ? {} : { authorization: `Bearer ${token}` }), ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
    ...(body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) }),
  })
  if (response.ok) return response
  const found = await response.json().catch(() => null) as { readonly error?: ErrorFields } | null
  throw new Refusal(response.status, found?.error ?? { code: 'unknown', message: `the server answers ${response.status}` })
}
export const ask = async <T>(path: string, asked: Asked = {}): Promise<T> => await (await request(path, asked)).json() as T
