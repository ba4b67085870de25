// A front-end: many clients on two streams that come back by themselves.
import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';

import { Backend, ClientUnknown, EventKind, FrontEnd, jsonMessage, TooManyOperations, Unavailable, valueOf } from '../src';
import type { Attachment, AttachOptions, DeliveryInfo, Detached, Event, Message } from '../src';
import { Cable } from './cable';
import { until, untilEqual } from './until';
import { Pixied } from './pixied';

/** What an attached client has received. */
class Inbox {
  readonly values: unknown[] = [];
  readonly deliveries: DeliveryInfo[] = [];
  readonly lost: number[] = [];
  readonly ends: Detached[] = [];
  readonly attachment: Attachment;

  constructor(frontEnd: FrontEnd, clientId: string, options: AttachOptions = {}, handle?: () => Promise<void>) {
    this.attachment = frontEnd.attach(clientId, options, {
      onMessages: (messages, info) => this.take(messages, info, handle),
      onGap: ({ lost }) => void this.lost.push(lost),
      onDetached: (detached) => void this.ends.push(detached),
    });
  }

  get reasons(): string[] {
    return this.ends.map(({ reason }) => reason);
  }

  private take(messages: readonly Message[], info: DeliveryInfo, handle?: () => Promise<void>): void | Promise<void> {
    this.values.push(...messages.map(valueOf));
    this.deliveries.push(info);
    return handle?.();
  }
}

