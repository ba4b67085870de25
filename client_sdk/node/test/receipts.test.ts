// Which deliveries may be confirmed.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { Backoff } from '../src/backoff';
import { Receipts } from '../src/receipts';

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('receipts', () => {
  it('confirm a delivery when it and all before it are handled, and no sooner', async () => {
    const handled: number[] = [];
    const receipts = new Receipts((number) => void handled.push(number));
    const finish: (() => void)[] = [];
    for (const number of [1, 2, 3]) {
      const receipt = receipts.open(number);
      for (let i = 0; i < 2; i += 1) receipt.wait(new Promise((resolve) => finish.push(resolve)));
      receipt.seal();
    }
    receipts.open(4).seal();
    for (const i of [2, 3, 4, 0]) finish[i]!();
    await turn();
    assert.deepEqual(handled, []);
    finish[1]!();
    await turn();
    assert.deepEqual(handled, [2]);
    finish[5]!();
    await turn();
    assert.deepEqual(handled, [2, 4]);
  });

  it('wait for what is still to come of a delivery', async () => {
    const handled: number[] = [];
    const receipts = new Receipts((number) => void handled.push(number));
    const receipt = receipts.open(1);
    receipt.wait(Promise.resolve());
    await turn();
    assert.deepEqual(handled, []);
    receipt.seal();
    assert.deepEqual(handled, [1]);
  });
});

describe('backoff', () => {
  it('doubles its bound up to the most, spreads over all of it, and begins anew after a success', () => {
    const bounds = { first: 100, most: 500 };
    const longest = new Backoff(bounds, () => 1);
    assert.deepEqual(
      [1, 2, 3, 4, 5].map(() => longest.next()),
      [100, 200, 400, 500, 500],
    );
    longest.reset();
    assert.equal(longest.next(), 100);
    assert.equal(new Backoff(bounds, () => 0).next(), 0);
  });
});
