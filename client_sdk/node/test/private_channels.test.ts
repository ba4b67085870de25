// Channels that stay within one process, and what Faye's clients may be called.
import assert from 'node:assert/strict';
import { beforeEach, describe, it, test } from 'node:test';

import { isPrivate, PrivateChannels } from '../src/faye/private_channels';
import { isClientId, isExtensible, isOpen, shortened } from '../src/faye/server';
import { heldBytes } from './memory';

describe('private channels', () => {
  let channels: PrivateChannels;
  beforeEach(() => void (channels = new PrivateChannels()));

  const audience = (channel: string): string[] => [...channels.audienceOf(channel)].sort();

  it('are those of services and of Bayeux itself', () => {
    for (const channel of ['/service', '/service/a', '/service/**', '/meta/connect', '/meta']) {
      assert.equal(isPrivate(channel), true);
    }
    for (const channel of ['/services', '/a/service/b', '/metal', '/**', '/*', '/']) assert.equal(isPrivate(channel), false);
  });

  it('reach whoever subscribes to what matches them, each once', () => {
    for (const [clientId, ...patterns] of [
      ['exact', '/service/a/b'],
      ['one', '/service/a/*'],
      ['deep', '/service/**', '/service/a/**', '/**'],
      ['other', '/service/b/**', '/service/*', '/service/a/b/*', '/service/a/b/**', '/*'],
    ]) {
      for (const pattern of patterns) assert.equal(channels.subscribe(clientId!, pattern), true);
    }
    assert.deepEqual(audience('/service/a/b'), ['deep', 'exact', 'one']);
    assert.deepEqual(audience('/service/a'), ['deep', 'other']);
    assert.deepEqual(audience('/service'), ['deep', 'other']);
  });

  it('leave all other channels to pixied', () => {
    assert.equal(channels.subscribe('ann', '/a'), false);
    assert.equal(channels.subscribe('ann', '/a/**'), false);
    assert.deepEqual([[...channels.clientIds], audience('/a')], [[], []]);
  });

  it('know which subscriptions are new, and which there were', () => {
    assert.equal(channels.subscribe('ann', '/service/a'), true);
    assert.equal(channels.subscribe('ann', '/service/a'), false);
    assert.equal(channels.subscribe('ann', '/service/b'), true);
    assert.equal(channels.unsubscribe('ann', '/service/a'), true);
    assert.equal(channels.unsubscribe('ann', '/service/a'), false);
    assert.equal(channels.unsubscribe('bob', '/service/b'), false);
    assert.deepEqual([[...channels.clientIds], audience('/service/a'), audience('/service/b')], [['ann'], [], ['ann']]);
    channels.unsubscribe('ann', '/service/b');
    assert.deepEqual([...channels.clientIds], []);
  });

  it('forget a client, and say which private ones it was subscribed to', () => {
    for (const channel of ['/service/a', '/**', '/service/b']) channels.subscribe('ann', channel);
    channels.subscribe('bob', '/service/a');
    assert.deepEqual(channels.forget('ann'), ['/service/a', '/service/b']);
    assert.deepEqual(channels.forget('ann'), []);
    assert.deepEqual([[...channels.clientIds], audience('/service/a'), audience('/service/b')], [['bob'], ['bob'], []]);
  });

  it('that nobody subscribes to any more take no memory', async () => {
    const before = await heldBytes();
    for (let i = 0; i < 5_000; i += 1) channels.subscribe('ann', `/service/${'x'.repeat(1_000)}${i}`);
    channels.forget('ann');
    assert((await heldBytes()) - before < 1_000_000);
  });
});

test('what a browser calls itself is a client id if pixied could have given it', () => {
  for (const id of ['a', '0', 'a0'.repeat(100), 'x'.repeat(255)]) assert.equal(isClientId(id), true);
  for (const id of ['', 'A', 'a b', ' a', 'a\n', '-a', 'a-', 'x'.repeat(256), 7, null, undefined, ['a'], {}]) {
    assert.equal(isClientId(id), false);
  }
});

test('a client id is shortened to four letters in a log', () => {
  assert.equal(shortened('abcdefgh'), 'abcd…');
});

test("Faye's protocol server is recognised by what it does", () => {
  assert.equal(isExtensible({ addExtension: () => undefined }), true);
  for (const other of [undefined, null, 7, {}, { addExtension: true }]) assert.equal(isExtensible(other), false);
});

test('a connection is open if it is there, and its WebSocket is open if it has one', () => {
  const socket = (readyState?: number) => ({ socket: { _socket: { readyState } as { readyState?: number } } });
  for (const connection of [{}, { socket: null }, { socket: {} }, { socket: { _socket: {} } }, socket(1)]) {
    assert.equal(isOpen(connection), true);
  }
  for (const connection of [undefined, socket(0), socket(2), socket(3)]) assert.equal(isOpen(connection), false);
});
