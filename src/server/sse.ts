/** Answers as server-sent events: each is made when the client has room for it, so that one who reads slowly holds up nobody and fills no memory. */
import { apiError } from './errors.ts'

const utf8 = new TextEncoder()
const event = (data: string, type?: string): Uint8Array => utf8.encode(`${type === undefined ? '' : `event: ${type}\n`}data: ${data}\n\n`)

/**
 * @param events objects, in their order
 * @param left called when the client has gone before the end
 * @param named whether each event has its `type` for a name
 */
export function eventStream(events: AsyncIterable<object>, left: () => void, failed: (e: unknown) => void, named = false): Response {
  const iterator = events[Symbol.asyncIterator]()
  let ended = false
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      if (ended) return
      try {
        const next = await iterator.next()
        if (next.done === true) {
          ended = true
          controller.enqueue(event('[DONE]'))
          controller.close()
        } else controller.enqueue(event(JSON.stringify(next.value), named ? (next.value as { readonly type: string }).type : undefined))
      } catch (e) {
        ended = true
        failed(e)
        // The status has been sent: what went wrong is an event, and no other follows.
        controller.enqueue(event(JSON.stringify(named ? { ...apiError(e).body.error, type: 'error' } : apiError(e).body), named ? 'error' : undefined))
        controller.close()
      }
    },
    async cancel() {
      ended = true
      left()
      await iterator.return?.()
    },
  }, { highWaterMark: 4 })
  return new Response(body, { headers: { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-cache', 'x-accel-buffering': 'no' } })
}
