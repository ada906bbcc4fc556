/** Flags of commands that serve beside other work, and the keys that clients show. */
import type { Command } from 'commander'

export interface ServeFlags { readonly serve?: boolean; readonly port: string; readonly host: string }
export const withServeFlags = (command: Command): Command => command
  .option('--serve', 'answer over HTTP from the run\'s own weights, between its steps, as `meshwork serve` does')
  .option('--host <address>', 'of --serve and --page: what is listened on; beyond this machine --serve wants keys, in MESHWORK_API_KEYS, and --page a token', '127.0.0.1')
  .option('--port <n>', 'of --serve: the port; 0 for any that is free', '8000')

/** Keys are no flags: whoever looks at the list of processes would see them. */
export const keysIn = (env: NodeJS.ProcessEnv): string[] => (env['MESHWORK_API_KEYS'] ?? '').split(',').map(k => k.trim()).filter(k => k !== '')
