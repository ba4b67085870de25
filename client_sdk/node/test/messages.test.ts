// Messages, durations and times in the forms that travel, and in those that programs see.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { jsonMessage, valueOf } from '../src';
import { toFaye, toPixied } from '../src/faye/message';
import { toWire } from '../src/messages';
import { dateOf, durationOf, millisecondsOf } from '../src/time';

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

test('a value becomes a message with the members that are given', () => {
  assert.deepEqual(jsonMessage('/a', { b: [1] }), { channel: '/a', data: '{"b":[1]}' });
  assert.deepEqual(jsonMessage('/a', undefined, { id: '7', clientId: 'ann' }), {
    channel: '/a',
    data: 'null',
    id: '7',
    clientId: 'ann',
  });
  assert.deepEqual(valueOf({ data: '{"b":[1]}' }), { b: [1] });
});

test('a message travels with every member that it was given', () => {
  const message = {
    channel: '/a',
    data: '1',
    id: '7',
    ext: '{}',
    extra: '{"b":1}',
    clientId: 'ann',
    excludePublisher: true,
    idempotencyKey: 'key',
  };
  assert.deepEqual(toWire(message), message);
});

test('a message without a publisher or a key gets a key of its own, and includes everybody', () => {
  const [first, second] = [toWire({ channel: '/a', data: '1' }), toWire({ channel: '/a', data: '1', idempotencyKey: '' })];
  const { idempotencyKey, ...rest } = first;
  const none = { id: undefined, ext: undefined, extra: undefined };
  assert.deepEqual(rest, { channel: '/a', data: '1', ...none, clientId: '', excludePublisher: false });
  assert.match(idempotencyKey, UUID);
  assert.match(second.idempotencyKey, UUID);
  assert.notEqual(idempotencyKey, second.idempotencyKey);
});

test('durations keep their microseconds', () => {
  for (const [milliseconds, duration] of [
    [0, { seconds: 0, nanos: 0 }],
    [1_500, { seconds: 1, nanos: 500_000_000 }],
    [2_000.25, { seconds: 2, nanos: 250_000 }],
    [999.999_999_9, { seconds: 1, nanos: 0 }],
    [-1_500, { seconds: -1, nanos: -500_000_000 }],
  ] as const) {
    assert.deepEqual(durationOf(milliseconds), duration);
    assert.equal(millisecondsOf(duration), Math.round(milliseconds * 1_000) / 1_000);
  }
});

test('moments are told to the millisecond', () => {
  assert.deepEqual(dateOf({ seconds: 1_700_000_000, nanos: 123_999_999 }), new Date(1_700_000_000_123));
});

const wire = { clientId: '', excludePublisher: false, idempotencyKey: '' };

test("Faye's messages travel with every member as it was sent", () => {
  for (const message of [
    { channel: '/a', data: 1 },
    { channel: '/a', data: { b: null }, id: '7', ext: null, more: [1], blank: null },
    { channel: '/a', data: 'x', id: '' },
    { channel: '/a', data: 'x', id: 'é'.repeat(127) },
    ...[7, null, ['7'], 'é'.repeat(128), '\ud800'].map((id) => ({ channel: '/a', data: 1, id, more: true })),
  ]) {
    assert.deepEqual(toFaye({ ...toPixied(message, true), ...wire } as never), message);
  }
});

test('reserved members are not handed on, whoever has set them', () => {
  const reserved = {
    advice: { reconnect: 'none' },
    successful: false,
    error: '500::x',
    subscription: '/a',
    connectionType: 'x',
    version: '1.0',
    minimumVersion: '1.0',
    supportedConnectionTypes: [],
  };
  const { extra } = toPixied({ channel: '/a', data: 1, mood: 'good', ...reserved } as never, true);
  assert.equal(extra, '{"mood":"good"}');
  assert.equal(toPixied({ channel: '/a', data: 1, ...reserved } as never, true).extra, undefined);
  const others = JSON.stringify({ ...reserved, clientId: 'x', mood: 'good' });
  assert.deepEqual(toFaye({ channel: '/a', data: '1', extra: others, ...wire }), { channel: '/a', data: 1, mood: 'good' });
});

test('members that a copy would inherit from are not handed on, wherever they stand and whoever has set them', () => {
  const nested = '{"a":[{"__proto__":{"x":1},"b":"__proto__"}],"__proto__":[7]}';
  const clean = '{"a":[{"b":"__proto__"}]}';
  const message = JSON.parse(`{"channel":"/a","data":${nested},"ext":${nested},"more":${nested},"__proto__":{"x":1}}`) as never;
  const { data, ext, extra } = toPixied(message, true);
  assert.deepEqual([data, ext, extra], [clean, clean, `{"more":${clean}}`]);
  for (const name of ['__proto__', '__pr\\u006fto__', '\\u005F_proto__']) {
    const others = nested.replaceAll('"__proto__":', `"${name}":`);
    const got = toFaye({ channel: '/a', data: others, ext: others, extra: `{"more":${others},"${name}":{"x":1}}`, ...wire });
    assert.equal(JSON.stringify(got), `{"channel":"/a","data":${clean},"ext":${clean},"more":${clean}}`);
    assert.equal(Object.getPrototypeOf(got), Object.prototype);
  }
  assert.deepEqual(toFaye({ channel: '/a', data: '"\\u00e9"', ...wire }), { channel: '/a', data: 'é' });
});

test("Faye's ids travel as ids where pixied takes them, and among the other members where not", () => {
  const { id, extra } = toPixied({ channel: '/a', data: 1, id: 'x'.repeat(255) }, true);
  assert.deepEqual([id, extra], ['x'.repeat(255), undefined]);
  for (const other of ['x'.repeat(256), '\ud800', 7]) {
    const text = toPixied({ channel: '/a', data: 1, id: other }, true);
    assert.deepEqual([text.id, text.extra], [undefined, JSON.stringify({ id: other })]);
  }
});

test('members that Faye does not give are not sent', () => {
  assert.deepEqual(toPixied({ channel: '/a' }, true), {
    channel: '/a',
    data: 'null',
    id: undefined,
    ext: undefined,
    extra: undefined,
  });
  const { clientId } = toPixied({ channel: '/a', clientId: 7 as unknown as string }, true);
  assert.equal(clientId, undefined);
});

test('each client gets a copy of its own', () => {
  const message = { channel: '/a', data: '{"b":1}', ext: '{"c":1}', extra: '{"d":{}}', ...wire };
  const [one, other] = [toFaye(message), toFaye(message)];
  assert.deepEqual(one, { channel: '/a', data: { b: 1 }, ext: { c: 1 }, d: {} });
  for (const member of ['data', 'ext', 'd'] as const) assert.notEqual(one[member], other[member]);
});

test('a message is a retry if client, id and content are the same, and never without an id', () => {
  const message = { channel: '/a', data: 1, id: '7', clientId: 'ann' };
  const key = (changes: object, deduplicate = true) => toPixied({ ...message, ...changes }, deduplicate).idempotencyKey;
  const first = key({});
  assert.match(first!, /^[\w-]{43}$/);
  assert.equal(key({}), first);
  for (const change of [{ clientId: 'bob' }, { id: '8' }, { data: 2 }, { channel: '/b' }, { more: 1 }]) {
    assert.notEqual(key(change), first);
  }
  assert.deepEqual(
    [key({ id: '' }), key({ id: undefined }), key({ id: 7 }), key({ clientId: undefined }), key({}, false)],
    Array(5).fill(undefined),
  );
  assert.equal(toPixied(message, false).clientId, 'ann');
});
