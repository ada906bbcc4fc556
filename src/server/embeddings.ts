/** POST /v1/embeddings. */
import { cutToWindow } from '../serve/embed.ts'
import type { Call } from './call.ts'
import { ApiError, apiError } from './errors.ts'
import { embedderOf, modelNamed } from './models.ts'
import { embeddingSchema } from './schemas.ts'

/** As OpenAI's clients ask for them unless told otherwise: little-endian f32 in base64. */
function base64(vector: Float32Array): string {
  const bytes = Buffer.alloc(4 * vector.length)
  vector.forEach((x, i) => { bytes.writeFloatLE(x, 4 * i) })
  return bytes.toString('base64')
}

export async function embeddings(call: Call): Promise<Response> {
  const request = await call.read(embeddingSchema)
  const { name, tokenizer, embedding } = embedderOf(modelNamed(call.models, request.model))
  const { input, encoding_format: format, dimensions } = request
  if (dimensions !== undefined && dimensions !== null && dimensions !== embedding.size) throw new ApiError(400, `vectors of this model have ${embedding.size} numbers, no fewer`, { param: 'dimensions' })
  const texts = typeof input === 'string' ? [input] : typeof input[0] === 'number' ? [input as number[]] : input as (string | number[])[]
  const rows = texts.map((text, i) => {
    if (typeof text !== 'string') return text
    const { tokens, cut } = cutToWindow(tokenizer.encode(text), tokenizer, embedding.window)
    if (cut) throw new ApiError(400, `text ${i} has more than ${embedding.window} tokens: give a shorter one`, { param: 'input', code: 'context_length_exceeded' })
    if (tokens.length === 0) throw new ApiError(400, `text ${i} is empty`, { param: 'input' })
    return tokens
  })
  let vectors: readonly Float32Array[]
  try { vectors = await call.embed(name, embedding, rows) } catch (e) {
    throw apiError(e, 'input')
  }
  call.requireConnected()
  const tokens = rows.reduce((n, row) => n + row.length, 0)
  return call.json({ object: 'list', model: name, data: vectors.map((vector, index) => ({ object: 'embedding', index, embedding: format === 'base64' ? base64(vector) : [...vector] })), usage: { prompt_tokens: tokens, total_tokens: tokens } })
}
