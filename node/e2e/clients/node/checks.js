'use strict';
// What a client's program says to the test that runs it (TestClients in node/e2e): a line each, on standard output.
const readline = require('node:readline');

const WAIT = 30_000; // ms that one condition may take
const answers = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();

const say = (word, text = '') => process.stdout.write(`${word} ${text}`.trimEnd().replaceAll('\n', ' | ') + '\n');
const figure = (text) => say('figure', text);

// tell asks the test for what only it can do, and gives its answer.
async function tell(command) {
  say('do', command);
  const answer = (await answers.next()).value ?? 'error the test is gone';
  if (answer.startsWith('error')) throw new Error(`${command}: ${answer}`);
  return answer;
}

// eventually polls until the condition gives something true, and gives that.
async function eventually(condition, what) {
  for (const end = Date.now() + WAIT; ;) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > end) throw new Error(`waited in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

// run runs checks, which are functions, by their names.
async function run(checks) {
  for (const check of checks) {
    say('check', check.name);
    try {
      await check();
      say('ok');
    } catch (e) {
      console.error(e.stack);
      say('fail', `${e.name}: ${e.message}`.slice(0, 2000));
    }
  }
  say('end');
}

module.exports = { tell, figure, eventually, run };
