/** Prompts and answers, with what can be done with each. */
import type { VNode } from 'preact'
import { useState } from 'preact/hooks'
import { siblingsOf, type About, type Lane, type Message } from '../conversation.ts'
import { choose, chooseTurn, edit, isWriting, regenerate } from '../playground.ts'
import { count, duration, plural, rate } from '../shown.ts'
import { AnswerText } from './answer-text.tsx'
import { Growing } from './growing.tsx'

function Branches({ lane, at, of, go }: { readonly lane: Lane; readonly at: number; readonly of: string; readonly go: (by: number) => void }): VNode | null {
  const siblings = siblingsOf(lane, at)
  if (siblings.length < 2) return null
  const place = siblings.indexOf(at)
  return (
    <span class="branches">
      <button type="button" class="small" aria-label={`the ${of} before`} disabled={place === 0} onClick={() => { go(-1) }}>‹</button>
      <span class="number" aria-label={`${of} ${place + 1} of ${siblings.length}`}>{place + 1}/{siblings.length}</span>
      <button type="button" class="small" aria-label={`the ${of} after`} disabled={place === siblings.length - 1} onClick={() => { go(1) }}>›</button>
    </span>
  )
}

const copied = (text: string): void => { void navigator.clipboard.writeText(text) }
/** Browsers let pages of this machine, or that came encrypted, copy. */
const Copy = ({ text }: { readonly text: string }): VNode | null => (isSecureContext ? <button type="button" class="small" onClick={() => { copied(text) }}>Copy</button> : null)

export function Prompt({ lane, laneAt, at, turn, label }: { readonly lane: Lane; readonly laneAt: number; readonly at: number; readonly turn: number; readonly label: string }): VNode {
  const [draft, setDraft] = useState<string>()
  const { text } = lane.messages[at] as Message
  const save = (): void => {
    if (draft === undefined || isWriting.value) return
    setDraft(undefined)
    edit(laneAt, turn, draft)
  }
  return (
    <section class="prompt" aria-label={label}>
      {draft === undefined
        ? <div class="text">{text === '' ? <span class="muted">(going on)</span> : text}</div>
        : <Growing label="Edit the prompt" value={draft} autofocus onInput={setDraft} onEnter={save} onEscape={() => { setDraft(undefined) }} />}
      <div class="actions">
        {draft === undefined
          ? <><button type="button" class="small" disabled={isWriting.value} onClick={() => { setDraft(text) }}>Edit</button><Copy text={text} /><Branches lane={lane} at={at} of="prompt" go={by => { chooseTurn(laneAt, turn, by) }} /></>
          : <><button type="button" class="small strong" disabled={isWriting.value} onClick={save}>Send</button><button type="button" class="small" onClick={() => { setDraft(undefined) }}>Leave as it was</button></>}
      </div>
    </section>
  )
}

const endings: Readonly<Record<About['ending'], string>> = { writing: '', stopped: 'stopped', failed: 'failed', stop: '', length: 'cut at its length' }
const speedOf = ({ tokens, first, all }: About): number | undefined => (first === undefined || all === undefined || tokens < 2 || all <= first ? undefined : (tokens - 1) / (all - first))

function Told({ about }: { readonly about: About }): VNode {
  const { model, ending, seed, step, promptTokens, cachedTokens, tokens, first, all } = about
  const speed = speedOf(about)
  const short = [...step === undefined ? [] : [`step ${count(step)}`], plural(tokens, 'token'), ...speed === undefined ? [] : [`${rate(speed)} tokens/s`], ...endings[ending] === '' ? [] : [endings[ending]]]
  const rows: readonly (readonly [string, string])[] = [
    ['Model', model], ...step === undefined ? [] : [['Step of training', count(step)] as const], ['Seed', String(seed)],
    ...promptTokens === undefined ? [] : [['Tokens of the prompt', cachedTokens === undefined || cachedTokens === 0 ? count(promptTokens) : `${count(promptTokens)}, ${count(cachedTokens)} of them kept from before`] as const],
    ['Tokens written', count(tokens)], ...first === undefined ? [] : [['First token after', duration(first)] as const], ...all === undefined ? [] : [['Last token after', duration(all)] as const],
  ]
  return (
    <details class="about">
      <summary>{short.join(' · ')}</summary>
      <dl>{rows.map(([name, value]) => <div key={name}><dt>{name}</dt><dd>{value}</dd></div>)}</dl>
    </details>
  )
}

export function Answer({ lane, laneAt, at, label }: { readonly lane: Lane; readonly laneAt: number; readonly at: number; readonly label: string | undefined }): VNode {
  const { text, pieces, about } = lane.messages[at] as Message
  const writing = about?.ending === 'writing'
  return (
    <section class="answer" aria-label={`Answer of ${about?.model ?? lane.model}`} aria-busy={writing}>
      {label !== undefined && <p class="label">{label}</p>}
      <AnswerText pieces={pieces ?? [{ text, tokens: [] }]} writing={writing} />
      {about?.error !== undefined && <p class="wrong" role="alert">{about.error}</p>}
      {!writing && (
        <div class="actions">
          <button type="button" class="small" disabled={isWriting.value} onClick={() => { regenerate(laneAt, at) }}>{about?.ending === 'failed' ? 'Try again' : 'Regenerate'}</button>
          <Copy text={text} />
          <Branches lane={lane} at={at} of="answer" go={by => { choose(laneAt, at, by) }} />
          {about !== undefined && <Told about={about} />}
        </div>
      )}
    </section>
  )
}
