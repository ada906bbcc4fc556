// What clients make of a server: `node clients.mjs FOLDER-OF-PACKAGES URL MODEL EMBEDDER`. It writes a line of JSON for each thing that was tried: its name, and what was wrong where something was.
import { createRequire } from 'node:module'
import { deepStrictEqual, ok, rejects, strictEqual } from 'node:assert'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

const [packages, url, model, embedder] = process.argv.slice(2)
const { resolve } = createRequire(join(packages, 'package.json'))
const load = name => import(pathToFileURL(resolve(name)).href)
const { default: OpenAI } = await load('openai')
const { zodResponseFormat, zodTextFormat } = await load('openai/helpers/zod')
const { embed, generateObject, generateText, jsonSchema, stepCountIs, streamObject, streamText, tool } = await load('ai')
const { createOpenAICompatible } = await load('@ai-sdk/openai-compatible')
const { ChatOpenAI, OpenAIEmbeddings } = await load('@langchain/openai')
const { z } = await load('zod')

const tried = process.env.TRY
async function attempt(name, run) {
  if (tried !== undefined && !name.includes(tried)) return
  const began = performance.now()
  const error = await Promise.resolve().then(run).then(() => undefined, e => `${e?.name}: ${e?.message}`.slice(0, 600))
  process.stdout.write(`${JSON.stringify({ name, ms: Math.round(performance.now() - began), ...(error === undefined ? {} : { error }) })}\n`)
}
const question = 'What is the capital of France?'
const messages = [{ role: 'user', content: question }]
const answers = /Paris/
const person = z.object({ name: z.string().max(20), age: z.number().int().min(0).max(120), likes: z.array(z.enum(['tea', 'coffee'])).max(2) })
const asksPerson = [{ role: 'user', content: 'Describe Anna, who is 30 and likes tea, as JSON.' }]
const weather = { name: 'get_weather', description: 'The weather in a city.', parameters: { type: 'object', properties: { city: { type: 'string', maxLength: 20 } }, required: ['city'], additionalProperties: false } }
const tools = [{ type: 'function', function: weather }]

const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'none', maxRetries: 0 })
const usual = { model, temperature: 0, max_tokens: 40 }
// A small model calls again and again where it may.
const once = { ...usual, max_tokens: 120, parallel_tool_calls: false }

