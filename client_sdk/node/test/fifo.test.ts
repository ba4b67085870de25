// Queues.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Fifo } from '../src/fifo';

test('items leave a queue in the order in which they came', () => {
  const queue = new Fifo<number>();
  queue.push(1, 2, 3);
  assert.deepEqual([queue.first, queue.shift(), queue.first, queue.size], [1, 1, 2, 2]);
  queue.push(4);
  assert.deepEqual([queue.shift(), queue.shift(), queue.first, queue.shift(), queue.size], [2, 3, 4, 4, 0]);
  assert.deepEqual([queue.first, queue.shift(), queue.size], [undefined, undefined, 0]);
  queue.push(5);
  assert.deepEqual([queue.size, queue.first], [1, 5]);
});

test('a queue gives up all its items at once, in order', () => {
  const queue = new Fifo<number>();
  assert.deepEqual(queue.drain(), []);
  queue.push(1, 2, 3);
  queue.shift();
  queue.push(4);
  assert.deepEqual(queue.drain(), [2, 3, 4]);
  assert.deepEqual([queue.size, queue.first], [0, undefined]);
  queue.push(5, 6);
  assert.deepEqual(queue.drain(), [5, 6]);
});
