'use strict';

// An unmodified Faye server. usage: node server.js ENGINE [WHERE]; prints {"port": N} once it listens.

const http = require('node:http');
const faye = require('faye');
const { engine } = require('./engines');

const [kind, where] = process.argv.slice(2);

faye.logger = { error: (line) => process.stderr.write(`${line}\n`), fatal: (line) => process.stderr.write(`${line}\n`) };
const bayeux = new faye.NodeAdapter({ mount: '/faye', timeout: 45, engine: engine(kind, where) });
const server = http.createServer();
bayeux.attach(server);
server.listen(0, '127.0.0.1', () => console.log(JSON.stringify({ port: server.address().port })));
// So that a profiler can write what it has seen.
process.once('SIGINT', () => process.exit(0));
