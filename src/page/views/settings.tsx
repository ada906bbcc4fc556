/** How answers are drawn, and what is done with the conversation as a whole. */
import { signal, type Signal } from '@preact/signals'
import type { VNode } from 'preact'
import { useRef } from 'preact/hooks'
import { conversation, importJson, note, setSettings, setSystem } from '../playground.ts'
import { toJson } from '../stored.ts'
import { setShade, shade } from './answer-text.tsx'
import { Growing } from './growing.tsx'

/** Wide pages have room for it; others show it in place of the rest. */
const wide = matchMedia('(min-width: 60rem)')
export const isOpen: Signal<boolean> = signal(wide.matches)
wide.addEventListener('change', e => { isOpen.value = e.matches })

function Slider({ id, label, value, most, onInput }: { readonly id: string; readonly label: string; readonly value: number; readonly most: number; readonly onInput: (value: number) => void }): VNode {
  const set = (text: string): void => {
    const x = Number(text)
    if (text !== '' && Number.isFinite(x)) onInput(Math.min(most, Math.max(0, x)))
  }
  return (
    <div class="setting">
      <label for={id}>{label}</label>
      <input class="number" type="number" min={0} max={most} step={0.05} value={value} aria-label={label} onChange={e => { set(e.currentTarget.value) }} />
      <input id={id} type="range" min={0} max={most} step={0.05} value={value} onInput={e => { set(e.currentTarget.value) }} />
    </div>
  )
}

function Whole({ id, label, value, least, unset, onInput }: { readonly id: string; readonly label: string; readonly value: number | null; readonly least: number; readonly unset: string; readonly onInput: (value: number | null) => void }): VNode {
  return (
    <div class="setting">
      <label for={id}>{label}</label>
      <input
        id={id} class="number" type="number" min={least} step={1} value={value ?? ''} placeholder={unset}
        onChange={e => {
          const x = Number(e.currentTarget.value)
          onInput(e.currentTarget.value === '' || !Number.isSafeInteger(x) || x < least ? null : x)
        }}
      />
    </div>
  )
}

function exported(): void {
  const url = URL.createObjectURL(new Blob([toJson(conversation.value, { indent: 1 })], { type: 'application/json' }))
  const link = Object.assign(document.createElement('a'), { href: url, download: 'conversation.json' })
  link.click()
  URL.revokeObjectURL(url)
}

async function imported(input: HTMLInputElement): Promise<void> {
  const [given] = input.files ?? []
  if (given === undefined) return
  try { importJson(await given.text()) } catch (e) { note.value = { text: e instanceof Error ? e.message : String(e) } }
  // The same file may be given again.
  input.value = ''
}

export function SettingsPanel(): VNode {
  const { system, settings: { temperature, topP, maxTokens, seed, probabilities } } = conversation.value
  const file = useRef<HTMLInputElement>(null)
  return (
    <aside class="settings" id="settings" aria-label="Settings">
      <div class="heading"><h2>Settings</h2><button type="button" class="small close" onClick={() => { isOpen.value = false }}>Close</button></div>
      <div class="setting whole">
        <span aria-hidden="true">System message</span>
        <Growing label="System message" value={system} placeholder="None" onInput={setSystem} />
      </div>
      <Slider id="temperature" label="Temperature" value={temperature} most={2} onInput={x => { setSettings({ temperature: x }) }} />
      <Slider id="top-p" label="Top p" value={topP} most={1} onInput={x => { setSettings({ topP: x }) }} />
      <Whole id="max-tokens" label="Max tokens" value={maxTokens} least={1} unset="until the end" onInput={x => { setSettings({ maxTokens: x }) }} />
      <Whole id="seed" label="Seed" value={seed} least={0} unset="random" onInput={x => { setSettings({ seed: x }) }} />
      <label class="check"><input type="checkbox" checked={probabilities} onChange={e => { setSettings({ probabilities: e.currentTarget.checked }) }} /> Probabilities of tokens</label>
      <label class="check"><input type="checkbox" checked={shade.value} onChange={e => { setShade(e.currentTarget.checked) }} /> Shade unlikely tokens</label>
      <h2>Conversation</h2>
      <div class="row">
        <button type="button" onClick={exported}>Export</button>
        <button type="button" onClick={() => { file.current?.click() }}>Import</button>
        <input
          ref={file} type="file" accept="application/json,.json" hidden aria-label="Import a conversation"
          onChange={e => { void imported(e.currentTarget) }}
        />
      </div>
      <p class="muted">It is kept in this browser. A fixed seed answers the same again.</p>
    </aside>
  )
}
