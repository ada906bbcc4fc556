/** A thread that encodes its share of the documents whenever it is asked. */
import { readFileSync } from 'node:fs'
import { parentPort, workerData } from 'node:worker_threads'
import { TokenBuffer } from '../../src/data/tokenizer-bytes.ts'
import { readTokenizer } from '../../src/data/tokenizer-json.ts'

interface Share { readonly tokenizer: string; readonly documents: string; readonly share: number; readonly of: number }

export async function encodeShare(): Promise<void> {
  const { tokenizer: path, documents, share, of } = workerData as Share
  const tokenizer = await readTokenizer(path)
  const mine = (JSON.parse(readFileSync(documents, 'utf8')) as string[]).filter((_, i) => i % of === share)
  const out = new TokenBuffer()
  parentPort?.on('message', () => {
    let tokens = 0
    for (const text of mine) {
      out.length = 0
      tokenizer.encodeInto(text, out)
      tokens += out.length
    }
    parentPort?.postMessage(tokens)
  })
}
