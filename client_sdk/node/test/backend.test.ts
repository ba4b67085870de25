// The operations, through single calls and through a front-end's pipeline.
import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';

import {
  AckMode,
  Admin,
  Backend,
  ChannelInvalid,
  ChannelReserved,
  ClientUnknown,
  DeadlineExceeded,
  EventKind,
  FieldInvalid,
  FrontEnd,
  jsonMessage,
  NamespaceInUse,
  NamespaceUnknown,
  PageTokenInvalid,
  TakenOver,
  Unavailable,
  valueOf,
} from '../src';
import { until } from './until';
import { Pixied } from './pixied';

describe('operations', () => {
  let pixied: Pixied;
  const open: { close(): unknown }[] = [];

  before(async () => void (pixied = await Pixied.start()));
  after(async () => {
    for (const each of open) await each.close();
    await pixied.dispose();
  });

  for (const [face, make] of [
    ['a backend', (address: string) => new Backend(address)],
    ['a front-end', (address: string) => new FrontEnd({ address })],
  ] as const) {
    describe(`through ${face}`, () => {
      let operations: Backend | FrontEnd;
      let alice: string;

      before(() => {
        operations = make(pixied.address);
        open.push(operations);
      });
      beforeEach(async () => void (alice = (await operations.createClient()).clientId));
      afterEach(() => operations.destroyClient(alice));

      it('reserve namespaces and give them back', async () => {
        const namespace = await operations.generateNamespace();
        assert.match(namespace, /^[a-z0-9]{32}$/);
        assert.equal((await operations.generateNamespace(7)).length, 7);
        await operations.releaseNamespace(namespace);
        await assert.rejects(operations.releaseNamespace(namespace), NamespaceUnknown);
        await assert.rejects(operations.releaseNamespace(alice), NamespaceInUse);
      });

      it('create, describe, ping and destroy clients', async () => {
        const wish = { sessionTimeoutMs: 1500, attributes: { user: 'ä' } };
        const created = await operations.createClient(wish);
        const { clientId, createdAt, expiresAt } = created;
        assert.deepEqual([created.sessionTimeoutMs, created.attributes, created.frontEnd], [1500, { user: 'ä' }, '']);
        assert.equal(Math.round((expiresAt!.getTime() - createdAt!.getTime()) / 10), 150);
        const prolonged = await operations.pingClient(clientId);
        assert(prolonged! >= expiresAt!);
        assert.deepEqual(
          (await operations.pingClients([clientId, 'nobody'])).map(({ known }) => known),
          [true, false],
        );
        await operations.destroyClient(clientId, 'enough');
        await assert.rejects(operations.getClient(clientId), ClientUnknown);
      });

      it('subscribe, list and unsubscribe', async () => {
        assert.deepEqual(await operations.subscribe(alice, ['/a', '/b/*', '/a']), ['/a', '/b/*']);
        assert.deepEqual(await operations.subscribe(alice, ['/a']), []);
        assert.deepEqual(await operations.subscribedTo(alice), ['/a', '/b/*']);
        assert.equal(await operations.clientSubscribed(alice, '/b/*'), true);
        assert.equal(await operations.clientSubscribed(alice, '/b/c'), false);
        assert((await operations.subscribersOf('/b/c', { pageSize: 10_000 })).clientIds.includes(alice));
        assert.deepEqual(await operations.unsubscribe(alice, ['/a', '/x']), ['/a']);
      });

      it('list everyone, page after page', async () => {
        const channel = `/crowd/${alice}`;
        const crowd = [];
        for (let i = 0; i < 5; i += 1) crowd.push((await operations.createClient()).clientId);
        for (const clientId of crowd) await operations.subscribe(clientId, [channel]);
        const found: string[] = [];
        for await (const clientId of operations.allSubscribersOf(channel, { pageSize: 2 })) found.push(clientId);
        assert.deepEqual(found, crowd.sort());
        for (const clientId of crowd) await operations.destroyClient(clientId);
      });

      it('publish, queue and take messages as they were sent', async () => {
        await operations.subscribe(alice, ['/news/**']);
        const precise = {
          channel: '/news/a',
          data: '{"n": 9007199254740993}',
          id: '1',
          ext: 'null',
          extra: '{"b":null}',
        };
        const [result] = await operations.publish([{ ...precise, clientId: alice }]);
        assert.deepEqual(result, { matchedSubscriptions: 1, duplicate: false });
        assert.equal((await operations.publishOne(jsonMessage('/unheard', 1))).matchedSubscriptions, 0);
        const queued = await operations.queueFor(alice, [jsonMessage('/service/x', { deep: ['ü'] })]);
        assert.deepEqual(queued, { pending: 2, duplicates: 0 });
        const received = await operations.dequeueFor(alice, { ackMode: AckMode.EXPLICIT });
        const [first, second] = received.messages;
        const { channel, data, id, ext, extra, clientId } = first!;
        assert.deepEqual({ channel, data, id, ext, extra }, precise);
        assert.equal(clientId, '');
        assert.deepEqual(valueOf(second!), { deep: ['ü'] });
        const again = await operations.dequeueFor(alice);
        assert.deepEqual([again.messages.length, again.redelivered, again.lost], [2, 2, 0]);
      });

      it('do the same idempotency key once', async () => {
        const message = jsonMessage('/once', 1, { idempotencyKey: alice.slice(16) });
        const results = [await operations.publish([message]), await operations.publish([message])].flat();
        assert.deepEqual(
          results.map(({ duplicate }) => duplicate),
          [false, true],
        );
      });

      it('reject with the class of the reason, and the field to blame', async () => {
        await assert.rejects(operations.subscribe(alice, ['no channel']), (error: unknown) => {
          assert(error instanceof ChannelInvalid);
          assert.match(error.field!, /channels/);
          return true;
        });
        await assert.rejects(operations.publish([jsonMessage('/meta/x', 1)]), ChannelReserved);
        await assert.rejects(operations.generateNamespace(256), FieldInvalid);
        await assert.rejects(operations.subscribersOf('/a', { pageToken: 'made up' }), PageTokenInvalid);
      });
    });
  }

  describe('of a backend alone', () => {
    let backend: Backend;
    let alice: string;

    before(() => {
      backend = new Backend(pixied.address);
      open.push(backend);
    });
    beforeEach(async () => {
      alice = (await backend.createClient()).clientId;
      await backend.subscribe(alice, ['/live']);
    });

    it('wait for messages in a long poll', async () => {
      const poll = backend.dequeueFor(alice, { waitMs: 10_000 });
      await until('the poll waits', async () => (await backend.getClient(alice)).frontEnd !== '');
      await backend.publish([jsonMessage('/live', 'now')]);
      assert.deepEqual((await poll).messages.map(valueOf), ['now']);
    });

    it('stream messages: what is pending, then live, until the loop is left', async () => {
      await backend.publish([jsonMessage('/live', 0)]);
      const got: unknown[] = [];
      for await (const { messages } of backend.deliver(alice)) {
        got.push(...messages.map(valueOf));
        if (got.length === 3) break;
        await backend.publish([jsonMessage('/live', got.length)]);
      }
      assert.deepEqual(got, [0, 1, 2]);
      await until('it is released', async () => (await backend.getClient(alice)).frontEnd === '');
    });

    it('end a stream of messages when another takes the client over', async () => {
      const lost = (async () => {
        for await (const _ of backend.deliver(alice)) await backend.dequeueFor(alice);
      })();
      await assert.rejects(lost, TakenOver);
    });

    it('stream events, from the first answer on, until the signal aborts', async () => {
      const stop = new AbortController();
      const kinds = [EventKind.SUBSCRIBED, EventKind.CLIENT_DESTROYED];
      const seen: unknown[] = [];
      for await (const { events, missed } of backend.watch({ kinds, clientId: alice, signal: stop.signal })) {
        assert.equal(missed, 0);
        if (seen.length === 0 && events.length === 0) {
          await backend.subscribe(alice, ['/more']);
          await backend.destroyClient(alice, 'bye');
        }
        seen.push(...events.map(({ kind, channel, reason }) => [kind, channel, reason]));
        if (seen.length === 2) stop.abort();
      }
      assert.deepEqual(seen, [
        [EventKind.SUBSCRIBED, '/more', ''],
        [EventKind.CLIENT_DESTROYED, '', 'bye'],
      ]);
    });

    it('tell an operator what there is', async () => {
      const admin = new Admin(pixied.address);
      open.push(admin);
      const info = await admin.getInfo();
      assert.equal(info.engine, 'memory');
      assert.equal(info.draining, false);
      assert(info.holdings!.clients >= 1);
      const clients = await admin.listClients({ channelPattern: '/live', pageSize: 10_000 });
      assert(clients.items.some(({ clientId }) => clientId === alice));
      const channels = await admin.listChannels({ channelPattern: '/live' });
      assert.equal(channels.items[0]?.channel, '/live');
      const listed: string[] = [];
      for await (const { clientId } of admin.allClients({ pageSize: 1, channelPattern: '/live' })) listed.push(clientId);
      assert(listed.includes(alice));
      const patterns: string[] = [];
      for await (const { channel } of admin.allChannels({ pageSize: 1 })) patterns.push(channel);
      assert.deepEqual([...patterns].sort(), patterns);
      assert(patterns.includes('/live'));
    });

    it('fail with the address where nothing answers, and in time', async () => {
      const nowhere = await Pixied.prepare();
      const lost = new Backend(nowhere.address);
      const began = Date.now();
      await assert.rejects(lost.subscribedTo(alice, { timeoutMs: 300 }), (error: unknown) => {
        assert(error instanceof Unavailable || error instanceof DeadlineExceeded);
        return true;
      });
      await assert.rejects(lost.createClient(), (error: Error) => {
        assert(error instanceof Unavailable);
        assert(error.message.includes(nowhere.address));
        return true;
      });
      assert(Date.now() - began < 10_000);
      lost.close();
      await nowhere.dispose();
    });

    it('try what is safe again until pixied is there', async () => {
      const late = await Pixied.prepare();
      const patient = new Backend(late.address);
      const publish = patient.publish([jsonMessage('/a', 1)], { timeoutMs: 30_000 });
      await late.run();
      assert.deepEqual(await publish, [{ matchedSubscriptions: 0, duplicate: false }]);
      patient.close();
      await late.dispose();
    });
  });

  it('an operator can stop a pixied gently', async () => {
    const brief = await Pixied.start();
    const admin = new Admin(brief.address);
    assert.equal(await admin.drain(1000), 0);
    await until('it has ended', async () => {
      try {
        return (await admin.getInfo({ timeoutMs: 100 })).draining && false;
      } catch {
        return true;
      }
    });
    admin.close();
    await brief.dispose();
  });
});
