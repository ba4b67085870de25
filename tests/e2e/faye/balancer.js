'use strict';

// A TCP balancer without sticky sessions: each new connection goes to the next server that answers, or with --in-order to the
// first that answers.
// usage: node balancer.js [--in-order] PORT [PORT ...]; prints {"port": N} once it listens.

const net = require('node:net');

const inOrder = process.argv[2] === '--in-order';
const ports = process.argv.slice(inOrder ? 3 : 2).map(Number);
let turn = 0;

function connect(client, tries) {
  if (tries === 0) {
    client.destroy();
    return;
  }
  const server = net.connect(ports[turn++ % ports.length], '127.0.0.1');
  server.once('error', () => connect(client, tries - 1));
  server.once('connect', () => {
    server.removeAllListeners('error');
    join(client, server);
  });
}

// When one side is gone, so is the other: that is how a client learns that its server was killed.
function join(client, server) {
  for (const [one, other] of [[client, server], [server, client]]) {
    one.on('error', () => other.destroy());
    one.on('close', () => other.end());
    one.pipe(other);
  }
}

const balancer = net.createServer((client) => {
  client.on('error', () => client.destroy());
  if (inOrder) turn = 0;
  connect(client, ports.length);
});
balancer.listen(0, '127.0.0.1', () => console.log(JSON.stringify({ port: balancer.address().port })));
