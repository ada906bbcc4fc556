/** Server-sent events of a body, each with the id under which they can be gone on with. */

export interface ServerEvent { readonly data: string; readonly id: string | undefined }

export async function* eventsIn(body: ReadableStream<Uint8Array>): AsyncGenerator<ServerEvent> {
  const reader = body.getReader()
  const decoder = new TextDecoder()
  let rest = ''
  try {
    for (;;) {
      const { done, value } = await reader.read()
      if (done) return
      rest += decoder.decode(value, { stream: true })
      const events = rest.split('\n\n')
      rest = events.pop() ?? ''
      for (const event of events) {
        const lines = event.split('\n')
        const field = (name: string): string[] => lines.filter(l => l.startsWith(`${name}:`)).map(l => l.slice(name.length + 1).trimStart())
        const data = field('data').join('\n')
        if (data === '[DONE]') return
        if (data !== '') yield { data, id: field('id').at(-1) }
      }
    }
  } finally {
    await reader.cancel().catch(() => undefined)
  }
}
