'use strict';

// A real Faye client that publishes what comes on standard input, a JSON line {"channel", "data"} each, and says on standard
// output which line, counted from 0, was answered.
// usage: node publisher.js URL TRANSPORT LINES_PER_SECOND

const readline = require('node:readline');
const faye = require('faye');

const [url, transport, rate] = process.argv.slice(2);

const client = new faye.Client(url, { retry: 0.2, timeout: 30 });
if (transport === 'long-polling') client.disable('websocket');

const say = (event) => process.stdout.write(JSON.stringify(event) + '\n');
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// Faye's client tries again by itself while its server does not answer; an error is the server's own refusal.
async function publish(line, index) {
  const { channel, data } = JSON.parse(line);
  try {
    await client.publish(channel, data);
    say({ event: 'published', line: index });
  } catch (error) {
    say({ event: 'refused', line: index, why: error.message });
  }
}

async function main() {
  const answers = [];
  let index = 0;
  for await (const line of readline.createInterface({ input: process.stdin })) {
    answers.push(publish(line, index++));
    await pause(1000 / rate);
  }
  await Promise.all(answers);
  say({ event: 'done' });
  await client.disconnect();
}

main();
