// A Faye server on pixied, in a process of its own.
//
//   node server.js [PIXIED_ADDRESS [PORT [TIMEOUT_SECONDS]]]
//
// PORT 0, the default, is any free one. Once it listens it says so on standard output, in one line of JSON:
// {"event":"listening","port":8000,"url":"http://127.0.0.1:8000/faye","pid":123}. Faye's log goes to standard error.
// SIGTERM and SIGINT stop it: polls are answered, sockets closed, pixied told.
'use strict';

const http = require('node:http');

const faye = require('faye');
const pixied = require('pixied-client/faye');

const DEFAULT_ADDRESS = '127.0.0.1:50051';
const DEFAULT_TIMEOUT_SECONDS = 45;
const HOST = '127.0.0.1';

const [address = DEFAULT_ADDRESS, port = '0', timeout = String(DEFAULT_TIMEOUT_SECONDS)] = process.argv.slice(2);

const log = (level) => (line) => process.stderr.write(`${level} ${line}\n`);
faye.logger = { fatal: log('fatal'), error: log('error'), warn: log('warn') };

const bayeux = new faye.NodeAdapter({ mount: '/faye', timeout: Number(timeout), engine: { type: pixied, address } });
const server = http.createServer((_request, response) => response.writeHead(404).end());
bayeux.attach(server);

server.on('error', (error) => {
  process.stderr.write(`cannot listen on ${HOST}:${port}: ${error.message}\n`);
  process.exit(1);
});
server.listen(Number(port), HOST, () => {
  const { port: listening } = server.address();
  const url = `http://${HOST}:${listening}/faye`;
  process.stdout.write(`${JSON.stringify({ event: 'listening', port: listening, url, pid: process.pid })}\n`);
});

function stop() {
  bayeux.close();
  server.close();
  server.closeIdleConnections();
}

process.once('SIGTERM', stop);
process.once('SIGINT', stop);
