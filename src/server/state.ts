/** GET /state: what the server is doing, a few times a second as long as anything changes. One stream tells all, as browsers open few. */
import { setTimeout as after } from 'node:timers/promises'
import type { Call } from './call.ts'
import type { Metrics } from './metrics.ts'
import { isWriter, loadOf, type ServedModel } from './models.ts'
import { eventStream } from './sse.ts'
import type { ModelState, ServerState } from './state-shape.ts'

const milliseconds = 250
/** Where nothing changes it is told all the same after so many looks: who listens knows that the server is there. */
const silent = 40

export const stateOf = (models: readonly ServedModel[], metrics: Metrics): ServerState => ({
  models: models.map((model): ModelState => {
    const { slots, running, texts, waiting, waitingTokens, blocks, blocksUsed, failing, step } = loadOf(model)
    const kind = isWriter(model) ? { kind: model.template === undefined ? 'text' as const : 'chat' as const, parent: model.parent ?? null, context: model.answering.context } : { kind: 'vectors' as const, parent: null, context: model.embedding.window }
    return { name: model.name, ...kind, step: step ?? null, failing, slots, running, texts, waiting, waitingTokens, blocks, blocksUsed, ...metrics.recent(model.name) }
  }),
})

/** Ends with the server: a stream that stays would hold up its end. */
export function state(call: Call, metrics: Metrics, isEnding: () => boolean): Response {
  const response = eventStream(states(), { left: call.abort, failed: call.failed })
  // Once it is over nobody is to wait for what else might come on the same connection.
  response.headers.set('connection', 'close')
  return response

  async function* states(): AsyncGenerator<ServerState> {
    let [last, looks] = ['', 0]
    while (!isEnding() && !call.signal.aborted) {
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
