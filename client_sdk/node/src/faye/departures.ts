// Sessions that end, wherever that happens: here, at another Faye server, by an operator, or by their timeout.
import { EventKind, type Event } from '../../generated/pixied/v1/watch';
import type { WatchListener } from '../kept_watch';

/** A session that has ended. */
export interface Departure {
  readonly clientId: string;
  /** The reason that `destroyClient` was given, or "timed out". */
  readonly reason: string;
  /** What it was subscribed to at the end, as far as that is known. */
  readonly channels: readonly string[];
}

/** pixied announces the subscriptions that end with a session just before the session's end: within this time. */
const SAME_MOMENT_MS = 100;
/**
 * A session is found to be over sooner than its event comes. That has the reason, which decides what server raises Faye's
 * events: wait for it. If it has not come after this time it was missed, or there was no such client.
 */
const EVENT_TIMEOUT_MS = 1_000;
/** So many departed clients are remembered, so that none is announced twice. */
const REMEMBERED = 10_000;

/** Consecutive ends of one client's subscriptions. */
interface Run {
  readonly clientId: string;
  readonly channels: string[];
  at: number;
}

/** Gathers what pixied's Watch announces of sessions' ends. */
export class Departures implements WatchListener {
  /** What to watch. */
  static readonly KINDS: readonly EventKind[] = [EventKind.UNSUBSCRIBED, EventKind.CLIENT_DESTROYED];
  private readonly over = new Set<string>();
  /** What is announced of a session while this side tries to end it, for that may fail because it is over. */
  private readonly claimed = new Map<string, Departure | undefined>();
  private run: Run | undefined;

  /**
   * @param departed called once at each session's end.
   * @param uncertain called when ends may have been missed.
   * @param later calls after so many milliseconds.
   */
  constructor(
    private readonly departed: (departure: Departure) => void,
    readonly uncertain: () => void,
    private readonly later = (call: () => void, milliseconds: number) => void setTimeout(call, milliseconds).unref(),
  ) {}

  /** Whether the session's end has been announced; of those that ended long ago this is forgotten. */
  isOver(clientId: string): boolean {
    return this.over.has(clientId);
  }

  /** This side tries to end the session. The answer: whether no one has yet; then `settle` or `disclaim` must follow. */
  claim(clientId: string): boolean {
    if (this.over.has(clientId) || this.claimed.has(clientId)) return false;
    this.claimed.set(clientId, undefined);
    return true;
  }

  /** This side has ended the session. */
  settle(departure: Departure): void {
    this.claimed.delete(departure.clientId);
    this.found(departure);
  }

  /** This side has not ended the session: what was announced of it meanwhile holds. */
  disclaim(clientId: string): void {
    const announced = this.claimed.get(clientId);
    this.claimed.delete(clientId);
    if (announced) this.found(announced);
  }

  /** A session turns out to be over. */
  missed(clientId: string): void {
    if (this.over.has(clientId)) return;
    this.later(() => this.found({ clientId, reason: 'gone', channels: [] }), EVENT_TIMEOUT_MS);
  }

  /** A session is known to be over. */
  found(departure: Departure): void {
    const { clientId } = departure;
    if (this.over.has(clientId)) return;
    if (this.claimed.has(clientId)) return void this.claimed.set(clientId, departure);
    this.remember(clientId);
    this.departed(departure);
  }

  happened(event: Event): void {
    if (event.kind === EventKind.UNSUBSCRIBED) this.note(event);
    else if (event.kind === EventKind.CLIENT_DESTROYED) this.ended(event);
  }

  private remember(clientId: string): void {
    this.over.add(clientId);
    if (this.over.size > REMEMBERED) this.over.delete(this.over.values().next().value!);
  }

  private note(event: Event): void {
    const at = momentOf(event);
    if (!this.continues(event)) this.run = { clientId: event.clientId, channels: [], at };
    this.run!.channels.push(event.channel);
    this.run!.at = at;
  }

  private ended(event: Event): void {
    const channels = this.continues(event) ? this.run!.channels : [];
    this.run = undefined;
    this.found({ clientId: event.clientId, reason: event.reason, channels });
  }

  private continues(event: Event): boolean {
    return this.run?.clientId === event.clientId && momentOf(event) - this.run.at < SAME_MOMENT_MS;
  }
}

function momentOf({ at }: Event): number {
  return at ? at.seconds * 1000 + at.nanos / 1e6 : 0;
}
