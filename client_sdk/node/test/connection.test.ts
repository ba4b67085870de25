// A connection that is idle, or whose server is away.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer as createHttp2Server, type ServerHttp2Session } from 'node:http2';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { afterEach, describe, it, mock } from 'node:test';

import { connectTo, standing, type Connection } from '../src/connection';
import { until } from './until';

describe('a connection', () => {
  const opened: { close(): unknown }[] = [];
  afterEach(() => {
    mock.timers.reset();
    for (const each of opened.splice(0)) each.close();
  });

  const listening = async (server: Server): Promise<string> => {
    opened.push(server);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return `127.0.0.1:${(server.address() as AddressInfo).port}`;
  };
  const connected = (address: string): Connection => {
    const connection = connectTo(address);
    opened.push(connection.client);
    return connection;
  };
  const stand = (connection: Connection): Promise<void> => standing(connection, () => undefined);

  it('that is idle is pinged after 30 s, so that a dead one is noticed, and not sooner, so that no server minds', async () => {
    const sessions: ServerHttp2Session[] = [];
    let pings = 0;
    const server = createHttp2Server().on('session', (session) => {
      sessions.push(session);
      session.on('ping', () => (pings += 1));
    });
    opened.push({ close: () => sessions.forEach((session) => session.destroy()) });
    const address = await listening(server as unknown as Server);
    mock.timers.enable({ apis: ['setTimeout'] });
    await stand(connected(address));
    mock.timers.tick(29_999);
    // What the other side sent before it answers this has come.
    await new Promise((resolve) => sessions[0]!.ping(resolve));
    assert.equal(pings, 0);
    mock.timers.tick(1);
    mock.timers.reset();
    await until('it is pinged', () => pings === 1);
  });

  it('is looked for again soon after its server went away, and then every few seconds', async () => {
    let attempts = 0;
    const address = await listening(createServer((socket) => void ((attempts += 1), socket.destroy())));
    const began = performance.now();
    void stand(connected(address));
    await until('it is looked for seven times', () => attempts >= 7);
    // These take less than 4 s; with the pauses that gRPC has by itself, they would take 17.
    assert(performance.now() - began < 10_000);
  });

  it("is no other one's", async () => {
    const sessions: ServerHttp2Session[] = [];
    const server = createHttp2Server().on('session', (session) => void sessions.push(session));
    opened.push({ close: () => sessions.forEach((session) => session.destroy()) });
    const address = await listening(server as unknown as Server);
    await Promise.all([stand(connected(address)), stand(connected(address))]);
    await until('both have come', () => sessions.length === 2);
  });
});