await attempt('openai: models', async () => {
  const all = []
  for await (const m of client.models.list()) all.push(m.id)
  ok(all.includes(model), `models are ${all.join(', ')}`)
  strictEqual((await client.models.retrieve(model)).id, model)
})
let said
await attempt('openai: chat', async () => {
  const { choices: [choice], usage } = await client.chat.completions.create({ ...usual, messages })
  said = choice.message.content
  ok(answers.test(said), said)
  strictEqual(choice.finish_reason, 'stop')
  strictEqual(usage.total_tokens, usage.prompt_tokens + usage.completion_tokens)
})
await attempt('openai: chat, streamed', async () => {
  const stream = await client.chat.completions.create({ ...usual, messages, stream: true, stream_options: { include_usage: true } })
  const ids = new Set()
  let [text, usage, finish] = ['', undefined, undefined]
  for await (const chunk of stream) {
    ids.add(chunk.id)
    text += chunk.choices[0]?.delta.content ?? ''
    finish ??= chunk.choices[0]?.finish_reason ?? undefined
    if (chunk.usage) usage = chunk.usage
  }
  strictEqual(text, said)
  strictEqual(finish, 'stop')
  strictEqual(ids.size, 1)
  ok(usage.completion_tokens > 0)
})
await attempt('openai: stream helper', async () => {
  const runner = client.chat.completions.stream({ ...usual, messages })
  strictEqual(await runner.finalContent(), said)
})
await attempt('openai: log-probabilities', async () => {
  const { choices: [choice] } = await client.chat.completions.create({ ...usual, messages, logprobs: true, top_logprobs: 3 })
  const { content } = choice.logprobs
  const bytes = content.flatMap(t => t.bytes ?? [])
  ok(Buffer.from(bytes).toString().startsWith(choice.message.content))
  for (const t of content) {
    strictEqual(t.top_logprobs.length, 3)
    ok(t.logprob <= 0 && Math.abs(t.top_logprobs[0].logprob - t.logprob) < 1e-9, 'the likeliest is not first')
    ok(t.top_logprobs.every((x, i, all) => i === 0 || x.logprob <= all[i - 1].logprob))
  }
})
await attempt('openai: parse', async () => {
  const { choices: [choice] } = await client.chat.completions.parse({ ...usual, max_tokens: 200, messages: asksPerson, response_format: zodResponseFormat(person, 'person') })
  person.parse(choice.message.parsed)
})
await attempt('openai: json_object', async () => {
  const { choices: [choice] } = await client.chat.completions.create({ ...usual, max_tokens: 300, messages: asksPerson, response_format: { type: 'json_object' } })
  if (choice.finish_reason === 'stop') strictEqual(typeof JSON.parse(choice.message.content), 'object')
  else ok(choice.message.content.startsWith('{'))
})
await attempt('openai: tools, and what they answered', async () => {
  const asked = [{ role: 'user', content: 'What is the weather in Paris?' }]
  const { choices: [choice] } = await client.chat.completions.create({ ...once, messages: asked, tools, tool_choice: 'required' })
  strictEqual(choice.finish_reason, 'tool_calls')
  const [call] = choice.message.tool_calls
  strictEqual(call.function.name, 'get_weather')
  strictEqual(typeof JSON.parse(call.function.arguments).city, 'string')
  const next = await client.chat.completions.create({ ...once, messages: [...asked, choice.message, { role: 'tool', tool_call_id: call.id, content: '{"degrees": 21}' }], tools, tool_choice: 'none' })
  ok(next.choices[0].message.content.length > 0)
  const named = await client.chat.completions.create({ ...once, messages: asked, tools: [...tools, { type: 'function', function: { ...weather, name: 'other' } }], tool_choice: { type: 'function', function: { name: 'other' } } })
  strictEqual(named.choices[0].message.tool_calls[0].function.name, 'other')
})
await attempt('openai: tools, streamed', async () => {
  const runner = client.chat.completions.stream({ ...once, messages: [{ role: 'user', content: 'What is the weather in Paris?' }], tools, tool_choice: 'required' })
  const [call] = (await runner.finalMessage()).tool_calls
  strictEqual(call.function.name, 'get_weather')
  strictEqual(typeof JSON.parse(call.function.arguments).city, 'string')
})
await attempt('openai: runTools', async () => {
  const heard = []
  const runner = client.chat.completions.runTools({ ...once, messages: [{ role: 'user', content: 'What is the weather in Paris?' }], tool_choice: { type: 'function', function: { name: 'get_weather' } }, tools: [{ type: 'function', function: { ...weather, parse: JSON.parse, function: args => { heard.push(args.city); return { degrees: 21 } } } }] })
  await runner.done()
  strictEqual(heard.length, 1)
})
await attempt('openai: many, seeds and stops', async () => {
  const ask = () => client.chat.completions.create({ model, messages, temperature: 1, seed: 7, n: 3, max_tokens: 12 })
  const [a, b] = [await ask(), await ask()]
  deepStrictEqual(a.choices.map(c => c.message.content), b.choices.map(c => c.message.content))
  deepStrictEqual(a.choices.map(c => c.index), [0, 1, 2])
  const { choices: [stopped] } = await client.chat.completions.create({ ...usual, messages, stop: ['France'] })
  ok(!stopped.message.content.includes('France'))
  strictEqual(stopped.finish_reason, 'stop')
  const { choices: [cut] } = await client.chat.completions.create({ ...usual, messages, max_completion_tokens: 2, max_tokens: undefined })
  strictEqual(cut.finish_reason, 'length')
})
await attempt('openai: completions', async () => {
  const { choices: [whole] } = await client.completions.create({ ...usual, prompt: 'The capital of France is', max_tokens: 8, logprobs: 2, echo: true })
  ok(whole.text.startsWith('The capital of France is'))
  strictEqual(whole.logprobs.token_logprobs[0], null)
  strictEqual(whole.logprobs.tokens.join(''), whole.text)
  deepStrictEqual(whole.logprobs.text_offset, whole.logprobs.tokens.map((_, i) => whole.logprobs.tokens.slice(0, i).join('').length))
  let text = ''
  for await (const chunk of await client.completions.create({ ...usual, prompt: 'The capital of France is', max_tokens: 8, stream: true })) text += chunk.choices[0]?.text ?? ''
  strictEqual(`The capital of France is${text}`, whole.text)
  strictEqual((await client.completions.create({ ...usual, prompt: ['one', 'two'], max_tokens: 2 })).choices.length, 2)
})
await attempt('openai: an end that is the one token', async () => {
  // Who sums the log-probabilities of a prompt leaves the last one out, and there must be one.
  const end = await client.completions.create({ ...usual, prompt: 'The capital of France is', max_tokens: 1, logprobs: 1, echo: true, logit_bias: { 2: 100 } })
  const other = await client.completions.create({ ...usual, prompt: 'The capital of France is', max_tokens: 1, logprobs: 1, echo: true })
  strictEqual(end.choices[0].logprobs.token_logprobs.length, other.choices[0].logprobs.token_logprobs.length)
})
await attempt('openai: responses', async () => {
  const whole = await client.responses.create({ model, temperature: 0, max_output_tokens: 40, input: question })
  ok(answers.test(whole.output_text), whole.output_text)
  strictEqual(whole.status, 'completed')
  let [text, last] = ['', undefined]
  for await (const event of await client.responses.create({ model, temperature: 0, max_output_tokens: 40, input: question, stream: true })) {
    if (event.type === 'response.output_text.delta') text += event.delta
    last = event
  }
  strictEqual(text, whole.output_text)
  strictEqual(last.type, 'response.completed')
  const parsed = await client.responses.parse({ model, temperature: 0, max_output_tokens: 200, input: asksPerson[0].content, text: { format: zodTextFormat(person, 'person') } })
  person.parse(parsed.output_parsed)
  const called = await client.responses.create({ model, temperature: 0, max_output_tokens: 120, parallel_tool_calls: false, input: 'What is the weather in Paris?', tools: [{ type: 'function', strict: true, ...weather }], tool_choice: 'required' })
  const call = called.output.find(o => o.type === 'function_call')
  strictEqual(typeof JSON.parse(call.arguments).city, 'string')
  const next = await client.responses.create({ model, temperature: 0, max_output_tokens: 20, input: [{ role: 'user', content: 'What is the weather in Paris?' }, call, { type: 'function_call_output', call_id: call.call_id, output: '21 degrees' }] })
  ok(next.output_text.length > 0)
})
await attempt('openai: embeddings', async () => {
  const texts = ['the people', 'a nation of words']
  const [short, plain] = [await client.embeddings.create({ model: embedder, input: texts }), await client.embeddings.create({ model: embedder, input: texts, encoding_format: 'float' })]
  strictEqual(short.data.length, 2)
  deepStrictEqual(short.data.map(d => d.index), [0, 1])
  for (const [i, d] of short.data.entries()) ok(d.embedding.every((x, k) => Math.abs(x - plain.data[i].embedding[k]) < 1e-6))
})
await attempt('openai: errors', async () => {
  await rejects(client.chat.completions.create({ ...usual, model: 'none', messages }), OpenAI.NotFoundError)
  await rejects(client.chat.completions.create({ ...usual, messages: [{ role: 'user', content: [{ type: 'image_url', image_url: { url: 'http://127.0.0.1/x.png' } }] }] }), OpenAI.BadRequestError)
  await rejects(client.chat.completions.create({ ...usual, messages, n: 1000 }), OpenAI.BadRequestError)
  await rejects(client.chat.completions.create({ ...usual, messages, response_format: { type: 'json_schema', json_schema: { name: 'x', schema: { type: 'string', pattern: '(a{1,200}){1,200}' } } } }), OpenAI.BadRequestError)
  await rejects(client.completions.create({ ...usual, prompt: 'word '.repeat(5000) }), OpenAI.BadRequestError)
  // What cannot be foreseen fails by itself alone, and what is asked next is answered.
  await client.completions.create({ ...usual, prompt: 'x', max_tokens: 40, guided_regex: 'x{300}(a{1,200}){1,200}' }).catch(e => { ok(e.status >= 400 && e.status < 500, `status ${e.status}`) })
  strictEqual((await client.chat.completions.create({ ...usual, messages })).choices[0].message.content, said)
})
await attempt('openai: left by its client', async () => {
  const running = async () => Number(/num_requests_running(?:\{[^}]*\})? (\d+)/.exec(await (await fetch(`${url}/metrics`)).text())?.[1])
  const stream = await client.chat.completions.create({ model, messages, temperature: 1, stream: true, max_tokens: 900, ignore_eos: true })
  await stream[Symbol.asyncIterator]().next()
  stream.controller.abort()
  const whole = new AbortController()
  const waiting = client.chat.completions.create({ model, messages, temperature: 1, max_tokens: 900, ignore_eos: true }, { signal: whole.signal })
  setTimeout(() => { whole.abort() }, 300)
  await rejects(waiting)
  for (let i = 0; i < 30 && await running() !== 0; i++) await new Promise(r => { setTimeout(r, 100) })
  strictEqual(await running(), 0)
})

