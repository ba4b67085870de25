// A front-end's operations on a stream that a test plays.
import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it, mock } from 'node:test';

import { connectivityState, status as Code } from '@grpc/grpc-js';

import { Operation, type OperationResult } from '../generated/pixied/v1/pipeline';
import { DeadlineExceeded, MessageTooLarge, PixiedError, REPEATABLE, TooManyOperations, Unavailable } from '../src';
import type { OperationName } from '../src';
import { Pipeline } from '../src/pipeline';
import { ScriptedConnection, turn } from './scripted';

const A_MINUTE = 60_000;
/** What generateNamespace of this length takes. */
const bytesOf = (length: number): number =>
  Operation.encode({ operation: { $case: 'generateNamespace', value: { length } } }).finish().length;

describe('a pipeline', () => {
  let scripted: ScriptedConnection;
  let pipeline: Pipeline;

  beforeEach(async () => {
    mock.timers.enable({ apis: ['setTimeout'] });
    scripted = new ScriptedConnection();
    begin();
    await turn();
  });
  afterEach(async () => {
    const closed = pipeline.close(0);
    mock.timers.tick(1);
    await closed;
    mock.reset();
  });

  function begin(limits: { operations?: number; bytes?: number } = {}): void {
    pipeline = new Pipeline(scripted.connection, { operations: 100, bytes: 1_000_000, ...limits });
  }

  const generate = (length: number, timeoutMs = 10_000) =>
    pipeline.perform('generateNamespace', { length }, timeoutMs).then(({ namespace }) => namespace);
  const ask = (clientId: string) => pipeline.perform('getClient', { clientId }, A_MINUTE);
  /** Operations that nobody waits for. */
  const forget = (...outcomes: Promise<unknown>[]): void => outcomes.forEach((outcome) => void outcome.catch(() => undefined));
  const answer = (...results: OperationResult['result'][]): void =>
    void scripted.call.emit('data', { results: results.map((result) => ({ result })), closing: undefined });
  const named = (namespace: string) => ({ $case: 'generateNamespace', value: { namespace } }) as const;

  /** What has gone out on a stream. */
  function sent(stream = scripted.calls.length): unknown[] {
    const items = scripted.calls[stream - 1]!.frames.flat();
    return items.map(({ bytes }) => {
      const { operation } = Operation.decode(bytes);
      return operation?.$case === 'generateNamespace' ? operation.value.length : operation?.$case;
    });
  }

  async function send(): Promise<void> {
    await turn();
    scripted.call.flush();
    await turn();
  }

  async function breakStream(code = Code.UNAVAILABLE): Promise<void> {
    scripted.call.break(code, 'it broke');
    mock.timers.tick(5_000);
    await turn();
    await turn();
  }

  it('puts no more operations into a frame than the server takes', async () => {
    pipeline.maxItems = 2;
    forget(generate(1), generate(2), generate(3));
    await send();
    await send();
    assert.deepEqual(scripted.call.frames.map(({ length }) => length), [2, 1]);
  });

  it('gives each operation its own answer', async () => {
    const outcomes = [generate(1), generate(2), generate(3)];
    await send();
    answer(named('a'), { $case: 'error', value: { code: Code.INTERNAL, message: 'a defect', details: [] } });
    await assert.rejects(outcomes[1]!, (error) => error instanceof PixiedError && error.message === 'a defect');
    answer(named('c'));
    assert.deepEqual([await outcomes[0], await outcomes[2]], ['a', 'c']);
  });

  it('takes an answer to something else for a defect, and ignores one to nothing', async () => {
    const outcomes = [generate(1), generate(2)];
    await send();
    answer({ $case: 'subscribedTo', value: { channels: [] } }, undefined, named('too much'));
    for (const [i, what] of ['subscribedTo', 'nothing'].entries()) {
      await assert.rejects(outcomes[i]!, (error: unknown) => {
        assert(error instanceof PixiedError);
        const text = `pixied answered generateNamespace with ${what}`;
        assert.deepEqual([error.message, error.reason, error.code], [text, 'INTERNAL', Code.INTERNAL]);
        return true;
      });
    }
  });

  it('has room for so many operations, whether they were sent or not, and for more when some are answered', async () => {
    begin({ operations: 3 });
    await turn();
    const outcomes = [generate(1), generate(2)];
    await turn();
    outcomes.push(generate(3));
    await assert.rejects(generate(4), (error) => error instanceof TooManyOperations && /^3 of operations/.test(error.message));
    answer(named('a'));
    outcomes.push(generate(5));
    await assert.rejects(generate(6), TooManyOperations);
    forget(...outcomes);
  });

  it('has room for so many bytes, and for more when some are answered', async () => {
    begin({ bytes: 2 * bytesOf(1) });
    await turn();
    const outcomes = [generate(1), generate(2)];
    await send();
    await assert.rejects(generate(3), (error) => error instanceof TooManyOperations && / bytes of operations/.test(error.message));
    answer(named('a'));
    outcomes.push(generate(4));
    await assert.rejects(generate(5), TooManyOperations);
    await send();
    answer(named('b'), named('d'));
    outcomes.push(pipeline.perform('destroyClient', { clientId: 'x'.repeat(100), reason: '' }, A_MINUTE) as never);
    await assert.rejects(generate(6), TooManyOperations);
    forget(...outcomes);
  });

  it('takes operations of up to 16 MiB', async () => {
    begin({ bytes: Infinity });
    await turn();
    const most = 16 * 1024 * 1024;
    const reason = (length: number) => pipeline.perform('destroyClient', { clientId: 'a', reason: 'x'.repeat(length) }, A_MINUTE);
    const encoded = (length: number): number =>
      Operation.encode({ operation: { $case: 'destroyClient', value: { clientId: 'a', reason: 'x'.repeat(length) } } }).finish()
        .length;
    const longest = most - (encoded(most) - most);
    assert.equal(encoded(longest), most);
    forget(reason(longest));
    await turn();
    assert.deepEqual(sent(), ['destroyClient']);
    await assert.rejects(reason(longest + 1), (error: unknown) => {
      assert(error instanceof MessageTooLarge);
      assert.deepEqual([error.reason, error.code], ['MESSAGE_TOO_LARGE', Code.INVALID_ARGUMENT]);
      return true;
    });
  });

  it('waits for an answer as long as it was told, and says why there is none', async () => {
    const outcome = generate(1, 100);
    await send();
    mock.timers.tick(99);
    answer();
    mock.timers.tick(1);
    await assert.rejects(outcome, (error) => error instanceof DeadlineExceeded && /generateNamespace .* 100 ms/.test(error.message));
    scripted.become(connectivityState.CONNECTING);
    scripted.call.break(Code.INTERNAL, 'it broke');
    const lost = generate(2, 100);
    mock.timers.tick(100);
    await assert.rejects(lost, (error) => error instanceof Unavailable && /Pipeline: it broke/.test(error.message));
    const never = new Pipeline(scripted.connection, { operations: 1, bytes: 1 });
    const early = never.perform('generateNamespace', { length: 1 }, 100);
    mock.timers.tick(100);
    await assert.rejects(early, (error) => error instanceof Unavailable && /not connected yet/.test(error.message));
    await never.close(0);
  });

  it('does not send what nobody waits for any more', async () => {
    scripted.become(connectivityState.CONNECTING);
    scripted.call.break(Code.UNAVAILABLE);
    mock.timers.tick(5_000);
    const outcomes = [generate(1, 100), generate(2)];
    forget(...outcomes);
    mock.timers.tick(100);
    scripted.become(connectivityState.READY);
    await turn();
    await send();
    assert.deepEqual(sent(), [2]);
  });

  it('ignores the answer to an operation that nobody waits for any more', async () => {
    const outcomes = [generate(1, 100), generate(2)];
    await send();
    mock.timers.tick(100);
    answer(named('too late'), named('b'));
    await assert.rejects(outcomes[0]!, DeadlineExceeded);
    assert.equal(await outcomes[1], 'b');
  });

  it('sends again what is safe, before what came later, unless nobody waits for it', async () => {
    const outcomes: Promise<unknown>[] = [
      ask('a'),
      generate(1),
      pipeline.perform('subscribedTo', { clientId: 'a' }, 100),
      pipeline.perform('pingClient', { clientId: 'a', clientIds: [] }, A_MINUTE),
    ];
    forget(...outcomes);
    await turn();
    mock.timers.tick(100);
    outcomes.push(generate(2));
    forget(outcomes.at(-1)!);
    await breakStream();
    await assert.rejects(outcomes[1]!, /it broke; outcome of generateNamespace unknown/);
    assert.deepEqual(sent(), ['getClient', 'pingClient', 2]);
  });

  it('sends again what changes nothing more when it is done twice, and nothing else', async () => {
    const safe: string[] = [];
    const names = Object.keys(REPEATABLE) as OperationName[];
    for (const name of names) {
      const texts = { clientId: '', channel: '', channelPattern: '', namespace: '', reason: '', ackCursor: '', pageToken: '' };
      const numbers = { length: 0, pageSize: 0, maxMessages: 0, ackMode: 0 };
      const request = { ...texts, ...numbers, clientIds: [], channels: [], messages: [], attributes: {} };
      const { length } = sent();
      void pipeline.perform(name, request as never, A_MINUTE).catch(() => undefined);
      await send();
      assert.equal(sent().length, length + 1);
      await breakStream();
      if (sent().length > 0) safe.push(name);
      answer({ $case: name, value: {} } as OperationResult['result']);
    }
    assert.deepEqual(
      safe.sort(),
      [
        'getClient',
        'pingClient',
        'subscribe',
        'unsubscribe',
        'subscribersOf',
        'subscribedTo',
        'clientSubscribed',
        'queueFor',
        'publish',
      ].sort(),
    );
  });

  it('gives up what may break its stream', async () => {
    for (const code of [
      Code.INVALID_ARGUMENT,
      Code.RESOURCE_EXHAUSTED,
      Code.UNIMPLEMENTED,
      Code.UNAUTHENTICATED,
      Code.PERMISSION_DENIED,
    ]) {
      const outcome = assert.rejects(ask('a'), /outcome of getClient unknown/);
      await send();
      await breakStream(code);
      await outcome;
    }
    const outcome = assert.rejects(ask('a'), /outcome of getClient unknown/);
    for (let streams = 1; streams <= 5; streams += 1) {
      await send();
      assert.deepEqual(sent(), ['getClient']);
      await breakStream();
    }
    await outcome;
    assert.deepEqual(sent(), []);
  });

  it('writes no more to a stream that the server wants to end, and comes back when it says', async () => {
    const { call } = scripted;
    const outcomes = [generate(1)];
    await send();
    call.emit('data', { results: [], closing: { reconnectAfterMs: 8_000 } });
    outcomes.push(generate(2));
    await turn();
    assert.equal(call.isEnded, true);
    answer(named('a'));
    assert.equal(await outcomes[0], 'a');
    call.emit('end');
    mock.timers.tick(7_000);
    await turn();
    assert.deepEqual([scripted.calls.length, sent()], [1, [1]]);
    mock.timers.tick(1_000);
    await turn();
    await turn();
    assert.deepEqual([scripted.calls.length, sent()], [2, [2]]);
    forget(outcomes[1]!);
  });

  it('comes back soon after a stream that has served', async () => {
    mock.method(Math, 'random', () => 1);
    for (let round = 1; round <= 5; round += 1) {
      answer();
      scripted.call.break(Code.UNAVAILABLE);
      mock.timers.tick(100);
      await turn();
      assert.equal(scripted.calls.length, round + 1);
    }
  });

  it('is closed when everything is answered', async () => {
    const outcomes = [generate(1), generate(2)];
    await send();
    let isClosed = false;
    const closed = pipeline.close(A_MINUTE).then(() => (isClosed = true));
    await assert.rejects(generate(3), /closed/);
    answer(named('a'));
    await turn();
    assert.deepEqual([await outcomes[0], isClosed], ['a', false]);
    answer(named('b'));
    await closed;
    assert.deepEqual([await outcomes[1], scripted.call.isCancelled], ['b', true]);
  });

  it('is closed in time when something is not answered', async () => {
    const outcome = assert.rejects(generate(1), /closed; outcome unknown/);
    await send();
    const late = assert.rejects(generate(2), /closed; outcome unknown/);
    const closed = pipeline.close(2_000);
    mock.timers.tick(2_000);
    await Promise.all([closed, outcome, late]);
  });

  it('is closed at once when there is nothing to wait for, or no stream', async () => {
    await pipeline.close(A_MINUTE);
    begin();
    scripted.become(connectivityState.CONNECTING);
    scripted.call.break(Code.UNAVAILABLE);
    const outcome = assert.rejects(generate(1), /closed; outcome unknown/);
    await pipeline.close(A_MINUTE);
    await outcome;
  });
});
