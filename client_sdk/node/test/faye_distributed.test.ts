// Two Faye servers on one pixied behave as one.
import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';

import Proxy from 'faye/src/engines/proxy';

import { Backend, jsonMessage } from '../src';
import * as pixiedEngine from '../src/faye';
import { Steps } from './faye_steps';
import { until } from './until';
import { Pixied } from './pixied';

describe('two Faye servers on one pixied', () => {
  let pixied: Pixied;
  let backend: Backend;
  let left: Steps;
  let right: Steps;

  before(async () => {
    pixied = await Pixied.start();
    backend = new Backend(pixied.address);
  });
  after(() => {
    backend.close();
    return pixied.dispose();
  });

  const begin = (timeout: number, other?: Steps): Steps =>
    new Steps(new Proxy({ timeout, type: pixiedEngine, address: pixied.address }), other);

  beforeEach(async () => {
    left = begin(20);
    right = begin(20, left);
    await left.createClient('alice', 'bob');
  });
  afterEach(() => Promise.all([left.stop(), right.stop()]));

  it('know the same clients, and raise an event only where it was caused', async () => {
    assert.equal(await right.clientExists('alice'), true);
    await right.subscribe('alice', '/a');
    await left.subscribe('alice', '/a');
    await left.unsubscribe('alice', '/a');
    const id = left.id('alice');
    assert.deepEqual(left.eventsOf('alice'), [
      ['handshake', id],
      ['unsubscribe', id, '/a'],
    ]);
    assert.deepEqual(right.eventsOf('alice'), [['subscribe', id, '/a']]);
  });

  it('deliver to a client wherever it polls, whoever publishes', async () => {
    await right.subscribe('alice', '/a');
    left.listen('alice');
    right.publish({ channel: '/a', data: 1 });
    await until('it has arrived', () => left.inbox('alice').length === 1);
    assert.deepEqual(left.inbox('alice'), [{ channel: '/a', data: 1 }]);
  });

  it('deliver each message once to a client that polls one and then the other', async () => {
    await left.subscribe('alice', '/a');
    left.publish({ channel: '/a', data: 0 });
    for (let round = 0; round < 50; round += 1) {
      const [here, there] = round % 2 === 0 ? [left, right] : [right, left];
      await here.poll('alice');
      // What a browser's next request does by its way alone: it comes after the confirmation of the last one.
      await until('it is confirmed', async () => (await backend.getClient(left.id('alice'))).frontEnd === '');
      there.publish({ channel: '/a', data: round + 1 });
    }
    const received = [...left.inbox('alice'), ...right.inbox('alice')].map(({ data }) => Number(data));
    assert.deepEqual(
      received.sort((a, b) => a - b),
      Array.from({ length: 50 }, (_, i) => i),
    );
  });

  it('give a client to the one that it polls last, and end its poll at the other', async () => {
    await left.subscribe('alice', '/a');
    const first = left.poll('alice');
    await until('left holds it', async () => (await backend.getClient(left.id('alice'))).frontEnd !== '');
    const second = right.poll('alice');
    await first;
    right.publish({ channel: '/a', data: 1 });
    await second;
    assert.deepEqual(left.inbox('alice'), []);
    assert.deepEqual(right.inbox('alice'), [{ channel: '/a', data: 1 }]);
  });

  it('end a poll at one when the client disconnects at the other', async () => {
    await left.subscribe('alice', '/a');
    const poll = left.poll('alice');
    await right.destroyClient('alice');
    await poll;
    const id = left.id('alice');
    assert.deepEqual(right.eventsOf('alice'), [
      ['unsubscribe', id, '/a'],
      ['disconnect', id],
      ['close', id],
    ]);
    assert.deepEqual(left.eventsOf('alice', 'unsubscribe', 'disconnect', 'close'), [['close', id]]);
  });

  it('raise close in both, and the rest where it was created, when a client is silent too long', async () => {
    const brief = [begin(0.3)];
    brief.push(begin(0.3, brief[0]));
    const [here, there] = brief as [Steps, Steps];
    await here.createClient('dave');
    await there.subscribe('dave', '/a');
    const id = here.id('dave');
    await here.untilRaised('dave', ['unsubscribe', id, '/a'], ['disconnect', id], ['close', id]);
    await there.untilRaised('dave', ['close', id]);
    assert.deepEqual(there.eventsOf('dave', 'unsubscribe', 'disconnect'), []);
    await Promise.all(brief.map((steps) => steps.stop()));
  });

  it('leave those alone that never had to do with a client, however its session ends', async () => {
    const [brief, stranger] = [begin(0.3, left), begin(20, left)];
    await brief.createClient('dave');
    await stranger.createClient('erin');
    await brief.untilRaised('dave', ['disconnect', left.id('dave')], ['close', left.id('dave')]);
    await left.destroyClient('alice');
    await backend.destroyClient(left.id('bob'), 'by hand');
    // Events come in order: those of the others would have come before this one.
    await backend.destroyClient(left.id('erin'), 'by hand');
    await stranger.untilRaised('erin', ['disconnect', left.id('erin')], ['close', left.id('erin')]);
    assert.deepEqual(new Set(stranger.events.map(([, clientId]) => clientId)), new Set([left.id('erin')]));
    await Promise.all([brief.stop(), stranger.stop()]);
  });

  it('raise close where a client only asked or polled, too', async () => {
    const stranger = begin(20, left);
    assert.equal(await right.clientExists('alice'), true);
    const poll = stranger.poll('alice');
    await until('it is held', async () => (await backend.getClient(left.id('alice'))).frontEnd !== '');
    await backend.destroyClient(left.id('alice'), 'by hand');
    await Promise.all([right, stranger].map((steps) => steps.untilRaised('alice', ['close', left.id('alice')])));
    await poll;
    await stranger.stop();
  });

  it('raise disconnect where the client was created when an operator ends its session', async () => {
    await right.subscribe('alice', '/a');
    await backend.destroyClient(left.id('alice'), 'by hand');
    const id = left.id('alice');
    await left.untilRaised('alice', ['unsubscribe', id, '/a'], ['disconnect', id], ['close', id]);
    await right.untilRaised('alice', ['close', id]);
    assert.deepEqual(right.eventsOf('alice', 'disconnect'), []);
  });

  it('take a message that a client sends again to the other as the same message', async () => {
    await left.subscribe('alice', '/a');
    const message = { channel: '/a', data: 'once', id: '7' };
    left.publishBy('bob', message);
    right.publishBy('bob', message);
    right.publishBy('bob', { ...message, data: 'another' });
    right.listen('alice');
    await until('both have arrived', () => right.inbox('alice').length >= 2);
    await right.expectMessages('alice', message, { ...message, data: 'another' });
  });

  it('deliver what other programs publish', async () => {
    await left.subscribe('alice', '/a');
    right.listen('alice');
    await backend.publish([jsonMessage('/a', { from: 'elsewhere' }, { id: 'x', extra: '{"blank":null}' })]);
    await right.expectMessages('alice', { channel: '/a', data: { from: 'elsewhere' }, id: 'x', blank: null });
  });
});
