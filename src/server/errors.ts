/** What a client is told that cannot be answered: OpenAI's error objects. */
import { MeshworkError } from '../core/errors.ts'
import { Refused } from '../serve/asking.ts'

export interface ErrorBody { readonly error: { readonly message: string; readonly type: string; readonly param: string | null; readonly code: string | null } }

/** A failure with the status that says whose it is. */
export class ApiError extends Error {
  override readonly name = 'ApiError'
  readonly status: number
  readonly type: string
  readonly param: string | null
  readonly code: string | null
  readonly headers: Readonly<Record<string, string>>

  constructor(status: number, message: string, { type = 'invalid_request_error', param = null, code = null, headers = {} }: { readonly type?: string; readonly param?: string | null; readonly code?: string | null; readonly headers?: Readonly<Record<string, string>> } = {}) {
    super(message)
    this.status = status
    this.type = type
    this.param = param
    this.code = code
    this.headers = headers
  }

  get body(): ErrorBody { return { error: { message: this.message, type: this.type, param: this.param, code: this.code } } }
}

/** The fields of requests that stand for those of `Asked`. */
const params: Readonly<Record<string, string>> = { maxTokens: 'max_tokens', choices: 'n', adapter: 'model' }

/** What a failure is to the client: its own fault, a server that is busy, or one that broke. @param prompt the field that the prompt came in @param constraint that which says what the answer must be */
export function apiError(e: unknown, prompt = 'prompt', constraint = 'response_format'): ApiError {
  if (e instanceof ApiError) return e
  if (e instanceof Refused) {
    const { refusal } = e
    if (refusal.type === 'busy') return new ApiError(429, 'the queue is full: come again later', { type: 'rate_limit_error', code: 'queue_full', headers: { 'retry-after': String(refusal.retryAfter) } })
    if (refusal.type === 'draining') return new ApiError(503, 'the server is about to end', { type: 'server_error', code: 'draining', headers: { 'retry-after': '5' } })
    const param = refusal.field === 'prompt' ? prompt : refusal.field === 'constraint' ? constraint : params[refusal.field] ?? refusal.field
    return new ApiError(400, `${refusal.why}: ${refusal.fix}`, { param, code: refusal.why.includes('tokens, and a prompt') ? 'context_length_exceeded' : null })
  }
  // What is wrong with a constraint is the client's to mend.
  if (e instanceof MeshworkError && e.problem.code === 'constraint') return new ApiError(400, `${e.problem.what}${e.problem.fix === undefined ? '' : `: ${e.problem.fix}`}`, { param: constraint })
  return new ApiError(500, 'the server failed: its log says why', { type: 'server_error', code: 'internal_error' })
}
