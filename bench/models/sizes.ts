/** What the section on models measures, and folders of random weights to measure it with: speed does not depend on what the numbers are. */
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { threefry2x32 } from '../../src/core/threefry.ts'
import { indexName, indexOf, metadataOf, shards } from '../../src/checkpoint/plan.ts'
import { bytesOf, elements, layoutFile } from '../../src/checkpoint/safetensors.ts'
import { disk, writeAll } from '../../src/io/files.ts'
import type { JsonObject } from '../../src/models/index.ts'

/** `MESHWORK_BENCH_QUICK=1`: the same with small numbers, to see that it runs; its figures say nothing. */
const quick = (process.env['MESHWORK_BENCH_QUICK'] ?? '') !== ''
export const isQuick: boolean = quick

export interface Shape { readonly layers: number; readonly embed: number; readonly heads: number; readonly kvHeads: number; readonly hidden: number; readonly vocab: number }
/** SmolLM2-135M. */
export const small: Shape = { layers: quick ? 2 : 30, embed: 576, heads: 9, kvHeads: 3, hidden: 1536, vocab: quick ? 4096 : 49152 }
/** Two gigabytes in f32. */
export const large: Shape = { layers: quick ? 1 : 10, embed: 2048, heads: 32, kvHeads: 4, hidden: 5632, vocab: 32000 }
export const shardBytes: number = quick ? 100e6 : 450e6

export const lora: { readonly batch: number; readonly seq: number; readonly rank: number; readonly on: readonly string[]; readonly batches: number } =
  { batch: 4, seq: quick ? 64 : 512, rank: 16, on: ['query', 'value'], batches: 2 }
export const attention: { readonly heads: number; readonly size: number; readonly seq: number } = { heads: 9, size: 64, seq: quick ? 1024 : 8192 }

export const configOf = ({ layers, embed, heads, kvHeads, hidden, vocab }: Shape): JsonObject => ({
  architectures: ['LlamaForCausalLM'], model_type: 'llama', vocab_size: vocab, hidden_size: embed, intermediate_size: hidden, num_hidden_layers: layers, num_attention_heads: heads,
  num_key_value_heads: kvHeads, head_dim: embed / heads, max_position_embeddings: 8192, rms_norm_eps: 1e-5, rope_theta: 100000, hidden_act: 'silu', tie_word_embeddings: true,
  attention_bias: false, mlp_bias: false, attention_dropout: 0, torch_dtype: 'float32', bos_token_id: 1, eos_token_id: 2,
})

function tensorsOf({ layers, embed, heads, kvHeads, hidden, vocab }: Shape): { readonly name: string; readonly dtype: 'f32'; readonly shape: readonly number[] }[] {
  const kv = embed / heads * kvHeads
  const tensor = (name: string, ...shape: number[]) => ({ name: `model.${name}.weight`, dtype: 'f32' as const, shape })
  const layer = (i: number) => [
    tensor(`layers.${i}.input_layernorm`, embed), tensor(`layers.${i}.post_attention_layernorm`, embed), tensor(`layers.${i}.self_attn.q_proj`, embed, embed),
    tensor(`layers.${i}.self_attn.k_proj`, kv, embed), tensor(`layers.${i}.self_attn.v_proj`, kv, embed), tensor(`layers.${i}.self_attn.o_proj`, embed, embed),
    tensor(`layers.${i}.mlp.gate_proj`, hidden, embed), tensor(`layers.${i}.mlp.up_proj`, hidden, embed), tensor(`layers.${i}.mlp.down_proj`, embed, hidden),
  ]
  return [tensor('embed_tokens', vocab, embed), tensor('norm', embed), ...Array.from({ length: layers }, (_, i) => layer(i)).flat()]
}

/** As many numbers between −bound and bound as `count`, by a counter. */
export const drawn = (count: number, bound: number, key: number): Float32Array<ArrayBuffer> => {
  let state = threefry2x32(7, key, 0, 0) | 1
  return Float32Array.from({ length: count }, () => { state = (Math.imul(state, 1664525) + 1013904223) >>> 0; return (state / 2 ** 31 - 1) * bound })
}

/** Bytes that are drawn; the weights repeat them, from other places on. */
const drawnBytes = 16 * 2 ** 20

/** A folder as the Hub has it: config.json, shards and their index. @returns the bytes of its tensors */
export async function writeModel(folder: string, shape: Shape): Promise<number> {
  await mkdir(folder, { recursive: true })
  await writeFile(join(folder, 'config.json'), JSON.stringify(configOf(shape)))
  const parts = shards('model', tensorsOf(shape), shardBytes)
  const random = new Uint8Array(drawn(drawnBytes / 4, 0.03, 1).buffer)
  const ones = new Uint8Array(new Float32Array(16384).fill(1).buffer)
  for (const { name, tensors } of parts) {
    const { head, places, size } = layoutFile(tensors, metadataOf([]))
    const file = await disk.open(join(folder, name), 'wx')
    await file.truncate(size)
    await writeAll(file, head, 0)
    for (const [i, { tensor, begin }] of places.entries()) {
      const bytes = bytesOf(tensor.dtype, tensor.shape)
      const from = tensor.shape.length === 1 ? ones : random
      for (let at = 0; at < bytes;) {
        const start = from === ones ? 0 : ((i * 65537 + at) * 4) % (drawnBytes / 2)
        const piece = from.subarray(start, start + Math.min(bytes - at, from.byteLength - start))
        await writeAll(file, piece, begin + at)
        at += piece.byteLength
      }
    }
    await file.close()
  }
  if (parts.length > 1) await writeFile(join(folder, indexName), indexOf(parts))
  return parts.flatMap(p => p.tensors).reduce((n, t) => n + elements(t.shape) * 4, 0)
}
