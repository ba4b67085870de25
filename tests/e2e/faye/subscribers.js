'use strict';

// Real Faye clients that subscribe, and say on standard output what they get, a JSON line each.
// usage: node subscribers.js URL TRANSPORT FIRST COUNT PATTERN [PATTERN ...]
// TRANSPORT is websocket or long-polling. The clients are numbered from FIRST; client i subscribes to pattern i modulo the
// number of patterns.

const faye = require('faye');

const [url, transport, first, count, ...patterns] = process.argv.slice(2);

const say = (event) => process.stdout.write(JSON.stringify(event) + '\n');

async function start(index) {
  // A short retry: a client whose server died is back in a moment.
  const client = new faye.Client(url, { retry: 0.2, timeout: 30 });
  // Faye disables a transport for all clients of a process, so there is one process for each transport.
  if (transport === 'long-polling') client.disable('websocket');
  const pattern = patterns[index % patterns.length];
  await client.subscribe(pattern).withChannel((channel, data) => say({ event: 'message', client: index, channel, data }));
  say({ event: 'subscribed', client: index, transport, pattern });
}

const indexes = Array.from({ length: Number(count) }, (_, index) => Number(first) + index);
Promise.all(indexes.map(start)).then(
  () => say({ event: 'ready' }),
  (error) => {
    console.error(`a client could not subscribe: ${error.message}`);
    process.exit(1);
  },
);
