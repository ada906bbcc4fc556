/** The field for what a server asks of those who look, where it asks for something that the page has not: a key, a token. */
import type { ComponentChildren, VNode } from 'preact'

export interface SecretProps {
  /** What it is called. */
  readonly word: 'key' | 'token'
  /** What wants it. */
  readonly of: 'server' | 'page'
  /** Whether one was given that the server does not know. */
  readonly refused: boolean
  readonly give: (secret: string) => void
  /** Which one is meant. */
  readonly children: ComponentChildren
}

export function SecretForm({ word, of, refused, give, children }: SecretProps): VNode {
  return (
    <main class="key">
      <form onSubmit={e => { e.preventDefault(); give((new FormData(e.currentTarget).get(word) as string).trim()) }}>
        <h1>This {of} wants a {word}</h1>
        <p class="muted">{children} It is kept as long as this tab is open.</p>
        {refused && <p class="wrong" role="alert">The server does not know this {word}.</p>}
        <label for={word}>{word === 'key' ? 'Key' : 'Token'}</label>
        <div class="row">
          <input id={word} name={word} type="password" autocomplete="off" required autofocus />
          <button class="main" type="submit">Go on</button>
        </div>
      </form>
    </main>
  )
}
