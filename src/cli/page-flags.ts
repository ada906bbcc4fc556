/** What both commands with a page say of it. */
import { UsageError } from '../core/errors.ts'

/** What is asked of those who look: a flag, or the environment, where the list of processes does not show it. */
export const tokenOf = (flag: string | undefined, env: NodeJS.ProcessEnv): string | undefined => {
  const token = flag ?? env['MESHWORK_PAGE_TOKEN']
  if (token === '' || (token !== undefined && !/^[\x21-\x7e]+$/.test(token))) throw new UsageError({ code: 'flag', what: '--token: it is empty, or has characters that no header takes', fix: 'for example --token "$(openssl rand -hex 16)"' })
  return token
}
/** The address as it is printed. */
export const pageAddress = (url: string, token: string | undefined): string => (token === undefined ? url : `${url}/#token=…  (with your token in the place of …)`)