const provider = createOpenAICompatible({ name: 'meshwork', baseURL: `${url}/v1`, supportsStructuredOutputs: true, includeUsage: true })
const calm = { model: provider(model), temperature: 0, maxOutputTokens: 40, maxRetries: 0 }
await attempt('ai-sdk: text', async () => {
  const { text, usage, finishReason } = await generateText({ ...calm, prompt: question })
  strictEqual(text, said)
  strictEqual(finishReason, 'stop')
  ok(usage.outputTokens > 0)
})
await attempt('ai-sdk: text, streamed', async () => {
  const stream = streamText({ ...calm, prompt: question })
  let text = ''
  for await (const piece of stream.textStream) text += piece
  strictEqual(text, said)
  ok((await stream.usage).outputTokens > 0)
})
await attempt('ai-sdk: objects', async () => {
  const { object } = await generateObject({ ...calm, maxOutputTokens: 200, schema: person, prompt: asksPerson[0].content })
  person.parse(object)
  const stream = streamObject({ ...calm, maxOutputTokens: 200, schema: person, prompt: asksPerson[0].content })
  const parts = []
  for await (const part of stream.partialObjectStream) parts.push(part)
  ok(parts.length > 1)
  deepStrictEqual(await stream.object, object)
})
await attempt('ai-sdk: tools', async () => {
  const heard = []
  const get = tool({ description: weather.description, inputSchema: jsonSchema(weather.parameters), execute: ({ city }) => { heard.push(city); return { degrees: 21 } } })
  await generateText({ ...calm, maxOutputTokens: 120, prompt: 'What is the weather in Paris?', tools: { get_weather: get }, toolChoice: 'required', stopWhen: stepCountIs(1), providerOptions: { meshwork: { parallel_tool_calls: false } } })
  const stream = streamText({ ...calm, maxOutputTokens: 120, prompt: 'What is the weather in Paris?', tools: { get_weather: get }, toolChoice: 'required', stopWhen: stepCountIs(1), providerOptions: { meshwork: { parallel_tool_calls: false } } })
  await stream.consumeStream()
  strictEqual(heard.length, 2)
})
await attempt('ai-sdk: embeddings', async () => {
  ok((await embed({ model: provider.textEmbeddingModel(embedder), value: 'the people' })).embedding.length > 0)
})

