/** The field for the key, where the server wants one. */
import type { VNode } from 'preact'
import { giveKey, key } from '../server.ts'

export function KeyForm(): VNode {
  const refused = key.value !== ''
  return (
    <main class="key">
      <form onSubmit={e => { e.preventDefault(); giveKey((new FormData(e.currentTarget).get('key') as string).trim()) }}>
        <h1>This server wants a key</h1>
        <p class="muted">One of those that it was started with, in <code>MESHWORK_API_KEYS</code>. It is kept as long as this tab is open.</p>
        {refused && <p class="wrong" role="alert">The server does not know this key.</p>}
        <label for="key">Key</label>
        <div class="row">
          <input id="key" name="key" type="password" autocomplete="off" required autofocus />
          <button class="main" type="submit">Go on</button>
        </div>
      </form>
    </main>
  )
}
