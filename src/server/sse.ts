/** Answers as server-sent events: each is made when the client has room for it, so that one who reads slowly holds up nobody and fills no memory. */
import { apiError } from './errors.ts'

const utf8 = new TextEncoder()
const event = (data: string, type?: string, id?: string): Uint8Array => utf8.encode(`${type === undefined ? '' : `event: ${type}\n`}${id === undefined ? '' : `id: ${id}\n`}data: ${data}\n\n`)

export interface EventStreamOptions {
  /** Called when the client has gone before the end, or reads no more. */
  readonly left: () => void
  readonly failed: (e: unknown) => void
  /** Whether each event has its `type` for a name. */
  readonly named?: boolean
  /** What a client says it had last when it comes again, asked for behind each event. */
  readonly id?: () => string
  /** Milliseconds after which a client that is waited for hears that it is; 15 s unless said. */
  readonly pingEvery?: number
  /** Milliseconds for which a client may read nothing while there is something for it; 60 s unless said. */
  readonly patience?: number
}

/** @param events objects, in their order */
export function eventStream(events: AsyncIterable<object>, { left, failed, named = false, id, pingEvery = 15_000, patience = 60_000 }: EventStreamOptions): Response {
  const iterator = events[Symbol.asyncIterator]()
  let ended = false
  let unread: NodeJS.Timeout | undefined
  let ping: NodeJS.Timeout | undefined
  const leave = async (): Promise<void> => {
    ended = true
    clearTimeout(unread)
    // The event that is waited for may take long yet, and a stream that is closed takes no sign of life.
    clearInterval(ping)
    left()
    await iterator.return?.()
  }
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      clearTimeout(unread)
      if (ended) return
      ping = setInterval(() => { controller.enqueue(utf8.encode(': ping\n\n')) }, pingEvery)
      try {
        const next = await iterator.next()
        clearInterval(ping)
        // The client may have gone while the event was waited for.
        if (ended as boolean) return
        if (next.done === true) {
          ended = true
          controller.enqueue(event('[DONE]'))
          controller.close()
          return
        }
        controller.enqueue(event(JSON.stringify(next.value), named ? (next.value as { readonly type: string }).type : undefined, id?.()))
        // There is no room any more until the client reads.
        if ((controller.desiredSize ?? 0) <= 0) unread = setTimeout(() => { controller.error(new Error('the client reads nothing')); void leave() }, patience)
      } catch (e) {
        clearInterval(ping)
        if (ended as boolean) return
        ended = true
        failed(e)
        // The status has been sent: what went wrong is an event, and no other follows.
        controller.enqueue(event(JSON.stringify(named ? { ...apiError(e).body.error, type: 'error' } : apiError(e).body), named ? 'error' : undefined))
        controller.close()
      }
    },
    cancel: leave,
  }, { highWaterMark: 4 })
  return new Response(body, { headers: { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-cache', 'x-accel-buffering': 'no' } })
}
