/** What a server has done and is doing, as Prometheus reads it, by the names that vLLM has made usual. */
import type { Asked, Load, Told } from '../serve/asking.ts'
import { Recent } from './recent.ts'
import type { LastMinute } from './state-shape.ts'

/** Seconds, from a token to a long answer. */
const bounds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120]
const sizes = [1, 4, 16, 64, 256, 1024, 4096, 16384, 65536]

class Histogram {
  readonly #bounds: readonly number[]
  readonly #counts: number[]
  #sum = 0
  #count = 0
  constructor(of: readonly number[]) {
    this.#bounds = of
    this.#counts = of.map(() => 0)
  }
  observe(x: number): void {
    const at = this.#bounds.findIndex(b => x <= b)
    if (at >= 0) this.#counts[at] = (this.#counts[at] ?? 0) + 1
    this.#sum += x
    this.#count++
  }
  lines(name: string, label: string): string[] {
    let below = 0
    return [...this.#bounds.map((b, i) => `${name}_bucket{${label},le="${b}"} ${below += this.#counts[i] ?? 0}`), `${name}_bucket{${label},le="+Inf"} ${this.#count}`, `${name}_sum{${label}} ${this.#sum}`, `${name}_count{${label}} ${this.#count}`]
  }
}

const histograms = {
  time_to_first_token_seconds: ['From a request to its first token.', bounds], inter_token_latency_seconds: ['Between tokens of an answer.', bounds], e2e_request_latency_seconds: ['From a request to its end.', bounds],
  request_prompt_tokens: ['Tokens of prompts.', sizes], request_generation_tokens: ['Tokens of answers.', sizes],
} as const
type HistogramName = keyof typeof histograms

interface OfModel { readonly histograms: { readonly [N in HistogramName]: Histogram }; promptTokens: number; cachedTokens: number; tokens: number; readonly ends: Map<string, number>; readonly recent: Recent }

const escaped = (text: string): string => text.replace(/\\/g, '\\\\').replace(/"/g, '\\"').replace(/\n/g, '\\n')
const prefix = 'meshwork:'

export class Metrics {
  readonly #models = new Map<string, OfModel>()
  readonly #http = new Map<string, number>()

  /** A request was answered. @param route as it is declared, without what clients put into it */
  http(method: string, route: string, status: number): void {
    const key = `method="${method}",path="${escaped(route)}",status="${status}"`
    this.#http.set(key, (this.#http.get(key) ?? 0) + 1)
  }

  /** A prompt is asked: hears what is told of it. */
  request(model: string, asked: Asked): { told(t: Told): void; ended(reason: string): void } {
    const of = this.#of(model)
    const began = performance.now()
    const last = new Map<number, number>()
    let tokens = 0
    const since = (then: number): number => (performance.now() - then) / 1000
    return {
      told(t) {
        if (t.type === 'prompt') {
          of.promptTokens += t.tokens
          of.cachedTokens += t.cached
          of.recent.prompt(t.tokens, t.cached)
        } else if (t.type === 'more') {
          const before = last.get(t.choice)
          if (before === undefined && last.size === 0) {
            of.histograms.time_to_first_token_seconds.observe(since(began))
            of.recent.first(since(began))
          }
          if (before !== undefined) {
            of.histograms.inter_token_latency_seconds.observe(since(before))
            of.recent.between(since(before))
          }
          last.set(t.choice, performance.now())
          tokens += t.tokens.length
          of.tokens += t.tokens.length
          of.recent.tokens(t.tokens.length)
        }
      },
      ended(reason) {
        of.ends.set(reason, (of.ends.get(reason) ?? 0) + 1)
        of.histograms.e2e_request_latency_seconds.observe(since(began))
        of.histograms.request_prompt_tokens.observe(asked.prompt.length)
        of.histograms.request_generation_tokens.observe(tokens)
      },
    }
  }

  /** Texts are to become vectors. @returns what hears how that ended */
  embedding(model: string, tokens: number): (reason: string) => void {
    const of = this.#of(model)
    const began = performance.now()
    of.promptTokens += tokens
    of.recent.prompt(tokens, 0)
    return reason => {
      of.ends.set(reason, (of.ends.get(reason) ?? 0) + 1)
      of.histograms.e2e_request_latency_seconds.observe((performance.now() - began) / 1000)
      of.histograms.request_prompt_tokens.observe(tokens)
    }
  }

  /** The last minute of a model. */
  recent(model: string): LastMinute { return this.#of(model).recent.told() }

  text(loads: readonly { readonly name: string; readonly load: Load }[]): string {
    const out: string[] = []
    const family = (name: string, type: string, help: string, lines: readonly string[]): void => { out.push(`# HELP ${prefix}${name} ${help}`, `# TYPE ${prefix}${name} ${type}`, ...lines) }
    const label = (name: string): string => `model_name="${escaped(name)}"`
    const gauge = (name: string, help: string, of: (load: Load) => number): void => { family(name, 'gauge', help, loads.map(l => `${prefix}${name}{${label(l.name)}} ${of(l.load)}`)) }
    gauge('num_requests_running', 'Answers that are being written.', l => l.running)
    gauge('num_requests_waiting', 'Answers that wait for a place.', l => l.waiting)
    gauge('kv_cache_usage_perc', 'Share of the cache\'s blocks that is in use.', l => l.blocksUsed / Math.max(1, l.blocks))
    const models = loads.map(l => ({ name: l.name, of: this.#of(l.name) }))
    const counter = (name: string, help: string, of: (m: OfModel) => number): void => { family(name, 'counter', help, models.map(m => `${prefix}${name}{${label(m.name)}} ${of(m.of)}`)) }
    family('spec_decode_num_draft_tokens_total', 'counter', 'Tokens that were guessed.', loads.map(l => `${prefix}spec_decode_num_draft_tokens_total{${label(l.name)}} ${l.load.drafted}`))
    family('spec_decode_num_accepted_tokens_total', 'counter', 'Tokens that were guessed right.', loads.map(l => `${prefix}spec_decode_num_accepted_tokens_total{${label(l.name)}} ${l.load.accepted}`))
    counter('prompt_tokens_total', 'Tokens of prompts that were read.', m => m.promptTokens)
    counter('generation_tokens_total', 'Tokens that were written.', m => m.tokens)
    counter('prefix_cache_queries_total', 'Tokens of prompts that were looked for among those kept.', m => m.promptTokens)
    counter('prefix_cache_hits_total', 'Tokens of prompts that had been kept.', m => m.cachedTokens)
    family('request_success_total', 'counter', 'Requests by how they ended.', models.flatMap(m => [...m.of.ends].map(([reason, n]) => `${prefix}request_success_total{${label(m.name)},finished_reason="${reason}"} ${n}`)))
    for (const [name, [help]] of Object.entries(histograms)) family(name, 'histogram', help, models.flatMap(m => m.of.histograms[name as HistogramName].lines(`${prefix}${name}`, label(m.name))))
    family('http_requests_total', 'counter', 'Requests by route and status.', [...this.#http].map(([labels, n]) => `${prefix}http_requests_total{${labels}} ${n}`))
    return `${out.join('\n')}\n`
  }

  #of(model: string): OfModel {
    let found = this.#models.get(model)
    if (found === undefined) {
      const made = Object.fromEntries(Object.entries(histograms).map(([name, [, of]]) => [name, new Histogram(of)])) as OfModel['histograms']
      this.#models.set(model, found = { histograms: made, promptTokens: 0, cachedTokens: 0, tokens: 0, ends: new Map(), recent: new Recent() })
    }
    return found
  }
}
