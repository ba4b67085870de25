// A stream that comes back when it breaks. gRPC's own retries do not do that for streams.
import type { ServiceError } from '@grpc/grpc-js';

import { Backoff, RECONNECT } from './backoff';
import { standing, type Connection } from './connection';
import { fromServiceError, PixiedError, Unavailable } from './errors';

/** What this module needs of grpc-js's streams. */
export interface Call<R> {
  on(event: 'data', listener: (response: R) => void): unknown;
  on(event: 'error', listener: (error: ServiceError) => void): unknown;
  on(event: 'end', listener: () => void): unknown;
  cancel(): void;
}

/** What is called when something happens to the stream. */
export interface StreamListener<R, C extends Call<R>> {
  /** A new stream stands; nothing of the last one holds any more. */
  opened(call: C): void;
  /** The server said something. */
  received(response: R): void;
  /** The stream broke or ended, or could not be opened. It will be opened again, unless it was closed. */
  lost(error: PixiedError): void;
}

/** Keeps one stream open, with exponential backoff and full jitter between attempts. */
export class KeptStream<R, C extends Call<R>> {
  private readonly backoff = new Backoff(RECONNECT);
  private call: C | undefined;
  private timer: NodeJS.Timeout | undefined;
  private openedAt = 0;
  private returnAt: number | undefined;
  private isClosed = false;

  constructor(
    private readonly connection: Connection,
    private readonly name: string,
    private readonly open: () => C,
    private readonly listener: StreamListener<R, C>,
  ) {}

  /** Opens the stream, and again whenever it is lost. */
  start(): void {
    void standing(this.connection, (error) => this.stillAway(error)).then(() => this.begin());
  }

  /** The server has shown that it serves this stream: the next loss is the first again. */
  healthy(): void {
    this.backoff.reset();
  }

  /** The server is stopping and has asked to be left alone for so many milliseconds from now. */
  returnAfter(milliseconds: number): void {
    this.returnAt = performance.now() + milliseconds;
  }

  /** Gives up a stream that looks open and is dead. */
  abandon(reason: string): void {
    const { call } = this;
    if (!call) return;
    this.call = undefined;
    call.cancel();
    this.comeBack(new Unavailable(this.connection.address, reason));
  }

  /** Waits until the stream has ended, and does not open it again. */
  farewell(): Promise<void> {
    this.isClosed = true;
    const { call } = this;
    return call ? new Promise((resolve) => void call.on('end', resolve)) : Promise.resolve();
  }

  /** Ends the stream for good. */
  close(): void {
    this.isClosed = true;
    clearTimeout(this.timer);
    this.call?.cancel();
    this.call = undefined;
  }

  private begin(): void {
    if (this.isClosed) return;
    const call = this.open();
    let failure: ServiceError | undefined;
    this.call = call;
    this.openedAt = performance.now();
    call.on('data', (response) => {
      if (this.call === call) this.listener.received(response);
    });
    call.on('error', (error) => {
      failure = error;
    });
    // `end` comes after everything that was received has been read, `error` may come before: a last frame counts.
    call.on('end', () => this.ended(call, failure));
    this.listener.opened(call);
  }

  private stillAway(error: PixiedError): void {
    if (!this.isClosed) this.listener.lost(error);
  }

  private ended(call: C, failure: ServiceError | undefined): void {
    if (this.call !== call) return;
    this.call = undefined;
    const { address } = this.connection;
    const error = failure
      ? fromServiceError(failure, { address, name: this.name })
      : new Unavailable(address, 'the server has ended the stream');
    this.comeBack(error);
  }

  private comeBack(error: PixiedError): void {
    if (this.isClosed) return;
    this.timer = setTimeout(() => this.start(), this.pauseAfter(error));
    this.listener.lost(error);
  }

  private pauseAfter(error: PixiedError): number {
    const now = performance.now();
    const asked = this.returnAt;
    this.returnAt = undefined;
    if (asked !== undefined) return Math.max(0, asked - now);
    // A stream may be healthy without a word from the server.
    if (now - this.openedAt >= RECONNECT.most) this.backoff.reset();
    // The server's delay is the least; the jitter comes on top, for it gives all clients the same.
    return (error.retryAfterMs ?? 0) + this.backoff.next();
  }
}
