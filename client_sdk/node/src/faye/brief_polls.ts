// Polls that Faye would answer sooner than pixied can bring what is pending, such as those with the advice `timeout: 0`.
import type { FayeConnection, FayeServer, PollOptions } from './server';

/** A poll that asks for less is held for at most this long: far more than it takes to attach a client. In milliseconds. */
const HOLD_MS = 1_000;
/** Timers take no more; Faye's would be over at once. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/**
 * Holds such polls until their clients' first messages have come, or pixied has said that there are none: as with Faye's
 * own engine, the first poll brings what is pending.
 */
export class BriefPolls {
  /** When each would have been answered. */
  private readonly due = new WeakMap<FayeConnection, number>();

  /**
   * @param pendingOf asks how many messages a client has not confirmed.
   * @param now gives milliseconds.
   * @param later calls after so many milliseconds.
   */
  constructor(
    private readonly server: FayeServer,
    private readonly pendingOf: (clientId: string) => Promise<number>,
    private readonly now = () => performance.now(),
    private readonly later = (call: () => void, milliseconds: number) => void setTimeout(call, milliseconds),
  ) {}

  /** Faye has opened a connection, and is about to tell it how long to wait. */
  opened(connection: FayeConnection | undefined): void {
    if (!connection?.connect) return;
    const connect = connection.connect.bind(connection);
    connection.connect = (options, callback, context) => {
      connect(connection.socket ? options : this.held(connection, options), callback, context);
    };
  }

  /** A client is attached: what was pending comes before anything else, if anything was. */
  attached(clientId: string): void {
    const connection = this.server.connection(clientId, false);
    if (!connection || !this.due.has(connection)) return;
    this.pendingOf(clientId).then(
      (pending) => void (pending === 0 && this.release(clientId, connection)),
      // Why is said elsewhere; Faye answers the poll at the end of the hold.
      () => undefined,
    );
  }

  /** The options with the longest that it may take, if less was asked for. */
  private held(connection: FayeConnection, options: PollOptions | undefined): PollOptions | undefined {
    const named = options?.timeout;
    const asked = named === undefined ? Number(this.server.timeout) * 1_000 : Number(named);
    if (asked >= HOLD_MS && asked <= MAX_TIMER_MS) return options;
    const isOver = !(asked > 0 && asked < HOLD_MS);
    this.due.set(connection, this.now() + (isOver ? 0 : asked));
    return { ...options, timeout: HOLD_MS };
  }

  /** Nothing is pending: answer the poll when it wanted to be. */
  private release(clientId: string, connection: FayeConnection): void {
    const rest = this.due.get(connection)! - this.now();
    this.due.delete(connection);
    if (rest <= 0) this.answer(clientId, connection);
    else this.later(() => this.answer(clientId, connection), rest);
  }

  private answer(clientId: string, connection: FayeConnection): void {
    const isOpen = this.server.connection(clientId, false) === connection && !connection.socket;
    if (isOpen) this.server.flushConnection(clientId);
  }
}
