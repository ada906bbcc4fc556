/** Every route there is: what it is for, who may call it, what it is sent and what it answers. */
import type { Context } from 'hono'
import { dropAdapter, loadAdapter } from './adapter-routes.ts'
import type { Call } from './call.ts'
import { chatCompletions } from './chat.ts'
import { completions } from './completions.ts'
import { embeddings } from './embeddings.ts'
import type { Metrics } from './metrics.ts'
import { isWriter, loadOf, modelNamed, modelObject } from './models.ts'
import { openApi, type RouteOutline } from './openapi.ts'
import type { Page } from './page.ts'
import { responseSchema } from './response-schema.ts'
import { responses } from './responses.ts'
import { chatSchema, completionSchema, detokenizeSchema, dropAdapterSchema, embeddingSchema, loadAdapterSchema, tokenizeSchema } from './schemas.ts'
import { state } from './state.ts'
import { detokenize, tokenize, tokenizerInfo } from './tokenizer-routes.ts'

export interface RouteState { readonly metrics: Metrics; readonly page: Page; readonly isReady: () => boolean; readonly isEnding: () => boolean }
export interface Route extends RouteOutline {
  readonly run: (call: Call, c: Context, state: RouteState) => Response | Promise<Response>
}

const readiness = (good: string): Route['run'] => (_, __, { isReady }) => Response.json({ status: isReady() ? good : 'not ready' }, { status: isReady() ? 200 : 503 })

export const routes: readonly Route[] = [
  { method: 'get', path: '/health/live', open: true, what: 'Whether the process runs.', answers: 'status', run: call => call.json({ status: 'live' }) },
  { method: 'get', path: '/health/ready', open: true, what: 'Whether requests are taken: all is loaded and compiled, steps succeed, and it is not about to end.', answers: 'status', run: readiness('ready') },
  { method: 'get', path: '/health', open: true, what: 'The same as /health/ready.', answers: 'status', run: readiness('ok') },
  { method: 'get', path: '/', open: true, what: 'A page to try the models, and to see what they are doing.', text: 'text/html', run: (_, __, { page }) => page.answer('/') },
  { method: 'get', path: '/assets/:file', open: true, what: 'What the page is made of.', text: 'text/javascript', run: (_, c, { page }) => page.answer(`/assets/${c.req.param('file')}`) },
  { method: 'get', path: '/state', what: 'What is being done, and was in the last minute: an event a few times a second while anything changes.', text: 'text/event-stream', run: (call, _, { metrics, isEnding }) => state(call, metrics, isEnding) },
  {
    method: 'get', path: '/metrics', what: 'What was done and is being done, for Prometheus.', text: 'text/plain',
    run: (call, _, { metrics }) => new Response(metrics.text(call.models.flatMap(m => (isWriter(m) && m.parent !== undefined ? [] : [{ name: m.name, load: loadOf(m) }]))), { headers: { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' } }),
  },
  { method: 'get', path: '/openapi.json', open: true, what: 'This document.', answers: 'document', run: call => call.json(openApi(routes)) },
  { method: 'get', path: '/v1/models', what: 'The models there are.', answers: 'models', run: call => call.json({ object: 'list', data: call.models.map(modelObject) }) },
  // Names may have slashes.
  { method: 'get', path: '/v1/models/:id{.+}', what: 'One of them.', answers: 'model', run: (call, c) => call.json(modelObject(modelNamed(call.models, c.req.param('id') ?? ''))) },
  { method: 'post', path: '/v1/chat/completions', what: 'The next message of a chat.', body: chatSchema, answers: 'chat', streams: true, run: chatCompletions },
  { method: 'post', path: '/v1/completions', what: 'Texts that go on.', body: completionSchema, answers: 'completion', streams: true, run: completions },
  { method: 'post', path: '/v1/responses', what: 'A response, of which nothing is kept.', body: responseSchema, answers: 'response', streams: true, run: responses },
  { method: 'post', path: '/v1/embeddings', what: 'Vectors of texts.', body: embeddingSchema, answers: 'embeddings', run: embeddings },
  { method: 'post', path: '/v1/load_lora_adapter', what: 'An adapter more, from under the server\'s own folder.', body: loadAdapterSchema, answers: 'adapter', run: loadAdapter },
  { method: 'post', path: '/v1/unload_lora_adapter', what: 'An adapter less; who is being answered with it is answered.', body: dropAdapterSchema, answers: 'adapter', run: dropAdapter },
  { method: 'post', path: '/tokenize', what: 'The tokens of a text or a chat.', body: tokenizeSchema, answers: 'tokens', run: tokenize },
  { method: 'post', path: '/detokenize', what: 'The text of tokens.', body: detokenizeSchema, answers: 'prompt', run: detokenize },
  { method: 'get', path: '/tokenizer_info', what: 'The tokenizer of the first model.', answers: 'tokenizer', run: tokenizerInfo },
]
