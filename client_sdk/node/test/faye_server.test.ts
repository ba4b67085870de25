// Unmodified Faye servers and clients, over HTTP and WebSocket, on pixied.
import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';

import faye from 'faye';

import { Backend, jsonMessage } from '../src';
import type { FayeMessage } from '../src/faye';
import { FayeSite } from './faye_site';
import { until, untilEqual } from './until';
import { Pixied } from './pixied';

describe('a Faye server on pixied', () => {
  let pixied: Pixied;
  let left: FayeSite;
  let right: FayeSite;

  before(async () => void (pixied = await Pixied.start()));
  after(() => pixied.dispose());
  beforeEach(async () => {
    left = await FayeSite.open(pixied.address);
    right = await FayeSite.open(pixied.address);
  });
  afterEach(() => Promise.all([left, right, ...others.splice(0)].map((site) => site.close())));

  const others: FayeSite[] = [];
  async function another(): Promise<FayeSite> {
    others.push(await FayeSite.open(pixied.address));
    return others.at(-1)!;
  }

  for (const transport of ['websocket', 'long-polling'] as const) {
    it(`serves ${transport} clients across two servers, in order, each message once`, async () => {
      const subscriber = left.client(transport);
      const publisher = right.client(transport);
      const got: number[] = [];
      await subscriber.subscribe('/count/*', (data: number) => void got.push(data));
      // Faye's client sends what it was given before its handshake in another order.
      await publisher.publish('/hello', 0);
      const sent = Array.from({ length: 100 }, (_, i) => i);
      await Promise.all(sent.map((i) => publisher.publish('/count/up', i)));
      await untilEqual(() => got, sent);
    });
  }

  it('notifies an open socket that its client was disconnected elsewhere', async () => {
    const ended: string[] = [];
    left.bayeux.on('close', (clientId) => void ended.push(clientId));
    const clientIds: string[] = [];
    left.bayeux.on('subscribe', (clientId) => void clientIds.push(clientId));
    const client = left.client('websocket');
    await client.subscribe('/a', () => undefined);
    await right.send({ channel: '/meta/disconnect', clientId: clientIds[0]! });
    await untilEqual(() => ended, clientIds.slice(0, 1));
    // Faye's client notices, and makes itself a new session with the same subscription.
    await until('it has come back', () => clientIds.length === 2);
  });

  it("serves the server's own client, private channels included", async () => {
    const got: string[] = [];
    const own = left.bayeux.getClient();
    await own.subscribe('/service/echo', (data: string) => void got.push(`private ${data}`));
    await own.subscribe('/public', (data: string) => void got.push(`public ${data}`));
    await left.client('long-polling').publish('/service/echo', 'to left');
    await right.client('long-polling').publish('/service/echo', 'to right');
    await right.client('websocket').publish('/public', 'from right');
    await untilEqual(() => got, ['private to left', 'public from right']);
    await own.disconnect();
  });

  it('answers a subscription when it holds for every server, and a publish when pixied has it', async () => {
    const clientId = await left.handshake();
    await left.send({ channel: '/meta/subscribe', clientId, subscription: ['/a', '/b'] });
    const [reply] = await right.send({ channel: '/a', data: 1, id: '1' });
    assert.equal(reply?.successful, true);
    const backend = new Backend(pixied.address);
    assert.equal((await backend.getClient(clientId)).pending, 1);
    backend.close();
  });

  it('answers with an error what pixied refuses', async () => {
    const clientId = await left.handshake();
    const deep = '/a'.repeat(33);
    const [subscribed] = await left.send({ channel: '/meta/subscribe', clientId, subscription: deep });
    assert.deepEqual([subscribed?.successful, subscribed?.error], [false, `405:${deep}:Invalid channel`]);
    const [published] = await left.send({ channel: '/a', clientId, data: 'x'.repeat(2 ** 21), id: '1' });
    assert.deepEqual([published?.successful, published?.error], [false, '400::Message refused']);
  });

  it('answers each of several publishes that look alike with its own outcome', async () => {
    const clientId = await left.handshake();
    const replies = await left.send(
      { channel: '/a', clientId, data: 'x'.repeat(2 ** 21) },
      { channel: '/a', clientId, data: 'short' },
      { channel: '/a', clientId, data: 'x'.repeat(2 ** 21) },
    );
    assert.deepEqual(
      replies.map(({ successful }) => successful),
      [false, true, false],
    );
  });

  it('answers with an error though an extension holds the answer back until pixied has refused', async () => {
    const log: string[] = [];
    faye.logger = { error: (line: string) => void log.push(line) };
    left.bayeux.addExtension({
      outgoing: (message: FayeMessage, callback: (message: FayeMessage) => void) => {
        if (message.channel !== '/held') return callback(message);
        void until('pixied has refused it', () => log.some((line) => line.includes('publish a message'))).then(() =>
          callback(message),
        );
      },
    });
    const clientId = await left.handshake();
    const [reply] = await left.send({ channel: '/held', clientId, data: 'x'.repeat(2 ** 21), id: '1' });
    faye.logger = undefined;
    assert.deepEqual([reply?.successful, reply?.error], [false, '400::Message refused']);
  });

  it('brings messages without what would make them look like a reply, whoever has published them', async () => {
    const clientId = await left.handshake();
    await left.send({ channel: '/meta/subscribe', clientId, subscription: '/a' });
    const message = { channel: '/a', data: 1, id: '1', mood: 'good' };
    const others = { mood: 'good', successful: true, error: '503::Backend unavailable', advice: 'x' };
    const backend = new Backend(pixied.address);
    await backend.publish([jsonMessage('/a', 1, { id: '1', extra: JSON.stringify(others) })]);
    backend.close();
    const [, ...received] = await right.send({ channel: '/meta/connect', clientId, connectionType: 'long-polling' });
    assert.deepEqual(received, [message]);
  });

  it('brings messages to an EventSource as soon as that is there, whoever answers its polls', async () => {
    const stop = new AbortController();
    const clientId = await left.handshake();
    await right.send({ channel: '/meta/subscribe', clientId, subscription: '/a' });
    const inbox: FayeMessage[] = [];
    await left.listen(clientId, inbox, stop.signal);
    await right.send({ channel: '/a', data: 1 });
    await untilEqual(() => inbox.map(({ data }) => data), [1]);
    // Its poll takes the client to the other server; the EventSource ends, and comes again as browsers do by themselves.
    await right.send({ channel: '/meta/connect', clientId, connectionType: 'eventsource' });
    await right.send({ channel: '/a', data: 2 });
    await left.listen(clientId, inbox, stop.signal);
    await untilEqual(() => inbox.map(({ data }) => data), [1, 2]);
    stop.abort();
  });

  it('brings what is pending with the first poll, however briefly that waits, to whichever server it comes', async () => {
    const clientId = await left.handshake();
    await left.send({ channel: '/meta/subscribe', clientId, subscription: '/a' });
    let sent = 0;
    for (const site of [right, left, left, right, await another(), await another()]) {
      for (const timeout of [0, 1, 5, -1, 'soon', null, 1e300]) {
        const data = Array.from({ length: 20 }, () => (sent += 1));
        await right.send(...data.map((number) => ({ channel: '/a', data: number })));
        const poll = { channel: '/meta/connect', clientId, connectionType: 'long-polling', advice: { timeout } };
        const [reply, ...messages] = await site.send(poll);
        assert.equal(reply!.successful, true);
        assert.deepEqual(
          messages.map((message) => message.data),
          data,
          `with a timeout of ${String(timeout)}`,
        );
      }
    }
  });

  it('opens sockets in the name of anyone, and raises close for nobody', async () => {
    const ended: string[] = [];
    left.bayeux.on('close', (clientId) => void ended.push(clientId));
    const stop = new AbortController();
    const strangers = ['nobody', 'Not-an-id', 'x'.repeat(300)];
    for (const stranger of strangers) await left.listen(stranger, [], stop.signal);
    const clientId = await left.handshake();
    await left.send({ channel: '/meta/disconnect', clientId });
    await until('it is over', () => ended.includes(clientId));
    assert.deepEqual(
      ended.filter((id) => strangers.includes(id)),
      [],
    );
    stop.abort();
  });

  it('sends an unknown client to a new handshake', async () => {
    const [reply] = await left.send({ channel: '/meta/connect', clientId: 'nobody', connectionType: 'long-polling' });
    assert.equal(reply?.error, '401:nobody:Unknown client');
    assert.equal(reply?.advice?.reconnect, 'handshake');
  });

  it('survives what no client should send', async () => {
    const clientId = await left.handshake();
    const odd = [null, 7, {}, [], [['/a']], '', '\ud800', '/a/'];
    for (const value of odd) {
      await left.send({ channel: '/meta/subscribe', clientId, subscription: value });
      await left.send({ channel: '/meta/subscribe', clientId: value, subscription: '/a' });
      await left.send({ channel: '/meta/connect', clientId: value, connectionType: 'long-polling' });
      await left.send({ channel: '/a', clientId: value, data: value, id: value, ext: value });
    }
    const got: unknown[] = [];
    await left.client('websocket').subscribe('/still/here', (data: unknown) => void got.push(data));
    await right.client('long-polling').publish('/still/here', { '\ud800': '\udfff' });
    await untilEqual(() => got, [{ '\ud800': '\udfff' }]);
  });
});

describe('a Faye server on a pixied with little room', () => {
  it('keeps the poll of a client that cannot be attached open, and says so in its log', async () => {
    const log: string[] = [];
    faye.logger = { error: (line: string) => void log.push(line) };
    const pixied = await Pixied.start('--max-clients-per-link', '1');
    const site = await FayeSite.open(pixied.address);
    const [first, second] = [await site.handshake(), await site.handshake()];
    const connect = (clientId: string) =>
      site.send({ channel: '/meta/connect', clientId, connectionType: 'long-polling', advice: { timeout: 500 } });
    const poll = site.send({ channel: '/meta/connect', clientId: first, connectionType: 'long-polling' });
    const backend = new Backend(pixied.address);
    await until('the first is attached', async () => (await backend.getClient(first)).frontEnd !== '');
    const began = performance.now();
    const [reply] = await connect(second);
    assert.equal(reply?.successful, true);
    assert(performance.now() - began >= 490, 'an answer at once would bring the next poll at once');
    assert(log.some((line) => line.includes('could not be attached')));
    await backend.destroyClient(first);
    await poll;
    faye.logger = undefined;
    backend.close();
    await site.close();
    await pixied.dispose();
  });
});
