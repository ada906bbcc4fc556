/** What the page asks of its server: requests with the key, and events as they come. */

/** A refusal, in the server's words. */
export class ApiFailure extends Error {
  override readonly name = 'ApiFailure'
  /** 0 where it came in the midst of a stream. */
  readonly status: number
  constructor(status: number, message: string) {
    super(message)
    this.status = status
  }
}

type Fields = Readonly<Record<string, unknown>>
const messageIn = (value: unknown): string | undefined => {
  const error = (value as { readonly error?: { readonly message?: unknown } } | null)?.error
  return typeof error?.message === 'string' ? error.message : undefined
}

/** The objects of a stream of events, up to its end. @throws ApiFailure for one that says what went wrong */
export async function* eventsOf(body: ReadableStream<Uint8Array>): AsyncGenerator<Fields> {
  const reader = body.getReader()
  const decoder = new TextDecoder()
  let [rest, ended] = ['', false]
  try {
    for (;;) {
      const { done, value } = await reader.read()
      if (ended && done) return
      rest += decoder.decode(value, { stream: !done })
      const events = rest.split('\n\n')
      rest = events.pop() ?? ''
      for (const event of events) {
        const data = event.split('\n').filter(line => line.startsWith('data:')).map(line => line.slice(5).trimStart()).join('\n')
        // What follows is the end of the body, which leaves the connection to the next request.
        ended ||= data === '[DONE]'
        if (data === '' || ended) continue
        const found = JSON.parse(data) as Fields
        const failed = messageIn(found)
        if (failed !== undefined) throw new ApiFailure(0, failed)
        yield found
      }
      if (done && !ended) throw new ApiFailure(0, 'the server closed the stream before its end')
    }
  } finally {
    await reader.cancel().catch(() => undefined)
  }
}

export interface Request { readonly key: string; readonly signal: AbortSignal; readonly body?: object }
/** Asks for a stream. Paths are relative: the server may lie under a path. @throws ApiFailure where it is refused */
export async function* stream(path: string, { key, signal, body }: Request): AsyncGenerator<Fields> {
  const response = await fetch(path, {
    signal, headers: { ...(key === '' ? {} : { authorization: `Bearer ${key}` }), ...(body === undefined ? {} : { 'content-type': 'application/json' }) }, ...(body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) }),
  })
  if (!response.ok || response.body === null) throw new ApiFailure(response.status, messageIn(await response.json().catch(() => null)) ?? `the server answers ${response.status}`)
  yield* eventsOf(response.body)
}
