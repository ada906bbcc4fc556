/** Formats of texts that JSON Schema names, as regular expressions over their characters. */
const day = '(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\\d|30)|02-(?:0[1-9]|1\\d|2[0-8]))'
/** Every fourth year, but of the hundreds. */
const leap = '(?:\\d\\d(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)'
const date = `(?:\\d{4}-${day}|${leap}-02-29)`
const [time, offset] = ['(?:[01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(?:\\.\\d{1,9})?', '(?:Z|[+-](?:[01]\\d|2[0-3]):[0-5]\\d)']
const octet = '(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)'
/** Without two hyphens in a row, which begin what is written otherwise (`xn--`). */
const label = '(?:[A-Za-z0-9]-?){0,31}[A-Za-z0-9]'

export const formats: { readonly [name: string]: string } = {
  date, time: `${time}${offset}`, 'date-time': `${date}T${time}${offset}`, uuid: '[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}',
  ipv4: `${octet}(?:\\.${octet}){3}`, hostname: `${label}(?:\\.${label}){0,3}`, email: `[A-Za-z0-9_+-]{1,32}(?:\\.[A-Za-z0-9_+-]{1,32}){0,3}@${label}(?:\\.${label}){1,3}`,
  uri: `https?://${label}(?:\\.${label}){0,3}(?::\\d{1,4})?(?:/[A-Za-z0-9._~-]{0,64}){0,16}`,
}
