// How long to wait before trying again.

/** Bounds of a backoff, in milliseconds. */
export interface BackoffBounds {
  readonly first: number;
  readonly most: number;
}

/** For streams that have to come back, however long it takes. */
export const RECONNECT: BackoffBounds = { first: 100, most: 5_000 };

/** For single calls, whose deadline is near. */
export const RETRY: BackoffBounds = { first: 50, most: 1_000 };

/**
 * Exponential backoff with full jitter: each delay is anything between zero and a bound that doubles, so that clients
 * which lost the same server do not come back together.
 */
export class Backoff {
  private attempts = 0;

  constructor(
    private readonly bounds: BackoffBounds,
    private readonly random: () => number = Math.random,
  ) {}

  /** The next delay in milliseconds. */
  next(): number {
    const bound = Math.min(this.bounds.most, this.bounds.first * 2 ** this.attempts);
    this.attempts += 1;
    return this.random() * bound;
  }

  /** Begins anew, after a success. */
  reset(): void {
    this.attempts = 0;
  }
}
