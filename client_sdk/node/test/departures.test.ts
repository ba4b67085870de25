// What pixied's events say about sessions that end.
import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'node:test';

import { EventKind, type Event } from '../src';
import { Departures, type Departure } from '../src/faye/departures';

const SECOND = 1000;

function event(kind: EventKind, clientId: string, atMs: number, more: Partial<Event> = {}): Event {
  const at = { seconds: Math.floor(atMs / SECOND), nanos: (atMs % SECOND) * 1e6 };
  return { at, kind, clientId, channel: '', reason: '', messageId: '', recipients: 0, frontEnd: '', ...more };
}

const unsubscribed = (clientId: string, channel: string, atMs: number) =>
  event(EventKind.UNSUBSCRIBED, clientId, atMs, { channel });
const destroyed = (clientId: string, reason: string, atMs: number) =>
  event(EventKind.CLIENT_DESTROYED, clientId, atMs, { reason });

describe('departures', () => {
  let announced: Departure[];
  let departures: Departures;
  let later: (() => void)[];

  beforeEach(() => {
    announced = [];
    later = [];
    departures = new Departures(
      (departure) => void announced.push(departure),
      () => undefined,
      (call) => void later.push(call),
    );
  });

  it('that turn out wait for their events, which say why, and are announced without them if none comes', () => {
    departures.missed('alice');
    departures.missed('bob');
    departures.missed('bob');
    departures.happened(destroyed('alice', 'timed out', SECOND));
    for (const call of later) call();
    assert.deepEqual(announced, [
      { clientId: 'alice', reason: 'timed out', channels: [] },
      { clientId: 'bob', reason: 'gone', channels: [] },
    ]);
    departures.missed('alice');
    assert.equal(later.length, 3);
  });

  it('carry the subscriptions that ended with the session, and no others', () => {
    departures.happened(unsubscribed('alice', '/by/request', 1 * SECOND));
    departures.happened(unsubscribed('alice', '/a', 3 * SECOND));
    departures.happened(unsubscribed('alice', '/b', 3 * SECOND + 1));
    departures.happened(destroyed('alice', 'timed out', 3 * SECOND + 2));
    departures.happened(unsubscribed('bob', '/c', 4 * SECOND));
    departures.happened(destroyed('carol', 'by hand', 4 * SECOND));
    assert.deepEqual(announced, [
      { clientId: 'alice', reason: 'timed out', channels: ['/a', '/b'] },
      { clientId: 'carol', reason: 'by hand', channels: [] },
    ]);
  });

  it('are announced once, by whoever comes first', () => {
    assert.equal(departures.claim('alice'), true);
    assert.equal(departures.claim('alice'), false);
    departures.happened(destroyed('alice', 'x', SECOND));
    departures.found({ clientId: 'bob', reason: 'gone', channels: [] });
    departures.happened(destroyed('bob', 'x', SECOND));
    departures.settle({ clientId: 'alice', reason: 'here', channels: [] });
    departures.happened(destroyed('alice', 'y', 2 * SECOND));
    assert.deepEqual(
      announced.map(({ clientId, reason }) => [clientId, reason]),
      [
        ['bob', 'gone'],
        ['alice', 'here'],
      ],
    );
  });

  it('are not lost when this side tries to end a session that ends by itself', () => {
    departures.claim('alice');
    departures.happened(unsubscribed('alice', '/a', SECOND));
    departures.happened(destroyed('alice', 'timed out', SECOND));
    assert.deepEqual(announced, []);
    departures.disclaim('alice');
    departures.claim('bob');
    departures.disclaim('bob');
    departures.happened(destroyed('bob', 'timed out', SECOND));
    assert.deepEqual(announced, [
      { clientId: 'alice', reason: 'timed out', channels: ['/a'] },
      { clientId: 'bob', reason: 'timed out', channels: [] },
    ]);
  });

  it('are remembered in bounded memory', () => {
    const end = (i: number): void => departures.found({ clientId: `client${i}`, reason: 'gone', channels: [] });
    for (let i = 0; i < 20_000; i += 1) end(i);
    end(19_999);
    assert.equal(announced.length, 20_000);
    end(0);
    assert.equal(announced.length, 20_001);
  });

  it('that are known are claimed by nobody, and those that were ended here are announced once', () => {
    departures.found({ clientId: 'alice', reason: 'gone', channels: [] });
    assert.equal(departures.claim('alice'), false);
    assert.equal(departures.claim('bob'), true);
    departures.settle({ clientId: 'bob', reason: '', channels: ['/a'] });
    assert.equal(departures.claim('bob'), false);
    departures.found({ clientId: 'bob', reason: 'gone', channels: [] });
    departures.disclaim('bob');
    assert.deepEqual(announced.slice(1), [{ clientId: 'bob', reason: '', channels: ['/a'] }]);
  });

  it('are announced by no other events', () => {
    for (const kind of [EventKind.CLIENT_CREATED, EventKind.SUBSCRIBED, EventKind.PUBLISHED]) {
      departures.happened(event(kind, 'alice', SECOND, { channel: '/a' }));
    }
    departures.happened(destroyed('bob', 'x', SECOND));
    assert.deepEqual(announced, [{ clientId: 'bob', reason: 'x', channels: [] }]);
  });

  it('carry subscriptions that ended less than 100 ms before', () => {
    for (const [clientId, earlier, later, channels] of [
      ['alice', 950, 1_049, ['/a']],
      ['bob', 950, 1_050, []],
    ] as const) {
      departures.happened(unsubscribed(clientId, '/a', earlier));
      departures.happened(destroyed(clientId, 'x', later));
      assert.deepEqual(announced.pop()?.channels, channels);
    }
    departures.happened(unsubscribed('carol', '/a', SECOND));
    departures.happened(destroyed('dave', 'x', SECOND));
    departures.happened(destroyed('carol', 'x', SECOND));
    assert.deepEqual(announced.map(({ channels }) => channels), [[], []]);
  });

  it('are remembered ten thousand at a time', () => {
    const end = (i: number): void => departures.found({ clientId: `client${i}`, reason: 'gone', channels: [] });
    for (let i = 0; i < 10_000; i += 1) end(i);
    end(0);
    assert.equal(announced.length, 10_000);
    end(10_000);
    end(0);
    assert.equal(announced.length, 10_002);
  });

  it('that turn out are announced after a second where no event comes', ({ mock }) => {
    mock.timers.enable({ apis: ['setTimeout'] });
    departures = new Departures(
      (departure) => void announced.push(departure),
      () => undefined,
    );
    departures.missed('alice');
    mock.timers.tick(999);
    assert.deepEqual(announced, []);
    mock.timers.tick(1);
    assert.deepEqual(announced, [{ clientId: 'alice', reason: 'gone', channels: [] }]);
  });
});