const chat = new ChatOpenAI({ model, temperature: 0, maxTokens: 40, apiKey: 'none', maxRetries: 0, configuration: { baseURL: `${url}/v1` } })
await attempt('langchain: text', async () => {
  const answer = await chat.invoke(question)
  strictEqual(answer.content, said)
  ok(answer.usage_metadata.output_tokens > 0)
})
await attempt('langchain: text, streamed', async () => {
  let text = ''
  for await (const piece of await chat.stream(question)) text += piece.content
  strictEqual(text, said)
})
await attempt('langchain: objects and tools', async () => {
  const long = new ChatOpenAI({ model, temperature: 0, maxTokens: 200, apiKey: 'none', maxRetries: 0, configuration: { baseURL: `${url}/v1` } })
  person.parse(await long.withStructuredOutput(person, { name: 'person', method: 'jsonSchema' }).invoke(asksPerson[0].content))
  person.parse(await long.withStructuredOutput(person, { name: 'person', method: 'functionCalling' }).invoke(asksPerson[0].content))
  const answer = await chat.bindTools(tools, { tool_choice: 'required' }).invoke('What is the weather in Paris?')
  strictEqual(answer.tool_calls[0].name, 'get_weather')
})
await attempt('langchain: embeddings', async () => {
  const vectors = new OpenAIEmbeddings({ model: embedder, apiKey: 'none', configuration: { baseURL: `${url}/v1` } })
  strictEqual((await vectors.embedDocuments(['a', 'b'])).length, 2)
})
