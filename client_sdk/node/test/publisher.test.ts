// Publishing while the store behind pixied is away.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';

import { status as Code } from '@grpc/grpc-js';

import { EngineUnavailable, jsonMessage, LimitMemory, Unavailable, valueOf, type NewMessage } from '../src';
import { Publisher } from '../src/faye/publisher';
import type { CallOptions } from '../src/operations';

const AWAY = new EngineUnavailable('ENGINE_UNAVAILABLE', 'no store', { code: Code.UNAVAILABLE, retryAfterMs: 1 });
/** More than the first pause. */
const AT_ALL_EVENTS_MS = 1_000;
const FULL = new LimitMemory('LIMIT_MEMORY', 'no room', { code: Code.RESOURCE_EXHAUSTED });

/** A publisher, what it has tried, and what it is answered: an error, or success. */
function stage(timeoutMs = 60_000) {
  const tried: NewMessage[] = [];
  const answers: (Error | undefined)[] = [];
  /** How long each attempt might have taken, in milliseconds. */
  const timeouts: (number | undefined)[] = [];
  const frontEnd = {
    async publish([message]: readonly NewMessage[], options?: CallOptions) {
      tried.push(message!);
      timeouts.push(options?.timeoutMs);
      const answer = answers.shift();
      if (answer) throw answer;
      return [];
    },
  };
  return { publisher: new Publisher(frontEnd, timeoutMs), tried, answers, timeouts };
}

const message = (value: unknown, idempotencyKey?: string): NewMessage => jsonMessage('/a', value, { idempotencyKey });

test('a refusal that passes is tried again with the same key', async () => {
  const { publisher, tried, answers } = stage();
  answers.push(AWAY, AWAY);
  await publisher.publish(message(1));
  assert.equal(tried.length, 3);
  assert.equal(new Set(tried.map(({ idempotencyKey }) => idempotencyKey)).size, 1);
  assert.ok(tried[0]!.idempotencyKey);
});

test('a key that was given is kept', async () => {
  const { publisher, tried, answers } = stage();
  answers.push(AWAY);
  await publisher.publish(message(1, 'mine'));
  assert.deepEqual(
    tried.map(({ idempotencyKey }) => idempotencyKey),
    ['mine', 'mine'],
  );
});

test('what comes later waits behind what was refused', async ({ mock }) => {
  mock.timers.enable({ apis: ['setTimeout'] });
  const { publisher, tried, answers } = stage();
  answers.push(AWAY, AWAY);
  const first = [1, 2].map((value) => publisher.publish(message(value)));
  await turn();
  const later = [3, 4].map((value) => publisher.publish(message(value)));
  await turn();
  assert.equal(tried.length, 2);
  mock.timers.tick(AT_ALL_EVENTS_MS);
  await Promise.all([...first, ...later]);
  assert.deepEqual(
    tried.map((each) => valueOf(each)),
    [1, 2, 1, 2, 3, 4],
  );
});

test('other refusals are final', async () => {
  for (const refusal of [FULL, new Unavailable('127.0.0.1:1', 'outcome unknown')]) {
    const { publisher, tried, answers } = stage();
    answers.push(refusal);
    await assert.rejects(publisher.publish(message(1)), refusal);
    assert.equal(tried.length, 1);
  }
});

test('a store that stays away is reported in the end', async () => {
  const { publisher, answers } = stage(50);
  answers.push(...Array<Error>(1_000).fill(AWAY));
  await assert.rejects(publisher.publish(message(1)), AWAY);
});

test('only so much waits for the store, and nothing when the server stops', async ({ mock }) => {
  mock.timers.enable({ apis: ['setTimeout'] });
  const { publisher, answers } = stage();
  answers.push(...Array<Error>(10_001).fill(AWAY));
  const publishing = Array.from({ length: 10_001 }, (_, i) => publisher.publish(message(i)));
  await assert.rejects(publishing.pop()!, AWAY);
  const waiting = Promise.allSettled(publishing);
  publisher.dispose();
  assert((await waiting).every(({ status }) => status === 'rejected'));
});

test('a message is tried until its time is over, with what is left of it', async ({ mock }) => {
  mock.timers.enable({ apis: ['setTimeout'] });
  mock.method(Math, 'random', () => 1);
  let now = 1_000;
  mock.method(performance, 'now', () => now);
  const { publisher, answers, timeouts } = stage(1_000);
  answers.push(...Array<Error>(10).fill(AWAY));
  const outcome = assert.rejects(publisher.publish(message(1)), AWAY);
  for (const pause of [51, 101, 201, 401]) {
    await turn();
    now += pause - 1;
    mock.timers.tick(pause - 1);
    await turn();
    const { length } = timeouts;
    now += 1;
    mock.timers.tick(1);
    await turn();
    assert.equal(timeouts.length, length + 1);
  }
  assert.deepEqual(timeouts, [1_000, 949, 848, 647, 246]);
  now = 1_999;
  mock.timers.tick(801);
  now = 2_000;
  await outcome;
  assert.deepEqual(timeouts.slice(5), [1]);
});

test('the pauses are short again after a success', async ({ mock }) => {
  mock.timers.enable({ apis: ['setTimeout'] });
  mock.method(Math, 'random', () => 1);
  const { publisher, answers, tried } = stage();
  for (const pause of [51, 51]) {
    answers.push(AWAY);
    const published = publisher.publish(message(1));
    await turn();
    mock.timers.tick(pause);
    await published;
  }
  assert.equal(tried.length, 4);
});

test('a refusal that passes is tried again though it asks for no delay, and anything else is final', async ({ mock }) => {
  mock.timers.enable({ apis: ['setTimeout'] });
  mock.method(Math, 'random', () => 1);
  const { publisher, answers, tried } = stage();
  answers.push(new EngineUnavailable('ENGINE_UNAVAILABLE', 'no store', { code: Code.UNAVAILABLE }));
  const published = publisher.publish(message(1));
  await turn();
  mock.timers.tick(50);
  await published;
  assert.equal(tried.length, 2);
  const defect = Object.assign(new Error('of another package'), { code: Code.UNAVAILABLE });
  answers.push(defect);
  await assert.rejects(publisher.publish(message(1)), defect);
});

test('a publisher that was disposed of keeps no process alive', async () => {
  const timers = (): number => process.getActiveResourcesInfo().filter((each) => each === 'Timeout').length;
  const { publisher, answers } = stage();
  answers.push(new EngineUnavailable('ENGINE_UNAVAILABLE', 'no store', { code: Code.UNAVAILABLE, retryAfterMs: 60_000 }));
  const before = timers();
  const published = publisher.publish(message(1));
  await turn();
  assert.equal(timers(), before + 1);
  publisher.dispose();
  assert.equal(timers(), before);
  await assert.rejects(published, EngineUnavailable);
});
