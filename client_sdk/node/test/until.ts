// Waiting for something to become true, without guessing how long it takes.
import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';

const TIMEOUT_MS = 15_000;
const STEP_MS = 5;

/** Waits until the condition holds; fails with the claim if it does not within 15 s. */
export async function until(claim: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + TIMEOUT_MS;
  while (!(await holds())) {
    if (Date.now() > deadline) throw new assert.AssertionError({ message: `not within ${TIMEOUT_MS} ms: ${claim}` });
    await delay(STEP_MS);
  }
}

/** Waits until the value is as expected; fails with the difference if it is not within 15 s. */
export async function untilEqual(actual: () => unknown, expected: unknown): Promise<void> {
  const deadline = Date.now() + TIMEOUT_MS;
  for (;;) {
    try {
      return assert.deepEqual(actual(), expected);
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await delay(STEP_MS);
    }
  }
}
