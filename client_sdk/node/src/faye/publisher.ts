// Publishing, again and again while pixied refuses only because the store behind it does not answer.
import { randomUUID } from 'node:crypto';

import { status as Code } from '@grpc/grpc-js';

import { Backoff, RETRY } from '../backoff';
import { PixiedError, Unavailable } from '../errors';
import type { FrontEnd } from '../front_end';
import { Fifo } from '../fifo';
import type { NewMessage } from '../messages';

/** So many messages may wait for the store; what is beyond them is refused at once. */
const MAX_WAITING = 10_000;

/** A message that pixied has not taken yet. */
interface Publication {
  readonly message: NewMessage;
  readonly deadline: number;
  resolve(): void;
  reject(error: unknown): void;
}

/**
 * Publishes in order. A broken connection is the front-end's matter; this is about refusals that will pass, of a pixied
 * whose store is away or which stops. What was refused so is done once, however often it is tried, by its idempotency key,
 * and what comes after it waits behind it. Only what was under way together with it may overtake it.
 */
export class Publisher {
  private readonly waiting = new Fifo<Publication>();
  private readonly backoff = new Backoff(RETRY);
  private timer: NodeJS.Timeout | undefined;
  private refusal: PixiedError | undefined;

  /** @param timeoutMs for how long a message is tried. */
  constructor(
    private readonly frontEnd: Pick<FrontEnd, 'publish'>,
    private readonly timeoutMs: number,
  ) {}

  /** Resolves when pixied has taken the message; rejects with its refusal. */
  publish(message: NewMessage): Promise<void> {
    const keyed = { ...message, idempotencyKey: message.idempotencyKey ?? randomUUID() };
    const deadline = performance.now() + this.timeoutMs;
    return new Promise((resolve, reject) => {
      const publication = { message: keyed, deadline, resolve, reject };
      if (this.refusal) this.wait(publication, this.refusal);
      else void this.send(publication);
    });
  }

  /** Gives up what waits. */
  dispose(): void {
    clearTimeout(this.timer);
    for (const { reject } of this.waiting.drain()) reject(this.refusal);
  }

  private async send(publication: Publication): Promise<void> {
    const { message, deadline, resolve, reject } = publication;
    try {
      await this.frontEnd.publish([message], { timeoutMs: Math.max(1, deadline - performance.now()) });
      this.backoff.reset();
      resolve();
    } catch (error) {
      if (willPass(error)) this.wait(publication, error);
      else reject(error);
    }
  }

  private wait(publication: Publication, refusal: PixiedError): void {
    if (performance.now() >= publication.deadline || this.waiting.size >= MAX_WAITING) return publication.reject(refusal);
    this.waiting.push(publication);
    this.refusal = refusal;
    this.timer ??= setTimeout(() => this.sendAgain(), (refusal.retryAfterMs ?? 0) + this.backoff.next());
  }

  private sendAgain(): void {
    this.timer = undefined;
    this.refusal = undefined;
    for (const publication of this.waiting.drain()) void this.send(publication);
  }
}

/** Said by a pixied, so that it has not only been unreachable: that is tried again by the front-end itself. */
function willPass(error: unknown): error is PixiedError {
  return error instanceof PixiedError && error.code === Code.UNAVAILABLE && !(error instanceof Unavailable);
}
