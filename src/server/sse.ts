/** Answers as server-sent events: each is made when the client has room for it, so that one who reads slowly holds up nobody and fills no memory. */
import { apiError } from './errors.ts'

const utf8 = new TextEncoder()
const event = (data: string): Uint8Array => utf8.encode(`data: ${data}\n\n`)

/**
 * @param events objects, in their order
 * @param left called when the client has gone before the end
 */
export function eventStream(events: AsyncIterable<object>, left: () => void, failed: (e: unknown) => void): Response {
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
        } else controller.enqueue(event(JSON.stringify(next.value)))
      } catch (e) {
        ended = true
        failed(e)
        // The status has been sent: what went wrong is an event, and no other follows.
        controller.enqueue(event(JSON.stringify(apiError(e).body)))
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
