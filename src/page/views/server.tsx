/** What the server is doing: for each model its slots, its cache, its queue, and how fast it answers. */
import type { VNode } from 'preact'
import type { ModelState, SlotState, Spread } from '../../server/state-shape.ts'
import { connection, models } from '../server.ts'
import { count, duration, plural, rate, wholePercent } from '../shown.ts'
import { Plot } from './plot.tsx'

const isReading = ({ read, prompt, written }: SlotState): boolean => written === 0 || read < prompt
const stateOf = (slot: SlotState): string => (isReading(slot) ? `reading, ${wholePercent(slot.read / Math.max(1, slot.prompt))}` : `writing, ${plural(slot.written, 'token')}`)

function Slots({ model: { slots, running, texts, waiting, waitingTokens } }: { readonly model: ModelState }): VNode {
  const reading = texts.filter(isReading).length
  return (
    <section class="places">
      <h3>Slots</h3>
      <p class="value">{count(running)}<small> of {count(slots)}</small></p>
      <div class="slots" role="img" aria-label={`${count(running)} of ${count(slots)} slots in use: ${count(reading)} reading, ${count(running - reading)} writing`}>
        {Array.from({ length: slots }, (_, i) => {
          const slot = texts[i]
          return <span key={i} data-state={slot === undefined ? 'free' : isReading(slot) ? 'reading' : 'writing'} title={slot === undefined ? 'free' : stateOf(slot)}>{slot !== undefined && isReading(slot) && <i style={{ height: `${100 * slot.read / Math.max(1, slot.prompt)}%` }} />}</span>
        })}
      </div>
      <p class="legend muted"><span data-state="writing" />writing <span data-state="reading" />reading a prompt <span data-state="free" />free</p>
      <p>{waiting === 0 ? <span class="muted">None waits.</span> : `${plural(waiting, 'request')} ${waiting === 1 ? 'waits' : 'wait'}, with ${plural(waitingTokens, 'token')} to read.`}</p>
      <details>
        <summary>As a table</summary>
        <div class="scrolled">
          <table>
            <thead><tr><th scope="col">Slot</th><th scope="col">State</th><th scope="col">Prompt</th><th scope="col">Read</th><th scope="col">Written</th></tr></thead>
            <tbody>{Array.from({ length: slots }, (_, i) => {
              const slot = texts[i]
              return <tr key={i}><td>{i + 1}</td><td>{slot === undefined ? 'free' : isReading(slot) ? 'reading' : 'writing'}</td>{slot === undefined ? <><td /><td /><td /></> : <><td>{count(slot.prompt)}</td><td>{count(slot.read)}</td><td>{count(slot.written)}</td></>}</tr>
            })}</tbody>
          </table>
        </div>
      </details>
    </section>
  )
}

function Bar({ part, whole, label }: { readonly part: number; readonly whole: number; readonly label: string }): VNode {
  return <div class="bar" role="img" aria-label={label}><span style={{ width: `${100 * part / Math.max(1, whole)}%` }} /></div>
}

function Cache({ model: { blocks, blocksUsed, promptTokens, cachedTokens } }: { readonly model: ModelState }): VNode {
  return (
    <section>
      <h3>Cache</h3>
      <p class="value">{count(blocksUsed)}<small> of {count(blocks)} blocks</small></p>
      <Bar part={blocksUsed} whole={blocks} label={`${count(blocksUsed)} of ${count(blocks)} blocks in use`} />
      <h4>Prefix hits of the last minute</h4>
      <p class="value lesser">{promptTokens === 0 ? '–' : wholePercent(cachedTokens / promptTokens)}</p>
      <Bar part={cachedTokens} whole={promptTokens} label={`${count(cachedTokens)} of ${count(promptTokens)} tokens of prompts had been kept`} />
      <details>
        <summary>As a table</summary>
        <table>
          <tbody>
            <tr><th scope="row">Blocks in use</th><td>{count(blocksUsed)}</td></tr>
            <tr><th scope="row">Blocks free</th><td>{count(blocks - blocksUsed)}</td></tr>
            <tr><th scope="row">Prompt tokens, last minute</th><td>{count(promptTokens)}</td></tr>
            <tr><th scope="row">Of them kept from before</th><td>{count(cachedTokens)}</td></tr>
          </tbody>
        </table>
      </details>
    </section>
  )
}

const half = (spread: Spread | null): string => (spread === null ? '–' : duration(spread.p50))
const most = (spread: Spread | null): string => (spread === null ? '–' : duration(spread.p95))

function Latencies({ model: { firstToken, betweenTokens } }: { readonly model: ModelState }): VNode {
  return (
    <section>
      <h3>Latency of the last minute</h3>
      <table class="latencies">
        <thead><tr><td /><th scope="col">p50</th><th scope="col">p95</th><th scope="col">Counted</th></tr></thead>
        <tbody>
          <tr><th scope="row">First token</th><td>{half(firstToken)}</td><td>{most(firstToken)}</td><td>{count(firstToken?.count ?? 0)}</td></tr>
          <tr><th scope="row">Between tokens</th><td>{half(betweenTokens)}</td><td>{most(betweenTokens)}</td><td>{count(betweenTokens?.count ?? 0)}</td></tr>
        </tbody>
      </table>
    </section>
  )
}

/** What makes vectors has no cache, and writes nothing. */
function Vectors({ model: { slots, running, waiting, waitingTokens, promptTokens } }: { readonly model: ModelState }): VNode {
  return (
    <section class="places">
      <h3>Texts</h3>
      <table class="latencies">
        <tbody>
          <tr><th scope="row">In work, of {count(slots)} at once</th><td>{count(running)}</td></tr>
          <tr><th scope="row">Waiting</th><td>{count(waiting)}</td></tr>
          <tr><th scope="row">Tokens of those that wait</th><td>{count(waitingTokens)}</td></tr>
          <tr><th scope="row">Tokens read in the last minute</th><td>{count(promptTokens)}</td></tr>
        </tbody>
      </table>
    </section>
  )
}

const kinds: Readonly<Record<ModelState['kind'], string>> = { chat: 'chats', text: 'no chat template', vectors: 'makes vectors' }

function Model({ model }: { readonly model: ModelState }): VNode {
  const { name, step, kind, parent, context, failing, tokensPerSecond, perSecond } = model
  const about = [...step === null ? [] : [`step ${count(step)} of training`], kinds[kind], `${count(context)} tokens`, ...parent === null ? [] : [`in the slots of ${parent}`]]
  return (
    <article class="model" aria-label={name}>
      <header>
        <h2>{name}</h2>
        <p class="muted">{about.join(' · ')}</p>
        {failing && <p class="wrong" role="alert">Its last step failed: the server's log says why.</p>}
      </header>
      <div class="parts">
        {kind === 'vectors'
          ? <Vectors model={model} />
          : (
            <>
              <section class="speed">
                <h3>Tokens per second</h3>
                <p class="value">{rate(tokensPerSecond)}</p>
                <Plot name="Tokens" values={perSecond} />
              </section>
              <Latencies model={model} />
              {parent === null && <Slots model={model} />}
              {parent === null && <Cache model={model} />}
            </>
          )}
      </div>
    </article>
  )
}

export function ServerView(): VNode {
  return (
    <main class="server" data-stale={connection.value !== 'open'}>
      {models.value.length === 0 ? <p class="muted">Nothing is known of the server yet.</p> : models.value.map(m => <Model key={m.name} model={m} />)}
    </main>
  )
}
