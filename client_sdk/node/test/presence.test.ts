// When Faye's clients learn that pixied is away.
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';

import { Unavailable } from '../src';
import { Presence } from '../src/faye/presence';

const first = new Unavailable('127.0.0.1:1', 'it broke');
const second = new Unavailable('127.0.0.1:1', 'nothing answers there');

function watched({ mock }: TestContext) {
  mock.timers.enable({ apis: ['setTimeout'] });
  const announced: string[] = [];
  const presence = new Presence({
    wentAway: ({ message }) => void announced.push(message),
    cameBack: () => void announced.push('back'),
  });
  return { presence, announced, pass: (milliseconds: number) => mock.timers.tick(milliseconds) };
}

test('a change of connections is no outage', (context) => {
  const { presence, announced, pass } = watched(context);
  for (let change = 0; change < 5; change += 1) {
    presence.lost(first);
    pass(1_900);
    assert.equal(presence.isAway, false);
    presence.found();
  }
  pass(10_000);
  assert.deepEqual([presence.isAway, announced], [false, []]);
});

test('an outage is announced once, from its beginning on, and so is its end', (context) => {
  const { presence, announced, pass } = watched(context);
  presence.lost(first);
  pass(1_000);
  presence.lost(second);
  pass(1_000);
  presence.lost(second);
  pass(10_000);
  assert.equal(presence.isAway, true);
  presence.found();
  presence.found();
  pass(10_000);
  assert.deepEqual([presence.isAway, announced], [false, [first.message, 'back']]);
});

test('nothing is announced after the end', (context) => {
  const { presence, announced, pass } = watched(context);
  presence.lost(first);
  presence.dispose();
  pass(10_000);
  assert.deepEqual(announced, []);
});
