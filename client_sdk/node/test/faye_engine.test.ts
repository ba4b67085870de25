// Faye's engine contract: the same scenarios on Faye's memory engine and on pixied.
import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';

import Proxy from 'faye/src/engines/proxy';

import * as pixiedEngine from '../src/faye';
import { Steps } from './faye_steps';
import { until } from './until';
import { Pixied } from './pixied';

interface Subject {
  readonly name: string;
  start(): Promise<void>;
  stop(): Promise<void>;
  options(): object;
}

function onPixied(): Subject {
  let pixied: Pixied;
  return {
    name: 'pixied',
    start: async () => void (pixied = await Pixied.start()),
    stop: () => pixied.dispose(),
    options: () => ({ type: pixiedEngine, address: pixied.address }),
  };
}

const inMemory: Subject = {
  name: "Faye's memory engine",
  start: () => Promise.resolve(),
  stop: () => Promise.resolve(),
  options: () => ({}),
};

const MESSAGE = { channel: '/messages/foo', data: 'ok', blank: null };
const TIMING_ATTEMPTS = 5;

for (const subject of [inMemory, onPixied()]) {
  describe(`Faye's engine contract on ${subject.name}`, { concurrency: false }, () => {
    let faye: Steps;

    before(() => subject.start());
    after(() => subject.stop());

    const begin = (timeout: number): Steps => new Steps(new Proxy({ timeout, ...subject.options() }));

    beforeEach(async () => {
      faye = begin(20);
      await faye.createClient('alice', 'bob', 'carol');
    });
    afterEach(() => faye.stop());

    describe('createClient', () => {
      it('gives an id of small letters and digits', () => {
        assert.match(faye.id('alice'), /^[a-z0-9]{20,}$/);
      });

      it('gives a different id every time', async () => {
        const names = ['dave', 'erin', 'frank', 'grace', 'heidi'];
        await faye.createClient(...names);
        assert.equal(new Set(['alice', 'bob', 'carol', ...names].map((name) => faye.id(name))).size, 8);
      });

      it('raises handshake once', () => {
        assert.deepEqual(faye.eventsOf('alice'), [['handshake', faye.id('alice')]]);
      });
    });

    describe('clientExists', () => {
      it('tells live clients from ids that are not', async () => {
        assert.equal(await faye.clientExists('alice'), true);
        for (const stranger of ['anything', '', 'Not an id', undefined, null, 7, {}, ['x']]) {
          assert.equal(await faye.exists(stranger as string), false);
        }
      });
    });

    describe('ping', () => {
      it('lets a silent client go between 2 and 2.33 timeouts after it came', async () => {
        const lives: number[] = [];
        const inTime = (): boolean => lives.some((life) => life <= 700);
        for (let attempt = 0; attempt < TIMING_ATTEMPTS && !inTime(); attempt += 1) {
          lives.push(await lifeOf(begin(0.3)));
        }
        assert(
          lives.every((life) => life >= 600),
          `never before its time: ${lives.join(', ')} ms`,
        );
        assert(inTime(), `soon after its time: ${lives.join(', ')} ms`);
      });

      it('prolongs the life of a client', async () => {
        const brief = begin(0.3);
        await brief.createClient('dave');
        const born = Date.now();
        while (Date.now() - born < 900) {
          brief.ping('dave');
          assert.equal(await brief.clientExists('dave'), true);
          await delay(20); // its life has to pass in real time
        }
        const pinged = Date.now();
        brief.ping('dave');
        await until('the client is gone', async () => !(await brief.clientExists('dave')));
        assert(Date.now() - pinged >= 590);
        await brief.stop();
      });

      it('raises unsubscribe, disconnect and close when the time is up', async () => {
        const brief = begin(0.3);
        await brief.createClient('dave');
        await brief.subscribe('dave', '/a', '/b/*');
        const id = brief.id('dave');
        await brief.untilRaised(
          'dave',
          ['unsubscribe', id, '/a'],
          ['unsubscribe', id, '/b/*'],
          ['disconnect', id],
          ['close', id],
        );
        await brief.stop();
      });
    });

    describe('destroyClient', () => {
      it('removes the client', async () => {
        await faye.destroyClient('alice');
        assert.equal(await faye.clientExists('alice'), false);
        assert.equal(await faye.clientExists('bob'), true);
      });

      it('raises unsubscribe for each subscription, then disconnect, then close', async () => {
        await faye.subscribe('alice', '/a', '/b');
        const id = faye.id('alice');
        await faye.destroyClient('alice');
        assert.deepEqual(faye.eventsOf('alice', 'unsubscribe', 'disconnect', 'close'), [
          ['unsubscribe', id, '/a'],
          ['unsubscribe', id, '/b'],
          ['disconnect', id],
          ['close', id],
        ]);
      });

      it('raises nothing for a client that is gone', async () => {
        await faye.destroyClient('alice');
        faye.engine.destroyClient(faye.id('alice'));
        await faye.settle('bob');
        assert.equal(faye.eventsOf('alice', 'disconnect').length, 1);
        assert.equal(faye.eventsOf('alice', 'close').length, 1);
      });

      it('stops its messages and ends its connection', async () => {
        await faye.subscribe('alice', '/messages/foo');
        const poll = faye.poll('alice');
        await faye.destroyClient('alice');
        await poll;
        faye.publish(MESSAGE);
        await faye.settle('bob');
        assert.deepEqual(faye.inbox('alice'), []);
        assert.equal(faye.engine.hasConnection(faye.id('alice')), false);
      });
    });

    describe('subscribe', () => {
      it('raises subscribe for a new subscription alone', async () => {
        await faye.subscribe('alice', '/messages/foo', '/messages/foo', '/messages/*');
        assert.deepEqual(faye.eventsOf('alice', 'subscribe'), [
          ['subscribe', faye.id('alice'), '/messages/foo'],
          ['subscribe', faye.id('alice'), '/messages/*'],
        ]);
      });
    });

    describe('unsubscribe', () => {
      it('raises unsubscribe for a subscription that there was alone', async () => {
        await faye.subscribe('alice', '/messages/bar', '/messages/foo');
        await faye.unsubscribe('alice', '/messages/foo');
        await faye.unsubscribe('alice', '/messages/foo');
        await faye.unsubscribe('bob', '/messages/bar');
        assert.deepEqual(faye.eventsOf('alice', 'unsubscribe'), [['unsubscribe', faye.id('alice'), '/messages/foo']]);
        assert.deepEqual(faye.eventsOf('bob', 'unsubscribe'), []);
      });
    });

    describe('publish', () => {
      beforeEach(() => faye.listen('alice', 'bob', 'carol'));

      it('raises publish with the publisher, or with none', () => {
        faye.publishBy('bob', MESSAGE);
        faye.publish(MESSAGE);
        assert.deepEqual(faye.eventsOf('bob', 'publish'), [['publish', faye.id('bob'), '/messages/foo', 'ok']]);
        assert.deepEqual(faye.eventsOf(undefined, 'publish'), [['publish', undefined, '/messages/foo', 'ok']]);
      });

      it('reaches nobody without a subscription', async () => {
        faye.publish(MESSAGE);
        await faye.expectMessages('alice');
        await faye.expectMessages('bob');
      });

      it('reaches subscribers and nobody else', async () => {
        await faye.subscribe('alice', '/messages/foo');
        await faye.subscribe('bob', '/messages/bar');
        await faye.subscribe('carol', '/messages/foo');
        faye.publish(MESSAGE);
        await faye.expectMessages('alice', MESSAGE);
        await faye.expectMessages('bob');
        await faye.expectMessages('carol', MESSAGE);
      });

      it('does not reach a client that has unsubscribed', async () => {
        await faye.subscribe('alice', '/messages/foo');
        await faye.unsubscribe('alice', '/messages/foo');
        faye.publish(MESSAGE);
        await faye.expectMessages('alice');
      });

      it('matches one level with *', async () => {
        await faye.subscribe('alice', '/messages/*');
        await faye.subscribe('bob', '/*');
        faye.publish(MESSAGE);
        await faye.expectMessages('alice', MESSAGE);
        await faye.expectMessages('bob');
      });

      it('matches all levels below with **', async () => {
        await faye.subscribe('alice', '/messages/**');
        await faye.subscribe('bob', '/messages/foo/**');
        await faye.subscribe('carol', '/messages/**', '/other/**');
        faye.publish({ channel: '/messages/foo/a/b', data: 1 });
        await faye.expectMessages('alice', { channel: '/messages/foo/a/b', data: 1 });
        await faye.expectMessages('bob', { channel: '/messages/foo/a/b', data: 1 });
        await faye.expectMessages('carol', { channel: '/messages/foo/a/b', data: 1 });
      });

      it('brings one copy to a client with several matching subscriptions', async () => {
        await faye.subscribe('alice', '/messages/*', '/messages/foo', '/messages/**');
        faye.publish(MESSAGE);
        await faye.expectMessages('alice', MESSAGE);
      });

      it('brings a message as often as it is published', async () => {
        await faye.subscribe('alice', '/messages/foo');
        faye.publish(MESSAGE, MESSAGE);
        await faye.expectMessages('alice', MESSAGE, MESSAGE);
      });

      it('gives each client a copy of its own', async () => {
        await faye.subscribe('alice', '/messages/foo');
        await faye.subscribe('bob', '/messages/foo');
        faye.publish({ channel: '/messages/foo', data: { deep: [1] } });
        await until('both have it', () => faye.inbox('alice').length + faye.inbox('bob').length === 2);
        const [ofAlice, ofBob] = [faye.inbox('alice')[0], faye.inbox('bob')[0]];
        assert.deepEqual(ofAlice, ofBob);
        assert.notEqual(ofAlice, ofBob);
        assert.notEqual(ofAlice?.data, ofBob?.data);
      });

      it('keeps the order of what one server publishes', async () => {
        await faye.subscribe('alice', '/count');
        const messages = Array.from({ length: 500 }, (_, data) => ({ channel: '/count', data }));
        faye.publish(...messages);
        await faye.expectMessages('alice', ...messages);
      });

      it('sees a subscription that was asked for just before', async () => {
        faye.engine.subscribe(faye.id('alice'), '/messages/foo');
        faye.publish(MESSAGE);
        await faye.expectMessages('alice', MESSAGE);
      });

      it('carries every member as it was sent, and never the publisher', async () => {
        const message = {
          channel: '/messages/foo',
          data: { Äpfel: ['π', '😀', '\u2028', '"', '\\', '\u0000'], none: null, no: false, zero: 0, empty: '' },
          id: 'x1',
          ext: { token: [1.5, -2e-9], blank: null },
          blank: null,
          später: { a: [] },
          truth: true,
        };
        await faye.subscribe('alice', '/messages/foo');
        faye.publishBy('bob', message);
        await faye.expectMessages('alice', message);
      });

      it('carries ids that are not short texts', async () => {
        await faye.subscribe('alice', '/messages/foo');
        const messages = [17, null, 'é'.repeat(200), '\ud800'].map((id) => ({ ...MESSAGE, id }));
        for (const message of messages) faye.publishBy('bob', message);
        await faye.expectMessages('alice', ...messages);
      });

      it('keeps private channels to who subscribes to them in this server', async () => {
        await faye.subscribe('alice', '/service/echo');
        await faye.subscribe('bob', '/service/**');
        await faye.subscribe('carol', '/**');
        const message = { channel: '/service/echo', data: 1 };
        faye.publish(message);
        for (const name of ['alice', 'bob', 'carol']) {
          await until(`it reaches ${name}`, () => faye.inbox(name).length === 1);
          assert.deepEqual(faye.inbox(name), [message]);
        }
        await faye.unsubscribe('alice', '/service/echo');
        faye.publish(message);
        await faye.expectMessages('alice', message);
      });
    });

    describe('emptyQueue', () => {
      it('brings what was published while the client was away, in order, once', async () => {
        await faye.subscribe('alice', '/messages/**');
        faye.publish({ channel: '/messages/a', data: 1 }, { channel: '/messages/b', data: 2 });
        await faye.subscribe('alice', '/other');
        faye.listen('alice');
        await faye.expectMessages('alice', { channel: '/messages/a', data: 1 }, { channel: '/messages/b', data: 2 });
      });

      it('does nothing without a connection', async () => {
        await faye.subscribe('alice', '/messages/foo');
        faye.publish(MESSAGE);
        faye.engine._engine.emptyQueue(faye.id('alice'));
        faye.listen('alice');
        await faye.expectMessages('alice', MESSAGE);
      });
    });
  });
}

/** How long a silent client lives, in milliseconds. */
async function lifeOf(faye: Steps): Promise<number> {
  const born = performance.now();
  await faye.createClient('dave');
  await until('the client is gone', () => faye.eventsOf('dave', 'close').length > 0);
  const life = performance.now() - born;
  assert.equal(await faye.clientExists('dave'), false);
  await faye.stop();
  return life;
}
