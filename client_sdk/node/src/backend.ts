// The operations as single calls, and the streams that a program reads by hand.
import { BackendServiceService as Methods } from '../generated/pixied/v1/backend_service';
import type { AckMode, Closing } from '../generated/pixied/v1/message';
import type { Event, EventKind } from '../generated/pixied/v1/watch';
import { callOnce, callRepeatedly, readStream, type StreamOptions } from './calls';
import { connectTo, DEFAULT_ADDRESS, type Connection, type ConnectionOptions } from './connection';
import { DEFAULT_TIMEOUT_MS, Operations, REPEATABLE } from './operations';
import type { CallOptions, Messages, OperationName, RequestOf, ResponseOf } from './operations';

/** How `deliver` takes messages. */
export interface DeliverOptions extends StreamOptions {
  /** `EXPLICIT` keeps what is delivered until a later call names its cursor. */
  readonly ackMode?: AckMode | undefined;
  /** Confirms everything up to the answer that carried it. */
  readonly ackCursor?: string | undefined;
}

/** Some messages of a `deliver` stream. */
export interface DeliveredMessages extends Messages {
  /** Set when the server is stopping; nothing follows. */
  readonly closing?: Closing | undefined;
}

/** Which events `watch` reports. Filters are combined. */
export interface WatchOptions extends StreamOptions {
  /** Only these kinds; default all. */
  readonly kinds?: readonly EventKind[] | undefined;
  /** Only events whose channel meets this channel or pattern. */
  readonly channelPattern?: string | undefined;
  /** Only events about this client. */
  readonly clientId?: string | undefined;
}

/** Some events of a `watch` stream. The first item comes at once and is empty: what is missed after it is counted. */
export interface Events {
  readonly events: readonly Event[];
  /** How many events were missed just before these, for this watcher read too slowly. */
  readonly missed: number;
  /** Set when the server is stopping; nothing follows. */
  readonly closing?: Closing | undefined;
}

/**
 * pixied's operations, one call each. For programs that do a few things; a server of many clients wants a `FrontEnd`.
 * Reads, pings, (un)subscribing, publishing and queueing are tried again while pixied cannot be reached and the
 * deadline allows it.
 */
export class Backend extends Operations {
  private readonly connection: Connection;

  /** @param address `host:port` or `unix:///path`; several pixieds over one store are `ip:port,ip:port`. */
  constructor(address: string = DEFAULT_ADDRESS, options: ConnectionOptions = {}) {
    super();
    this.connection = connectTo(address, options);
  }

  /** Streams one client's messages: what is pending first, then live. The first item comes at once, empty if need be. */
  deliver(clientId: string, options: DeliverOptions = {}): AsyncGenerator<DeliveredMessages, void, undefined> {
    const request = { clientId, ackMode: options.ackMode ?? 0, ackCursor: options.ackCursor ?? '' };
    return readStream(this.connection, Methods.deliver, request, options);
  }

  /** Reports events as they happen. */
  watch(options: WatchOptions = {}): AsyncGenerator<Events, void, undefined> {
    const { kinds = [], channelPattern = '', clientId = '' } = options;
    return readStream(this.connection, Methods.watch, { kinds: [...kinds], channelPattern, clientId }, options);
  }

  /** Closes the connection. */
  close(): void {
    this.connection.client.close();
  }

  protected override perform<N extends OperationName>(
    name: N,
    request: RequestOf<N>,
    options?: CallOptions,
  ): Promise<ResponseOf<N>> {
    // The generated definitions pair each name with its types; TypeScript loses the pairing across two tables.
    const method = Methods[name] as never;
    if (REPEATABLE[name]) return callRepeatedly(this.connection, method, request, options);
    return callOnce(this.connection, method, request, options?.timeoutMs ?? DEFAULT_TIMEOUT_MS);
  }
}
