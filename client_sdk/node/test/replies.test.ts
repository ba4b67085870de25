// What Faye's clients are answered, by what pixied answers.
import assert from 'node:assert/strict';
import { beforeEach, describe, it, type TestContext } from 'node:test';

import { status as Code } from '@grpc/grpc-js';

import {
  ChannelInvalid,
  ChannelReserved,
  ClientUnknown,
  DeadlineExceeded,
  FieldInvalid,
  InternalError,
  LimitMemory,
  Unavailable,
} from '../src';
import type { FayeMessage } from '../src/faye';
import { AWAY, publication, Replies } from '../src/faye/replies';
import { heldBytes } from './memory';
import { turn } from './scripted';

const outage = new Unavailable('127.0.0.1:1', 'it broke');
const invalid = new ChannelInvalid('CHANNEL_INVALID', 'no channel', { code: Code.INVALID_ARGUMENT });

/** Work that a test finishes, and that nobody has to wait for. */
function work() {
  let finish = (): void => undefined;
  let fail = (_error: unknown): void => undefined;
  const promise = new Promise<void>((resolve, reject) => {
    finish = resolve;
    fail = reject;
  });
  promise.catch(() => undefined);
  return { promise, finish, fail };
}

describe('replies', () => {
  let isAway: boolean;
  let replies: Replies;
  /** The replies that have gone out. */
  let sent: FayeMessage[];

  beforeEach(() => {
    isAway = false;
    replies = new Replies(() => isAway);
    sent = [];
  });

  const send = (message: FayeMessage): void => replies.outgoing(message, (each) => void sent.push(each));
  const published = (channel: string, id?: string): FayeMessage => ({ channel, id, clientId: 'ann', successful: true });
  const subscribed = (subscription: unknown): FayeMessage => ({
    channel: '/meta/subscribe',
    clientId: 'ann',
    subscription,
    successful: true,
  });

  /** A reply to a publish that pixied refuses. */
  async function refused(error: unknown, members: Partial<FayeMessage> = {}): Promise<FayeMessage> {
    const reply = { ...published('/a'), ...members };
    replies.expect('publish', 'ann', publication(reply), Promise.reject(error as Error));
    send(reply);
    await turn();
    assert.equal(sent.length, 1);
    return sent.pop()!;
  }

  it('go out at once where nothing has to be waited for', () => {
    const replies: FayeMessage[] = [
      published('/a'),
      { channel: '/meta/connect', clientId: 'ann', successful: true },
      { channel: '/a', successful: true },
    ];
    for (const reply of replies) send({ ...reply });
    assert.deepEqual(sent, replies);
  });

  it('wait for their own work, by deed, client and subject', async () => {
    const works = { a: work(), b: work(), other: work() };
    replies.expect('publish', 'ann', publication(published('/a', '1')), works.a.promise);
    replies.expect('publish', 'ann', publication(published('/a', '2')), works.b.promise);
    replies.expect('publish', 'bob', publication(published('/b')), works.other.promise);
    replies.expect('subscribe', 'ann', publication(published('/c')), works.other.promise);
    send(published('/b'));
    send(published('/c'));
    send(published('/a', '1'));
    send(published('/a', '2'));
    await turn();
    assert.deepEqual(sent.map(({ channel }) => channel), ['/b', '/c']);
    works.b.finish();
    await turn();
    assert.deepEqual(sent.slice(2), [published('/a', '2')]);
    works.a.finish();
    await turn();
    assert.deepEqual(sent.slice(3), [published('/a', '1')]);
  });

  it('take the outcomes of what looks alike in order', async () => {
    const works = [work(), work(), work()];
    for (const { promise } of works) replies.expect('publish', 'ann', publication(published('/a')), promise);
    send(published('/a'));
    send(published('/a'));
    works[0]!.fail(invalid);
    works[2]!.finish();
    await turn();
    assert.deepEqual(sent.map(({ successful }) => successful), [false]);
    works[1]!.finish();
    await turn();
    assert.deepEqual(sent.map(({ successful }) => successful), [false, true]);
  });

  it('to several subscriptions wait for all of them, and fail with one', async () => {
    const works = [work(), work()];
    replies.expect('subscribe', 'ann', '/a', works[0]!.promise);
    replies.expect('subscribe', 'ann', '/c', works[1]!.promise);
    send(subscribed(['/a', '/b', '/c']));
    works[0]!.finish();
    await turn();
    assert.deepEqual(sent, []);
    works[1]!.fail(invalid);
    await turn();
    assert.deepEqual(sent.map(({ successful, error }) => [successful, error]), [[false, '405:/a,/b,/c:Invalid channel']]);
  });

  it('to an unsubscription wait for that, not for the subscription', async () => {
    const [on, off] = [work(), work()];
    replies.expect('subscribe', 'ann', '/a', on.promise);
    replies.expect('unsubscribe', 'ann', '/a', off.promise);
    send({ ...subscribed('/a'), channel: '/meta/unsubscribe' });
    on.finish();
    await turn();
    assert.deepEqual(sent, []);
    off.finish();
    await turn();
    assert.equal(sent.length, 1);
  });

  it('take nothing from what looked alike before', async () => {
    const done = work();
    replies.expect('publish', 'ann', publication(published('/a')), done.promise);
    send(published('/a'));
    done.finish();
    await turn();
    assert.equal(sent.pop()?.successful, true);
    assert.equal((await refused(invalid)).successful, false);
  });

  it('leave nothing behind', async () => {
    const publishes = 5_000;
    const padding = 'x'.repeat(2_000);
    const before = await heldBytes();
    for (let number = 0; number < publishes; number += 1) {
      const reply = published('/a', `${number}${padding}`);
      replies.expect('publish', 'ann', publication(reply), Promise.resolve());
      if (number % 2 === 0) send(reply);
    }
    await turn();
    sent = [];
    assert((await heldBytes()) - before < 1_000_000);
  });

  it('do not wait for what has succeeded', async () => {
    const done = work();
    replies.expect('publish', 'ann', publication(published('/a')), done.promise);
    done.finish();
    await turn();
    send(published('/a'));
    assert.equal(sent.length, 1);
  });

  it('find a failure for a minute after it', async ({ mock }: TestContext) => {
    mock.timers.enable({ apis: ['setTimeout'] });
    const key = publication(published('/a'));
    for (const [later, outcome] of [
      [59_999, false],
      [60_000, true],
    ] as const) {
      replies.expect('publish', 'ann', key, Promise.reject(invalid));
      await turn();
      mock.timers.tick(later);
      send(published('/a'));
      await turn();
      assert.equal(sent.pop()?.successful, outcome);
    }
  });

  it('that have failed already wait for nothing', () => {
    replies.expect('publish', 'ann', publication(published('/a')), work().promise);
    send({ ...published('/a'), successful: false, error: 'an extension refuses it' });
    assert.deepEqual(sent, [{ ...published('/a'), successful: false, error: 'an extension refuses it' }]);
  });

  it('name a refusal in the words of Bayeux', async () => {
    const known = new ClientUnknown('CLIENT_UNKNOWN', 'no client', { code: Code.NOT_FOUND });
    const reserved = new ChannelReserved('CHANNEL_RESERVED', 'not yours', { code: Code.INVALID_ARGUMENT });
    const full = new LimitMemory('LIMIT_MEMORY', 'no room', { code: Code.RESOURCE_EXHAUSTED });
    const field = new FieldInvalid('FIELD_INVALID', 'no id', { code: Code.INVALID_ARGUMENT });
    const defect = new InternalError('INTERNAL', 'a defect', { code: Code.INTERNAL });
    for (const [error, text] of [
      [known, '401:ann:Unknown client'],
      [invalid, '405:/a:Invalid channel'],
      [reserved, '403:/a:Forbidden channel'],
      [full, '429::Limit reached'],
      [field, '400::Message refused'],
      [defect, '500::Internal error'],
      [new Error('a defect of this package'), '500::Internal error'],
      [Object.assign(new Error('of another package'), { code: Code.UNAVAILABLE }), '500::Internal error'],
    ] as const) {
      assert.deepEqual(await refused(error), { ...published('/a'), successful: false, error: text });
    }
    const reply = await refused(invalid, { subscription: '/b' });
    assert.equal(reply.error, '405:/b:Invalid channel');
  });

  it('send clients away for 1 to 2 s while pixied is away, and keep their sessions', async ({ mock }: TestContext) => {
    const random = mock.method(Math, 'random', () => 0);
    for (const error of [outage, new DeadlineExceeded('publish', 10)]) {
      const reply = await refused(error, { advice: { timeout: 45_000 } });
      const advice = { reconnect: 'retry', interval: 1_000, timeout: 45_000 };
      assert.deepEqual(reply, { ...published('/a'), successful: false, error: AWAY, advice });
    }
    random.mock.mockImplementation(() => 1);
    send({ channel: '/meta/connect', clientId: 'ann', successful: false, error: AWAY });
    assert.deepEqual(sent.pop()?.advice, { reconnect: 'retry', interval: 2_000 });
  });

  it('send a client without a session to another handshake while pixied is away', ({ mock }: TestContext) => {
    mock.method(Math, 'random', () => 0);
    const handshake = { channel: '/meta/handshake', successful: true };
    send({ ...handshake });
    send({ ...handshake, clientId: 'ann' });
    send({ ...handshake, successful: false, error: 'an extension refuses it' });
    assert.deepEqual(sent, [
      { ...handshake, successful: false, error: AWAY, advice: { reconnect: 'handshake', interval: 1_000 } },
      { ...handshake, clientId: 'ann' },
      { ...handshake, successful: false, error: 'an extension refuses it' },
    ]);
  });

  it('are no messages, though these may have the same members', () => {
    replies.expect('publish', 'ann', publication(published('/a')), work().promise);
    for (const message of [
      { ...published('/a'), data: 1 },
      { channel: '/meta/handshake', successful: true, data: 1 },
      { channel: '/a', successful: 'yes' as unknown as boolean, error: AWAY },
    ]) {
      const copy = structuredClone(message);
      send(message);
      assert.deepEqual(sent.pop(), copy);
    }
  });

  it('say that pixied is away before Faye acts on a message, unless something else is wrong with it', () => {
    const receive = (message: FayeMessage): FayeMessage => {
      replies.incoming(message, (each) => void sent.push(each));
      return sent.pop()!;
    };
    assert.deepEqual(receive({ channel: '/a' }), { channel: '/a' });
    isAway = true;
    assert.deepEqual(receive({ channel: '/a' }), { channel: '/a', error: AWAY });
    assert.deepEqual(receive({ channel: '/a', error: 'wrong' }), { channel: '/a', error: 'wrong' });
  });

  it('come though a list of subscriptions has anything in it', () => {
    const message: FayeMessage = { channel: '/meta/subscribe', subscription: ['/a', 7, null, ['/b']] };
    replies.incoming(message, (each) => void sent.push(each));
    replies.incoming({ channel: '/meta/subscribe', subscription: '/a' }, (each) => void sent.push(each));
    assert.deepEqual(sent.map(({ subscription }) => subscription), [['/a', '7', 'null', '/b'], '/a']);
  });

  it('are those of one server, once', () => {
    const extensions: unknown[] = [];
    const server = { addExtension: (extension: unknown) => void extensions.push(extension) };
    for (const context of [undefined, null, 7, {}, { addExtension: true }, server, server]) replies.install(context);
    assert.deepEqual(extensions, [replies]);
  });
});
