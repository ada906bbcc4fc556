/** GET /state: what the server is doing, a few times a second as long as anything changes. One stream tells all, as browsers open few. */
import { setTimeout as after } from 'node:timers/promises'
import type { Call } from './call.ts'
import type { Metrics } from './metrics.ts'
import type { ServedModel } from './models.ts'
import { eventStream } from './sse.ts'
import type { ModelState, ServerState } from './state-shape.ts'

const milliseconds = 250
/** Where nothing changes it is told all the same after so many looks: who listens knows that the server is there. */
const silent = 40

export function stateOf(models: readonly ServedModel[], metrics: Metrics): ServerState {
  return {
    models: models.map(({ name, template, answering }): ModelState => {
      const { slots, texts, waiting, waitingTokens, blocks, blocksUsed, step } = answering.load()
      return { name, chat: template !== undefined, context: answering.context, step: step ?? null, slots, running: texts, waiting, waitingTokens, blocks, blocksUsed, ...metrics.recent(name) }
    }),
  }
}

/** Ends with the server: a stream that stays would hold up its end. */
export function state(call: Call, metrics: Metrics, isReady: () => boolean): Response {
  const response = eventStream(states(), call.abort, call.failed)
  // Once it is over nobody is to wait for what else might come on the same connection.
  response.headers.set('connection', 'close')
  return response

  async function* states(): AsyncGenerator<ServerState> {
    let [last, looks] = ['', 0]
    while (isReady() && !call.signal.aborted) {
      const now = stateOf(call.models, metrics)
      const text = JSON.stringify(now)
      if (text !== last || looks >= silent) {
        [last, looks] = [text, 0]
        yield now
      }
      looks++
      await after(milliseconds, undefined, { signal: call.signal }).catch(() => undefined)
    }
  }
}
