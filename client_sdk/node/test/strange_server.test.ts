// A front-end among failures that a pixied shows rarely.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { hostname } from 'node:os';
import { afterEach, beforeEach, describe, it } from 'node:test';

import { credentials, status as Code } from '@grpc/grpc-js';

import { DetachReason } from '../generated/pixied/v1/attach';
import { FieldInvalid, FrontEnd, jsonMessage, MessageTooLarge, TooManyOperations, Unavailable } from '../src';
import type { AttachHandlers, Batch, Detached } from '../src';
import { until, untilEqual } from './until';
import { Puppet } from './puppet';

const away = { code: Code.UNAVAILABLE, message: 'the store does not answer', details: [] };

describe('a front-end on a strange server', () => {
  let puppet: Puppet;
  let frontEnd: FrontEnd;
  let ends: Detached['reason'][];

  beforeEach(async () => {
    ends = [];
    puppet = await Puppet.start();
    await begin();
  });
  afterEach(async () => {
    await frontEnd.close();
    puppet.dispose();
  });

  /** With options other than the default ones. */
  async function begin(options: object = {}): Promise<void> {
    await frontEnd?.close();
    puppet.links.length = 0;
    frontEnd = new FrontEnd({ address: puppet.address, ...options });
    await until('the link stands', () => frontEnd.isUp);
  }

  const attach = (clientId: string, onMessages: AttachHandlers['onMessages'] = () => undefined) =>
    frontEnd.attach(clientId, {}, { onMessages, onDetached: ({ reason }) => void ends.push(reason) });
  const hasReceived = (...commands: string[]): Promise<void> =>
    untilEqual(() => puppet.link.commands.filter((command) => command !== 'hello'), commands);

  describe('on its link', () => {
    it('frees a handle once, whatever ends the attachment', async () => {
      const attachment = attach('a');
      await hasReceived('attach 1');
      puppet.link.send({ $case: 'attachFailed', value: { handle: 1, error: away } });
      await until('it tries again', () => puppet.link.commands.filter((command) => command === 'attach 1').length === 2);
      puppet.link.send({ $case: 'attachFailed', value: { handle: 1, error: away } });
      puppet.link.send({ $case: 'detached', value: { handle: 1, reason: DetachReason.TAKEN_OVER, detail: '' } });
      puppet.link.send({ $case: 'detached', value: { handle: 1, reason: DetachReason.TAKEN_OVER, detail: '' } });
      await untilEqual(() => ends, ['taken_over']);
      attachment.detach();
      assert.deepEqual([attach('b').handle, attach('c').handle], [1, 2]);
      assert.deepEqual(ends, ['taken_over']);
    });

    it('does not confirm on a new stream what an old one brought', async () => {
      let fail: ((error: Error) => void) | undefined;
      attach('a', () => new Promise((_, reject) => (fail = reject)));
      await hasReceived('attach 1');
      puppet.link.send({ $case: 'attached', value: { handles: [1] } });
      puppet.link.deliver(1000, 1);
      await until('it has the message', () => fail !== undefined);
      puppet.link.end(Code.UNAVAILABLE);
      await until('it is back', () => puppet.links.length === 2);
      await hasReceived('attach 1');
      puppet.link.send({ $case: 'attached', value: { handles: [1] } });
      fail!(new Error('the socket is gone'));
      await hasReceived('attach 1', 'detach 1');
    });

    it('gives a client up before it confirms for the link what that client did not handle', async () => {
      attach('a', () => {
        throw new Error('the socket is gone');
      });
      attach('b');
      await hasReceived('attach 1', 'attach 2');
      puppet.link.send({ $case: 'attached', value: { handles: [1, 2] } });
      puppet.link.deliver(1, 1, 2);
      await hasReceived('attach 1', 'attach 2', 'detach 1', 'ack 1');
      puppet.link.send({ $case: 'detached', value: { handle: 1, reason: DetachReason.REQUESTED, detail: '' } });
      await untilEqual(() => ends, ['refused']);
    });

    it('confirms for a client that leaves what it has handled, though others still have to', async () => {
      attach('a', () => new Promise(() => undefined));
      const quick = attach('b');
      await hasReceived('attach 1', 'attach 2');
      puppet.link.send({ $case: 'attached', value: { handles: [1, 2] } });
      puppet.link.deliver(1, 1, 2);
      puppet.link.deliver(2, 2);
      puppet.link.send({ $case: 'heartbeat', value: {} });
      await hasReceived('attach 1', 'attach 2', 'heartbeat');
      quick.detach();
      await hasReceived('attach 1', 'attach 2', 'heartbeat', 'clientAck 2 2', 'detach 2');
    });

    it('refuses ids that would end the stream for everyone', async () => {
      const errors: unknown[] = [];
      for (const id of ['', 'x'.repeat(256), undefined as unknown as string]) {
        frontEnd.attach(id, {}, { onMessages: () => undefined, onDetached: ({ error }) => void errors.push(error) });
      }
      await until('all are refused', () => errors.length === 3);
      assert(errors.every((error) => error instanceof FieldInvalid));
      await hasReceived(`attach ${attach('a').handle}`);
    });

    it('closes in time when nothing is read or answered', async () => {
      const large = Array.from({ length: 3000 }, (_, i) => attach('x'.repeat(250) + i));
      const began = performance.now();
      await frontEnd.close();
      assert(performance.now() - began < 10_000);
      assert.equal(large.filter(({ state }) => state === 'gone').length, 3000);
    });

    it('takes no messages once it is closing, for it could not confirm them', async () => {
      const got: number[] = [];
      attach('a', (_, { number }) => void got.push(number));
      await hasReceived('attach 1');
      puppet.link.send({ $case: 'attached', value: { handles: [1] } });
      puppet.link.deliver(1, 1);
      await hasReceived('attach 1', 'ack 1');
      const closed = frontEnd.close();
      puppet.link.deliver(2, 1);
      await closed;
      await hasReceived('attach 1', 'ack 1');
      assert.deepEqual(got, [1]);
      const late: string[] = [];
      frontEnd.attach('b', {}, { onMessages: () => undefined, onDetached: ({ reason }) => void late.push(reason) });
      await untilEqual(() => late, ['closed']);
    });

    it('hands whole batches to who wants them, and gives up those whose batch fails', async () => {
      const batches: Batch[] = [];
      const onBatch = (batch: Batch): void => {
        batches.push(batch);
        if (batch.number === 2) throw new Error('no room');
      };
      await begin({ onBatch });
      const leaving = frontEnd.attach('a', {}, {});
      for (const id of ['b', 'c']) {
        frontEnd.attach(id, {}, { onDetached: ({ reason }) => void ends.push(reason) });
      }
      await hasReceived('attach 1', 'attach 2', 'attach 3');
      puppet.link.send({ $case: 'attached', value: { handles: [1, 2, 3] } });
      puppet.link.deliver(1, 1, 2, 3);
      await hasReceived('attach 1', 'attach 2', 'attach 3', 'ack 1');
      leaving.detach();
      puppet.link.deliver(2, 1, 3);
      await hasReceived('attach 1', 'attach 2', 'attach 3', 'ack 1', 'detach 1', 'detach 3', 'ack 2');
      assert.deepEqual(
        batches.map(({ number, handles, messages }) => [number, handles, messages[0]?.data]),
        [
          [1, [1], '1'],
          [1, [2], '1'],
          [1, [3], '1'],
          [2, [3], '2'],
        ],
      );
    });

    it('wants someone to take the messages', () => {
      assert.throws(() => frontEnd.attach('a', {}, {}), TypeError);
    });
  });

  describe('on its pipeline', () => {
    const publish = (value: unknown) => frontEnd.publish([jsonMessage('/a', value)], { timeoutMs: 30_000 });
    const received = (): number => puppet.pipelines.at(-1)?.operations.length ?? 0;

    it('does not send again what the server ended the stream for', async () => {
      const outcome = assert.rejects(publish(1), (error: Error) => {
        assert(error instanceof Unavailable);
        assert.match(error.message, /outcome of publish unknown/);
        return true;
      });
      await until('it has come', () => received() === 1);
      const streams = puppet.pipelines.length;
      puppet.endPipeline(Code.RESOURCE_EXHAUSTED);
      await outcome;
      const next = assert.rejects(publish(2), Unavailable);
      await until('the next has come', () => puppet.pipelines.length === streams + 1 && received() === 1);
      puppet.endPipeline(Code.INVALID_ARGUMENT);
      await next;
    });

    it('gives up an operation that breaks one stream after the other', async () => {
      const outcome = assert.rejects(publish(1), Unavailable);
      for (let streams = 1; streams <= 5; streams += 1) {
        await until('it has come', () => puppet.pipelines.length === streams && received() === 1);
        puppet.endPipeline(Code.UNAVAILABLE);
      }
      await outcome;
    });

    it('bounds what waits, by number and by size', async () => {
      await begin({ maxInFlight: 3, maxInFlightBytes: 1000 });
      const waiting = [assert.rejects(publish('x'.repeat(2000)), Unavailable)];
      await assert.rejects(publish('y'), TooManyOperations);
      await begin({ maxInFlight: 3, maxInFlightBytes: 1000 });
      waiting.push(...['a', 'b', 'c'].map((value) => assert.rejects(publish(value), Unavailable)));
      await assert.rejects(publish('d'), TooManyOperations);
      await assert.rejects(publish('x'.repeat(17 * 2 ** 20)), MessageTooLarge);
      await frontEnd.close();
      await Promise.all(waiting);
    });
  });

  it('bounds what waits though nobody says how', async () => {
    await begin({});
    const waiting = Array.from({ length: 65_536 }, () => assert.rejects(frontEnd.getClient('ann'), Unavailable));
    await assert.rejects(frontEnd.getClient('bob'), TooManyOperations);
    await frontEnd.close();
    await begin({});
    const large = { channel: '/a', data: JSON.stringify('x'.repeat(15 * 2 ** 20)) };
    waiting.push(...Array.from({ length: 4 }, () => assert.rejects(frontEnd.publish([large]), Unavailable)));
    await assert.rejects(frontEnd.publish([large]), TooManyOperations);
    await frontEnd.close();
    await Promise.all(waiting);
  });

  it('goes over the connection that the credentials say, and over no other', async () => {
    await frontEnd.close();
    puppet.links.length = 0;
    frontEnd = new FrontEnd({ address: puppet.address, timeoutMs: 500, credentials: credentials.createSsl() });
    await assert.rejects(frontEnd.getClient('ann'), Unavailable);
    assert.deepEqual([puppet.links, puppet.asked], [[], []]);
  });

  it('presents itself by its host and process, or as it is told', async () => {
    const names = (): string[] => puppet.links.map(({ name }) => name);
    await untilEqual(names, [`${hostname()}:${process.pid}`]);
    await begin({ name: 'x'.repeat(255), window: 65_536 });
    await untilEqual(names, ['x'.repeat(255)]);
  });

  it('is down from the first attempt that fails on, and says so once', async () => {
    const attempts: Socket[] = [];
    const broken = createServer((socket) => {
      attempts.push(socket);
      socket.destroy();
    }).listen(0, '127.0.0.1');
    await once(broken, 'listening');
    const news: string[] = [];
    const lost = new FrontEnd({ address: `127.0.0.1:${(broken.address() as AddressInfo).port}` });
    lost.on('down', ({ message }) => void news.push(message));
    assert.deepEqual([lost.isUp, lost.isDown], [false, false]);
    await until('it has tried again', () => attempts.length > 3);
    assert.deepEqual([lost.isUp, lost.isDown, news.length], [false, true, 1]);
    await lost.close();
    broken.close();
  });

  it('says of each client whose it was when it is no longer attached', async () => {
    const news: unknown[] = [];
    frontEnd.on('detached', (clientId, { reason }) => void news.push([clientId, reason]));
    frontEnd.on('down', () => void news.push('down'));
    attach('a');
    await hasReceived('attach 1');
    assert.deepEqual([frontEnd.isUp, frontEnd.isDown], [true, false]);
    puppet.link.send({ $case: 'detached', value: { handle: 1, reason: DetachReason.TAKEN_OVER, detail: '' } });
    await untilEqual(() => news, [['a', 'taken_over']]);
    attach('b');
    await frontEnd.close();
    assert.deepEqual(news, [
      ['a', 'taken_over'],
      ['b', 'closed'],
    ]);
  });

  it('refuses options that no server would take', () => {
    for (const options of [{ window: 0 }, { window: -1 }, { window: 1.5 }, { window: 65_537 }, { name: '' }]) {
      assert.throws(() => new FrontEnd(options), RangeError);
    }
    assert.throws(() => new FrontEnd({ name: 'é'.repeat(128) }), /name may be 1 to 255 bytes, not 256/);
    assert.throws(() => new FrontEnd({ window: 0 }), /window may be 1 to 65536, not 0/);
  });

  it('ends what it was doing before a listener of the program may fail', async () => {
    const failures: unknown[] = [];
    const others = process.listeners('uncaughtException');
    process.removeAllListeners('uncaughtException');
    process.on('uncaughtException', (error) => void failures.push(error.message));
    const fail = (): never => {
      throw new Error('a defect of the program');
    };
    frontEnd.attach('a', {}, { onMessages: () => undefined, onGap: fail, onDetached: fail });
    attach('b');
    await hasReceived('attach 1', 'attach 2');
    const seen: string[] = [];
    await frontEnd.watch([], {
      uncertain: fail,
      happened: ({ clientId }) => {
        seen.push(clientId);
        fail();
      },
    });
    const detached = (handle: number) =>
      ({ $case: 'detached', value: { handle, reason: DetachReason.EXPIRED, detail: '' } }) as const;
    const gap: Parameters<typeof puppet.link.send>[0] = {
      $case: 'gap',
      value: { handles: [1], gap: { channel: '/a', lost: 1 } },
    };
    puppet.link.send({ $case: 'attached', value: { handles: [1, 2] } }, gap, detached(1), detached(2));
    const nothing = { at: undefined, kind: 0, channel: '', reason: '', messageId: '', recipients: 0, frontEnd: '' };
    const about = (clientId: string) => ({ ...nothing, clientId });
    puppet.report(about('a'), about('b'));
    await untilEqual(() => [ends, seen, failures.length], [['expired'], ['a', 'b'], 5]);
    assert.deepEqual(new Set(failures), new Set(['a defect of the program']));
    process.removeAllListeners('uncaughtException');
    for (const listener of others) process.on('uncaughtException', listener);
  });
});