describe('a front-end', () => {
  let pixied: Pixied;
  let cable: Cable;
  let backend: Backend;
  let frontEnd: FrontEnd;
  let events: string[];
  const others: FrontEnd[] = [];

  before(async () => {
    pixied = await Pixied.start('--heartbeat-interval', '100ms', '--silence-limit', '1s', '--max-log-messages', '1000');
    backend = new Backend(pixied.address);
  });
  after(() => {
    backend.close();
    return pixied.dispose();
  });
  beforeEach(async () => {
    cable = await Cable.to(pixied.address);
    frontEnd = begin({ address: cable.address, name: 'under test' });
    events = [];
    frontEnd.on('up', () => void events.push('up')).on('down', () => void events.push('down'));
  });
  afterEach(async () => {
    await Promise.all(others.splice(0).map((each) => each.close()));
    await cable.dispose();
  });

  function begin(options: ConstructorParameters<typeof FrontEnd>[0]): FrontEnd {
    const made = new FrontEnd(options);
    others.push(made);
    return made;
  }

  async function subscribed(channel: string, sessionTimeoutMs = 60_000): Promise<string> {
    const { clientId } = await backend.createClient({ sessionTimeoutMs });
    await backend.subscribe(clientId, [channel]);
    return clientId;
  }

  const send = (channel: string, ...values: unknown[]) =>
    backend.publish(values.map((value) => jsonMessage(channel, value)));
  const holderOf = async (clientId: string): Promise<string> => (await backend.getClient(clientId)).frontEnd;
  const isHeld = (clientId: string): Promise<void> =>
    until('it is attached', async () => (await holderOf(clientId)) !== '');

  describe('through its pipeline', () => {
    it('carries thousands of operations at once, each to its own answer', async () => {
      const clients = await Promise.all(Array.from({ length: 3000 }, () => frontEnd.createClient()));
      const added = await Promise.all(clients.map(({ clientId }, i) => frontEnd.subscribe(clientId, [`/many/${i}`])));
      assert.deepEqual(
        added,
        clients.map((_, i) => [`/many/${i}`]),
      );
    });

    it('carries operations out in their order', async () => {
      const { clientId } = await frontEnd.createClient();
      const steps = [];
      for (let i = 0; i < 100; i += 1) {
        steps.push(frontEnd.subscribe(clientId, ['/x']), frontEnd.publish([jsonMessage('/x', i)]));
        steps.push(frontEnd.unsubscribe(clientId, ['/x']));
      }
      const answers = (await Promise.all(steps)).map((answer) => JSON.stringify(answer));
      const once = ['["/x"]', '[{"matchedSubscriptions":1,"duplicate":false}]', '["/x"]'];
      assert.deepEqual(answers, Array(100).fill(once).flat());
    });

    it('splits frames that would be too large', async () => {
      const clientId = await subscribed('/large');
      const data = JSON.stringify('x'.repeat(600_000));
      await Promise.all(Array.from({ length: 60 }, () => frontEnd.publish([{ channel: '/large', data }])));
      assert.equal((await backend.getClient(clientId)).pending, 60);
      await backend.destroyClient(clientId);
    });

    it('refuses more operations than it may hold, and goes on', async () => {
      const narrow = begin({ address: pixied.address, maxInFlight: 3 });
      const pings = Array.from({ length: 5 }, () => narrow.pingClients(['nobody']));
      const outcomes = await Promise.allSettled(pings);
      assert.deepEqual(
        outcomes.map(({ status }) => status),
        [...Array(3).fill('fulfilled'), ...Array(2).fill('rejected')],
      );
      await assert.rejects(pings[4]!, TooManyOperations);
      assert.equal((await narrow.pingClients(['nobody'])).length, 1);
    });

    it('fails in time while nothing answers, and says where', async () => {
      const nowhere = await Pixied.prepare();
      const lost = begin({ address: nowhere.address, timeoutMs: 100 });
      await assert.rejects(lost.createClient(), (error: Error) => {
        assert(error instanceof Unavailable);
        assert(error.message.includes(nowhere.address));
        return true;
      });
      await nowhere.dispose();
    });

    it('sends again what is safe when the connection breaks, and does it once', async () => {
      const clientId = await subscribed('/again');
      await frontEnd.subscribedTo(clientId);
      cable.hold();
      const publishes = [1, 2, 3].map((value) => frontEnd.publish([jsonMessage('/again', value)]));
      await until('pixied has them', async () => (await backend.getClient(clientId)).pending === 3);
      cable.cut();
      const results = (await Promise.all(publishes)).flat();
      assert.deepEqual(
        results.map(({ duplicate }) => duplicate),
        [true, true, true],
      );
      const { messages } = await backend.dequeueFor(clientId);
      assert.deepEqual(messages.map(valueOf), [1, 2, 3]);
    });

    it('says that the outcome is unknown of what is not safe to send again', async () => {
      const clientId = await subscribed('/unsafe');
      await frontEnd.subscribedTo(clientId);
      cable.hold();
      const destroy = frontEnd.destroyClient(clientId);
      await until('pixied has done it', async () => !(await backend.pingClients([clientId]))[0]!.known);
      cable.cut();
      await assert.rejects(destroy, (error: Error) => {
        assert(error instanceof Unavailable);
        assert.match(error.message, /outcome of destroyClient unknown/);
        assert(!error.message.includes(clientId));
        return true;
      });
    });
  });

  describe('through its link', () => {
    it('brings pending messages first, then live ones, in order, each once', async () => {
      const clientId = await subscribed('/a');
      await send('/a', 1, 2);
      const inbox = new Inbox(frontEnd, clientId);
      await untilEqual(() => inbox.values, [1, 2]);
      await send('/a', 3);
      await send('/a', 4, 5);
      await untilEqual(() => inbox.values, [1, 2, 3, 4, 5]);
      assert(inbox.deliveries.every(({ redelivered }) => !redelivered));
      assert.equal(await holderOf(clientId), 'under test');
    });

    it('confirms what was handled, so that it does not come again', async () => {
      const narrow = begin({ address: cable.address, window: 1 });
      const inbox = new Inbox(narrow, await subscribed('/b'));
      for (const value of [1, 2, 3]) {
        await send('/b', value);
        // With a window of one, this shows that the one before was confirmed.
        await until('it has come', () => inbox.values.at(-1) === value);
      }
      cable.cut();
      await send('/b', 4);
      await until('it has come', () => inbox.values.at(-1) === 4);
      assert.deepEqual(
        inbox.values.filter((value) => value !== 3),
        [1, 2, 4],
      );
    });

    it('confirms nothing that is still being handled, and what was handled before a detach', async () => {
      const clientId = await subscribed('/c');
      const handled: (() => void)[] = [];
      const inbox = new Inbox(frontEnd, clientId, {}, () => new Promise((resolve) => handled.push(resolve)));
      await isHeld(clientId);
      await send('/c', 1);
      await send('/c', 2);
      await untilEqual(() => inbox.values, [1, 2]);
      assert.equal((await backend.getClient(clientId)).pending, 2);
      handled[0]!();
      await new Promise((resolve) => setImmediate(resolve));
      inbox.attachment.detach();
      await untilEqual(() => inbox.reasons, ['requested']);
      const next = new Inbox(frontEnd, clientId);
      await untilEqual(() => next.values, [2]);
      assert.equal(next.deliveries[0]?.redelivered, true);
    });

    it('gives up a client whose handler fails, and keeps its messages', async () => {
      const [bad, good] = [await subscribed('/d'), await subscribed('/d')];
      const failure = new Error('the socket is gone');
      const narrow = begin({ address: pixied.address, window: 1 });
      const failing = new Inbox(narrow, bad, {}, () => Promise.reject(failure));
      const fine = new Inbox(narrow, good);
      await Promise.all([bad, good].map(isHeld));
      await send('/d', 1);
      await send('/d', 2);
      // With a window of one, the second shows that the delivery of the first was confirmed for the whole link.
      await untilEqual(() => fine.values, [1, 2]);
      await untilEqual(() => failing.reasons, ['refused']);
      assert.equal(failing.ends[0]?.error, failure);
      const next = new Inbox(frontEnd, bad);
      await untilEqual(() => next.values, [1, 2]);
    });

    it('leaves confirming to a client that does it itself', async () => {
      const clientId = await subscribed('/e');
      const inbox = new Inbox(frontEnd, clientId, { ackMode: 'explicit' });
      await isHeld(clientId);
      await send('/e', 1);
      await send('/e', 2);
      await untilEqual(() => inbox.values, [1, 2]);
      inbox.attachment.confirm(inbox.deliveries[0]!);
      inbox.attachment.detach();
      const next = new Inbox(frontEnd, clientId);
      await untilEqual(() => next.values, [2]);
    });

    it('confirms what a client got elsewhere, by its cursor', async () => {
      const clientId = await subscribed('/e2');
      const elsewhere = begin({ address: pixied.address });
      const first = new Inbox(elsewhere, clientId, { ackMode: 'explicit' });
      await isHeld(clientId);
      for (const number of [1, 2, 3]) await send('/e2', number);
      await untilEqual(() => first.values, [1, 2, 3]);
      const next = new Inbox(frontEnd, clientId, { ackCursor: first.deliveries[1]!.cursor });
      await untilEqual(() => next.values, [3]);
    });

    it('takes no more than its window, and the rest when it has handled that', async () => {
      const narrow = begin({ address: pixied.address, window: 2 });
      const clientId = await subscribed('/f');
      const handled: (() => void)[] = [];
      const inbox = new Inbox(narrow, clientId, {}, () => new Promise((resolve) => handled.push(resolve)));
      await isHeld(clientId);
      for (let i = 0; i < 10; i += 1) await send('/f', i);
      await until('the window is full', () => inbox.deliveries.length === 2);
      assert.equal((await backend.getClient(clientId)).pending, 10);
      await until('all has come', () => {
        for (const done of handled.splice(0)) done();
        return inbox.values.length === 10;
      });
      assert.deepEqual(inbox.values, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    });

    it('notifies a client that it was taken over, destroyed, expired, or never there', async () => {
      const clientId = await subscribed('/g');
      const first = new Inbox(frontEnd, clientId);
      await isHeld(clientId);
      const second = new Inbox(frontEnd, clientId);
      await untilEqual(() => first.reasons, ['taken_over']);
      await backend.destroyClient(clientId, 'no more');
      await untilEqual(() => second.ends, [{ reason: 'destroyed', detail: 'no more' }]);
      const expiring = new Inbox(frontEnd, await subscribed('/g', 1_000), { expires: true });
      await untilEqual(() => expiring.reasons, ['expired']);
      const stranger = new Inbox(frontEnd, clientId);
      await untilEqual(() => stranger.reasons, ['failed']);
      assert(stranger.ends[0]?.error instanceof ClientUnknown);
    });

    it('keeps an attached client alive unless told that it expires', async () => {
      const clientId = await subscribed('/h', 1_000);
      const inbox = new Inbox(frontEnd, clientId);
      const expiring = new Inbox(frontEnd, await subscribed('/h', 1_200), { expires: true });
      await untilEqual(() => expiring.reasons, ['expired']);
      assert.deepEqual(inbox.reasons, []);
      await send('/h', 'still here');
      await untilEqual(() => inbox.values, ['still here']);
    });

    it('announces what a client has lost', async () => {
      const clientId = await subscribed('/i');
      const gaps: number[] = [];
      frontEnd.on('gap', (_, { lost }) => void gaps.push(lost));
      const values = Array.from({ length: 1500 }, (_, i) => i);
      await send('/i', ...values.slice(0, 800));
      await send('/i', ...values.slice(800));
      const inbox = new Inbox(frontEnd, clientId);
      await untilEqual(() => inbox.values, values.slice(500));
      await untilEqual(() => [inbox.lost, gaps], [[500], [500]]);
    });

    it('uses handles again only when they are free', async () => {
      const clientIds = await Promise.all(Array.from({ length: 20 }, () => subscribed('/j')));
      for (let round = 0; round < 20; round += 1) {
        const inboxes = clientIds.map((clientId) => new Inbox(frontEnd, clientId));
        if (round % 2 === 0) await Promise.all(clientIds.map(isHeld));
        for (const { attachment } of inboxes) attachment.detach();
      }
      const last = clientIds.map((clientId) => new Inbox(frontEnd, clientId));
      await Promise.all(clientIds.map(isHeld));
      await send('/j', 'all of you');
      for (const inbox of last) await untilEqual(() => inbox.values, ['all of you']);
      assert.deepEqual(events, ['up']);
    });
  });

  describe('when the connection breaks', () => {
    it('comes back, attaches its clients again, and loses nothing', async () => {
      const clientIds = await Promise.all(Array.from({ length: 50 }, () => subscribed('/k')));
      const inboxes = clientIds.map((clientId) => new Inbox(frontEnd, clientId));
      await Promise.all(clientIds.map(isHeld));
      const sent = [];
      for (let round = 0; round < 5; round += 1) {
        await send('/k', round);
        sent.push(round);
        cable.cut();
        await until('it is back', () => events.length === 1 + 2 * (round + 1));
      }
      for (const inbox of inboxes) {
        await until('all is there', () => new Set(inbox.values).size === sent.length);
        const fresh = inbox.values.filter((value, i) => inbox.values.indexOf(value) === i);
        assert.deepEqual(fresh, sent);
        assert.deepEqual(inbox.reasons, []);
      }
      assert.deepEqual(events, ['up', ...Array(5).fill(['down', 'up']).flat()]);
    });

    it('says again what a client confirmed while the link was broken', async () => {
      const clientId = await subscribed('/k2');
      const inbox = new Inbox(frontEnd, clientId, { ackMode: 'explicit' });
      // One at a time: two that arrive as one batch are confirmed as one.
      await send('/k2', 1);
      await untilEqual(() => inbox.values, [1]);
      await send('/k2', 2);
      await untilEqual(() => inbox.values, [1, 2]);
      cable.cut();
      inbox.attachment.confirm(inbox.deliveries[0]!);
      await untilEqual(() => inbox.values, [1, 2, 2]);
    });

    it('marks what comes again, and ignores confirmations from before', async () => {
      const clientId = await subscribed('/l');
      const inbox = new Inbox(frontEnd, clientId, { ackMode: 'explicit' });
      await send('/l', 1);
      await untilEqual(() => inbox.values, [1]);
      cable.cut();
      await untilEqual(() => inbox.values, [1, 1]);
      assert.deepEqual(
        inbox.deliveries.map(({ redelivered }) => redelivered),
        [false, true],
      );
      inbox.attachment.confirm(inbox.deliveries[0]!);
      assert.equal((await frontEnd.getClient(clientId)).pending, 1);
      inbox.attachment.confirm(inbox.deliveries[1]!);
      await until('it is confirmed', async () => (await backend.getClient(clientId)).pending === 0);
    });

    it('goes to the next of several addresses, and loses nothing', async () => {
      const ways = [await Cable.to(pixied.address), await Cable.to(pixied.address)] as const;
      const address = ways.map((way) => way.address).join(',');
      const several = begin({ address, name: 'of several' });
      const clientId = await subscribed('/q');
      const inbox = new Inbox(several, clientId);
      await isHeld(clientId);
      assert.deepEqual([ways[0].isInUse, ways[1].isInUse], [true, false]);
      await ways[0].dispose();
      await several.publish([jsonMessage('/q', 'after')]);
      await untilEqual(() => inbox.values, ['after']);
      assert.equal(ways[1].isInUse, true);
      await several.close();
      await ways[1].dispose();
    });

    it('takes several addresses only as IP addresses', () => {
      for (const address of ['localhost:1,localhost:2', '10.0.0.1,10.0.0.2', '10.0.0.1:1,[::1]:1', '10.0.0.1:1,']) {
        assert.throws(() => new FrontEnd({ address }), /several addresses are IP addresses .* not/);
      }
      for (const address of ['10.0.0.1:1, 10.0.0.2:1', '[::1]:1,[::2]:1', 'ipv4:10.0.0.1:1,10.0.0.2:1']) {
        new Backend(address).close();
      }
    });

    it('notices a link that is silent', async () => {
      const clientId = await subscribed('/m');
      const inbox = new Inbox(frontEnd, clientId);
      await isHeld(clientId);
      cable.hold();
      await until('it has noticed', () => events.includes('down'));
      cable.cut();
      await until('it is back', () => events.at(-1) === 'up');
      await send('/m', 'again');
      await untilEqual(() => inbox.values, ['again']);
    });
  });

  it('answers heartbeats, so that its link outlives the silence limit', async () => {
    const clientId = await subscribed('/n');
    const inbox = new Inbox(frontEnd, clientId);
    const clock = new Inbox(frontEnd, await subscribed('/n', 2500), { expires: true });
    await untilEqual(() => clock.reasons, ['expired']);
    assert.deepEqual([events, inbox.reasons], [['up'], []]);
  });

  it('says once that pixied is away, however often it has tried', async ({ mock }) => {
    mock.method(Math, 'random', () => 0);
    await untilEqual(() => events, ['up']);
    await cable.unplug();
    const whatIsWrong = (): Promise<string> =>
      frontEnd.subscribedTo('anyone', { timeoutMs: 20 }).then(String, (error: Error) => error.message);
    await until('it has tried in vain', async () => (await whatIsWrong()).includes('nothing answers there'));
    await cable.plugIn();
    await until('it is back', () => frontEnd.isUp);
    assert.deepEqual(events, ['up', 'down', 'up']);
  });

  it('notifies its listener of nothing any more when it is closed', async () => {
    const seen: Record<string, string[]> = { closed: [], open: [] };
    for (const name of ['closed', 'open']) {
      const watching = begin({ address: pixied.address });
      const happened = ({ channel }: Event): void => void seen[name]!.push(channel);
      await watching.watch([EventKind.PUBLISHED], { happened, uncertain: () => undefined });
      if (name === 'closed') await watching.close();
    }
    await send('/watched', 1);
    await untilEqual(() => seen['open'], ['/watched']);
    await backend.subscribedTo(await subscribed('/w'));
    assert.deepEqual(seen['closed'], []);
  });

  it('hands its confirmations over when it closes', async () => {
    const clientId = await subscribed('/o');
    const inbox = new Inbox(frontEnd, clientId);
    await isHeld(clientId);
    await send('/o', 1);
    await untilEqual(() => inbox.values, [1]);
    await frontEnd.close();
    assert.deepEqual(inbox.reasons, ['closed']);
    const { pending } = await backend.getClient(clientId);
    assert.equal(pending, 0);
    await assert.rejects(frontEnd.generateNamespace(), Unavailable);
  });
});

describe('a front-end whose pixied is stopped', () => {
  it('is notified, and serves again when pixied does', async () => {
    const pixied = await Pixied.start();
    const frontEnd = new FrontEnd({ address: pixied.address });
    let ups = 0;
    frontEnd.on('up', () => void (ups += 1));
    const { clientId } = await frontEnd.createClient();
    const inbox = new Inbox(frontEnd, clientId);
    await pixied.terminate();
    await pixied.run();
    await until('it is back', () => ups === 2);
    // The memory engine forgets its clients.
    await untilEqual(() => inbox.reasons, ['failed']);
    assert.match((await frontEnd.createClient()).clientId, /^[a-z0-9]{32}$/);
    await frontEnd.close();
    await pixied.dispose();
  });
});

describe('a front-end whose pixied takes small frames', () => {
  const frontEnds: FrontEnd[] = [];
  const pixieds: Pixied[] = [];
  const cables: Cable[] = [];
  afterEach(async () => {
    for (const frontEnd of frontEnds.splice(0)) await frontEnd.close();
    for (const cable of cables.splice(0)) await cable.dispose();
    for (const pixied of pixieds.splice(0)) await pixied.dispose();
  });

  async function wayTo(...flags: string[]): Promise<Cable> {
    const pixied = await Pixied.start(...flags);
    pixieds.push(pixied);
    const cable = await Cable.to(pixied.address);
    cables.push(cable);
    return cable;
  }

  function begin(...ways: Cable[]): FrontEnd {
    const frontEnd = new FrontEnd({ address: ways.map(({ address }) => address).join(',') });
    frontEnds.push(frontEnd);
    return frontEnd;
  }

  async function createSome(frontEnd: FrontEnd): Promise<void> {
    const clients = await Promise.all(Array.from({ length: 20 }, () => frontEnd.createClient()));
    assert.equal(new Set(clients.map(({ clientId }) => clientId)).size, 20);
  }

  it('has its first operations done, which go before it knows the limit', async () => {
    await createSome(begin(await wayTo('--max-batch-items', '2')));
  });

  it('does not take the limit of one server for that of the next', async () => {
    const first = await wayTo();
    const frontEnd = begin(first, await wayTo('--max-batch-items', '2'));
    await until('it is up', () => frontEnd.isUp);
    await first.unplug();
    await until('it is down', () => frontEnd.isDown);
    await createSome(frontEnd);
  });
});
