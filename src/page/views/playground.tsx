/** The playground: models, what was said, and a field for more. */
import { signal, type Signal } from '@preact/signals'
import type { VNode } from 'preact'
import { useEffect, useLayoutEffect, useRef } from 'preact/hooks'
import { turnsOf, type Lane } from '../conversation.ts'
import { closeLane, compare, conversation, isWriting, laneModel, note, send, setModel, startAnew, stop } from '../playground.ts'
import { modelOf, writers } from '../server.ts'
import { count } from '../shown.ts'
import { Growing } from './growing.tsx'
import { Answer, Prompt } from './message.tsx'
import { isOpen, SettingsPanel } from './settings.tsx'

const draft: Signal<string> = signal('')
/** A chat, or text that is gone on with. */
const isChat = (): boolean => conversation.value.lanes.some(l => modelOf(laneModel(l))?.kind !== 'text')

function Models(): VNode {
  const { lanes } = conversation.value
  return (
    <div class="models">
      {lanes.map((lane, i) => (
        <div class="model-choice" key={i}>
          <select aria-label={i === 0 ? 'Model' : 'Second model'} value={laneModel(lane)} disabled={isWriting.value} onChange={e => { setModel(i, e.currentTarget.value) }}>
            {writers.value.map(m => <option key={m.name} value={m.name}>{m.name}</option>)}
            {modelOf(laneModel(lane)) === undefined && <option value={laneModel(lane)}>{laneModel(lane) === '' ? '…' : laneModel(lane)}</option>}
          </select>
          <Step model={laneModel(lane)} />
          {lanes.length > 1 && <button type="button" class="small" aria-label={`take ${laneModel(lane)} away`} onClick={() => { closeLane(i) }}>✕</button>}
        </div>
      ))}
      {lanes.length === 1 && <button type="button" disabled={isWriting.value} onClick={compare}>Compare</button>}
      <span class="apart" />
      <button type="button" onClick={startAnew}>New</button>
      <button type="button" aria-expanded={isOpen.value} aria-controls="settings" onClick={() => { isOpen.value = !isOpen.value }}>Settings</button>
    </div>
  )
}

function Step({ model }: { readonly model: string }): VNode | null {
  const step = modelOf(model)?.step
  return step === undefined || step === null ? null : <span class="muted number">step {count(step)}</span>
}

function Turn({ lanes, turn }: { readonly lanes: readonly Lane[]; readonly turn: number }): VNode {
  const all = lanes.map((lane, laneAt) => ({ lane, laneAt, at: turnsOf(lane)[turn] }))
  const texts = new Set(all.map(({ lane, at }) => (at === undefined ? undefined : lane.messages[at.user]?.text)))
  const said = isChat() ? 'You' : 'Text'
  // What all lanes were asked stands once, above their answers.
  return (
    <div class="turn" data-lanes={lanes.length}>
      {all.map(({ lane, laneAt, at }) => at !== undefined && (texts.size > 1 || laneAt === 0) && <div key={`prompt ${laneAt}`} data-lane={texts.size > 1 ? laneAt : 'all'}><Prompt lane={lane} laneAt={laneAt} at={at.user} turn={turn} label={said} /></div>)}
      {all.map(({ lane, laneAt, at }) => at?.answer !== undefined && (
        <div key={`answer ${laneAt}`} data-lane={laneAt}>
          <Answer lane={lane} laneAt={laneAt} at={at.answer} label={lanes.length > 1 || lane.messages[at.answer]?.about?.model !== laneModel(lane) ? lane.messages[at.answer]?.about?.model : undefined} />
        </div>
      ))}
    </div>
  )
}

function Messages(): VNode {
  const box = useRef<HTMLDivElement>(null)
  const atEnd = useRef(true)
  const { lanes } = conversation.value
  const turns = Math.max(...lanes.map(l => turnsOf(l).length))
  const before = useRef(turns)
  // Who sends something wants to see its answer, wherever they were.
  if (isWriting.value && turns > before.current) atEnd.current = true
  before.current = turns
  useLayoutEffect(() => {
    const { current } = box
    if (current !== null && atEnd.current) current.scrollTop = current.scrollHeight
  })
  return (
    <div class="messages" ref={box} onScroll={({ currentTarget: c }) => { atEnd.current = c.scrollHeight - c.scrollTop - c.clientHeight < 48 }}>
      {turns === 0
        ? <Empty />
        : Array.from({ length: turns }, (_, i) => <Turn key={i} lanes={lanes} turn={i} />)}
    </div>
  )
}

function Empty(): VNode {
  const [lane] = conversation.value.lanes
  const model = lane === undefined ? undefined : modelOf(laneModel(lane))
  return (
    <div class="empty">
      <h1>{model?.name ?? 'Meshwork'}</h1>
      {model !== undefined && <p>{model.kind === 'chat' ? 'Ask it something.' : 'It has no chat template: it goes on with any text.'} It reads and writes {count(model.context)} tokens at most.</p>}
      <p class="muted">Answers are drawn token by token. Point at one, or walk through them with the arrow keys, to see what else was likely.</p>
    </div>
  )
}

function Composer(): VNode {
  const chat = isChat()
  // A text may be gone on with as it is.
  const mayBeEmpty = !chat && conversation.value.lanes.some(l => l.messages.length > 0)
  const may = !isWriting.value && writers.value.length > 0 && (mayBeEmpty || draft.value.trim() !== '')
  const go = (): void => {
    if (!may) return
    send(draft.value)
    draft.value = ''
  }
  return (
    <form class="composer" onSubmit={e => { e.preventDefault(); go() }}>
      <Growing label={chat ? 'Message' : 'Text'} placeholder={chat ? 'Message' : 'Text to go on with'} value={draft.value} autofocus onInput={v => { draft.value = v }} onEnter={go} />
      {isWriting.value
        ? <button type="button" class="main" onClick={stop}>Stop</button>
        : <button type="submit" class="main" disabled={!may}>{chat ? 'Send' : 'Go on'}</button>}
    </form>
  )
}

function Said(): VNode | null {
  const said = note.value
  useEffect(() => {
    if (said === undefined) return undefined
    const waits = setTimeout(() => { if (note.value === said) note.value = undefined }, 15_000)
    return () => { clearTimeout(waits) }
  }, [said])
  if (said === undefined) return null
  return <p class="note" role="status">{said.text} {said.undo !== undefined && <button type="button" class="small strong" onClick={said.undo}>Undo</button>}</p>
}

export function Playground(): VNode {
  return (
    <div class="playground" data-settings={isOpen.value}>
      <main>
        <Models />
        <Messages />
        <Said />
        <Composer />
      </main>
      {isOpen.value && <SettingsPanel />}
    </div>
  )
}
