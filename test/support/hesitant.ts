/** What V8 is told in processes of tests, as bin/meshwork.js tells it: functions run four times as long as usual before they are optimized. Most of what a test runs it runs a few times, and what is optimized for that costs more than it saves. */
export const hesitant = '--interrupt-budget=270336'
