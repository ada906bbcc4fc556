/** The page as a whole: where one is, how the server is, and the view. */
import { signal, type Signal } from '@preact/signals'
import type { VNode } from 'preact'
import { useEffect } from 'preact/hooks'
import { Mark } from '../mark.tsx'
import { isWriting, stop } from '../playground.ts'
import { SecretForm } from '../secret.tsx'
import { connection, giveKey, key, models, type Connection } from '../server.ts'
import { count, rate } from '../shown.ts'
import { Playground } from './playground.tsx'
import { hideToken, Probabilities } from './probabilities.tsx'
import { ServerView } from './server.tsx'

const place: Signal<string> = signal(location.hash)
addEventListener('hashchange', () => { place.value = location.hash })
const views = [['#playground', 'Playground'], ['#server', 'Server']] as const

const words: Readonly<Record<Connection, string>> = { connecting: 'connecting', open: '', key: 'wants a key', lost: 'not reached, looking again' }

function Pulse(): VNode {
  const state = connection.value
  const sum = (of: (m: (typeof models.value)[number]) => number): number => models.value.reduce((n, m) => n + of(m), 0)
  // Models with adapters share the slots of those that they belong to.
  const [running, slots] = [sum(m => (m.parent === null ? m.running : 0)), sum(m => (m.parent === null ? m.slots : 0))]
  return (
    <p class="pulse" data-state={state} role="status">
      <span class="dot" data-busy={running > 0} aria-hidden="true" />
      {state === 'open'
        ? <span><span class="wide">{count(running)} of {count(slots)} slots · </span>{rate(sum(m => m.tokensPerSecond))} tokens/s</span>
        : <span>{words[state]}</span>}
    </p>
  )
}

export function App(): VNode {
  useEffect(() => {
    // Escape closes what is open before it stops what is written.
    const heard = (e: KeyboardEvent): void => { if (e.key === 'Escape' && !hideToken() && isWriting.value) stop() }
    addEventListener('keydown', heard)
    return () => { removeEventListener('keydown', heard) }
  }, [])
  const isServer = place.value === '#server'
  return (
    <>
      <header class="top">
        <Mark />
        <nav aria-label="Views">{views.map(([to, name]) => <a key={to} href={to} aria-current={isServer === (to === '#server') ? 'page' : undefined}>{name}</a>)}</nav>
        <Pulse />
      </header>
      {connection.value === 'key' ? <SecretForm word="key" of="server" refused={key.value !== ''} give={giveKey}>One of those that it was started with, in <code>MESHWORK_API_KEYS</code>.</SecretForm> : isServer ? <ServerView /> : <Playground />}
      <Probabilities />
    </>
  )
}
