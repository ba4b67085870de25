// A front-end: any program that serves many Bayeux clients and uses pixied as its backend.
import { EventEmitter } from 'node:events';
import { hostname } from 'node:os';

import type { Welcome } from '../generated/pixied/v1/attach';
import type { Gap } from '../generated/pixied/v1/message';
import type { EventKind } from '../generated/pixied/v1/watch';
import type { Attachment, AttachHandlers, AttachOptions, Batch, Detached } from './attachment';
import { callOut } from './callout';
import { connectTo, DEFAULT_ADDRESS, type Connection, type ConnectionOptions } from './connection';
import { PixiedError } from './errors';
import { KeptWatch, type WatchListener } from './kept_watch';
import { Link } from './link';
import { DEFAULT_TIMEOUT_MS, Operations } from './operations';
import type { CallOptions, OperationName, RequestOf, ResponseOf } from './operations';
import { Pipeline } from './pipeline';

/** The events of a front-end, and their arguments. */
export interface FrontEndEvents {
  /** The link to pixied stands; all clients are being attached again. */
  up: [welcome: Welcome];
  /** The link is gone, or could not be made. It is tried again until `close`. Once per outage. */
  down: [error: PixiedError];
  /** A client lost messages. */
  gap: [clientId: string, gap: Gap];
  /** A client is no longer attached. */
  detached: [clientId: string, detached: Detached];
}

/** How a front-end works. */
export interface FrontEndOptions extends ConnectionOptions {
  /**
   * `host:port` or `unix:///path`. Several pixieds over one store are `ip:port,ip:port`: the first that answers is
   * used, and when it is lost, the first that answers then. Default 127.0.0.1:50051.
   */
  readonly address?: string | undefined;
  /** What pixied calls it, for people, 1 to 255 bytes. Default: host name and process id. */
  readonly name?: string | undefined;
  /** How many unconfirmed deliveries it takes at once, 1 to 65,536. Default: the server's, 64. */
  readonly window?: number | undefined;
  /** How long an operation waits for its answer, in milliseconds. Default 10,000. */
  readonly timeoutMs?: number | undefined;
  /** How many operations may wait for their answers; more reject with `TooManyOperations`. Default 65,536. */
  readonly maxInFlight?: number | undefined;
  /** How many bytes they may have together. Default 64 MiB. */
  readonly maxInFlightBytes?: number | undefined;
  /**
   * Takes all clients' messages, instead of each one's `onMessages`: for high rates, as it is called once for all the
   * clients that get the same messages. They count as handled as for `onMessages`; if it fails, those clients are given up.
   */
  readonly onBatch?: ((batch: Batch) => void | Promise<void>) | undefined;
}

const DEFAULT_MAX_IN_FLIGHT = 65_536;
const DEFAULT_MAX_IN_FLIGHT_BYTES = 64 * 1024 * 1024;
const MAX_WINDOW = 65_536;
const MAX_NAME_BYTES = 255;
const CLOSE_TIMEOUT_MS = 2_000;
/** How many operations any server takes in a frame, whatever its limit is. */
const ANY_SERVERS_MAX = 1;

/**
 * One connection with one Pipeline and one Attach stream. Operations are gathered into frames and answered in order;
 * both streams come back by themselves, with backoff and jitter, and attach the clients again.
 */
export class FrontEnd extends Operations {
  /** Where its pixied listens. */
  readonly address: string;
  private readonly connection: Connection;
  private readonly watches: KeptWatch[] = [];
  private readonly emitter = new EventEmitter<FrontEndEvents>();
  private readonly pipeline: Pipeline;
  private readonly link: Link;
  private readonly timeoutMs: number;
  /** Undefined while the first attempt is under way. */
  private state: 'up' | 'down' | undefined;

  /** Throws a RangeError if an option is out of its range. */
  constructor(options: FrontEndOptions = {}) {
    super();
    const { name = `${hostname()}:${process.pid}`, window, onBatch } = options;
    within('name', Buffer.byteLength(name), MAX_NAME_BYTES, ' bytes');
    if (window !== undefined) within('window', window, MAX_WINDOW);
    this.address = options.address ?? DEFAULT_ADDRESS;
    this.timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
    this.connection = connectTo(this.address, options);
    this.pipeline = new Pipeline(this.connection, {
      operations: options.maxInFlight ?? DEFAULT_MAX_IN_FLIGHT,
      bytes: options.maxInFlightBytes ?? DEFAULT_MAX_IN_FLIGHT_BYTES,
    });
    this.pipeline.maxItems = ANY_SERVERS_MAX;
    this.link = new Link(this.connection, { name, window: window ?? 0, onBatch }, this.linkListener());
  }

  /** Whether the link to pixied stands. */
  get isUp(): boolean {
    return this.state === 'up';
  }

  /** Whether the link to pixied is known to be gone; not while the first attempt is under way. */
  get isDown(): boolean {
    return this.state === 'down';
  }

  /** Calls the listener at each event of that name. */
  on<E extends keyof FrontEndEvents>(event: E, listener: (...args: FrontEndEvents[E]) => void): this {
    this.emitter.on(event, listener as never);
    return this;
  }

  /**
   * Takes a client: its pending messages first, then live ones. Its previous owner loses it. A client that does not exist,
   * and everything else that ends it, comes to `onDetached`. Throws a TypeError if there is neither `onMessages` nor
   * `onBatch`.
   */
  attach(clientId: string, options: AttachOptions, handlers: AttachHandlers): Attachment {
    return this.link.attach(clientId, options, handlers);
  }

  /**
   * Follows events of these kinds for as long as this front-end lives. The answer: when the first attempt has come out;
   * if it has succeeded, nothing is missed unannounced from then on.
   */
  watch(kinds: readonly EventKind[], listener: WatchListener): Promise<void> {
    const watch = new KeptWatch(this.connection, kinds, listener);
    this.watches.push(watch);
    return watch.attempt;
  }

  /** Lets operations under way be answered and confirmations go out, for at most 2 s, then closes the connection. */
  async close(): Promise<void> {
    for (const watch of this.watches) watch.close();
    await Promise.all([this.pipeline.close(CLOSE_TIMEOUT_MS), this.link.close(CLOSE_TIMEOUT_MS)]);
    this.connection.client.close();
  }

  protected override perform<N extends OperationName>(
    name: N,
    request: RequestOf<N>,
    options?: CallOptions,
  ): Promise<ResponseOf<N>> {
    return this.pipeline.perform(name, request, options?.timeoutMs ?? this.timeoutMs);
  }

  private linkListener() {
    return {
      up: (welcome: Welcome) => this.cameUp(welcome),
      down: (error: PixiedError) => this.wentDown(error),
      gap: (clientId: string, gap: Gap) => this.emit('gap', clientId, gap),
      detached: (clientId: string, detached: Detached) => this.emit('detached', clientId, detached),
    };
  }

  private cameUp(welcome: Welcome): void {
    this.pipeline.maxItems = welcome.maxCommands;
    this.state = 'up';
    this.emit('up', welcome);
  }

  private wentDown(error: PixiedError): void {
    // The next server may have another limit.
    this.pipeline.maxItems = ANY_SERVERS_MAX;
    if (this.state === 'down') return;
    this.state = 'down';
    this.emit('down', error);
  }

  private emit<E extends keyof FrontEndEvents>(event: E, ...args: FrontEndEvents[E]): void {
    callOut(() => void this.emitter.emit(event, ...(args as never)));
  }
}

function within(option: string, value: number, most: number, unit = ''): void {
  if (Number.isInteger(value) && value >= 1 && value <= most) return;
  throw new RangeError(`${option} may be 1 to ${most}${unit}, not ${value}`);
}
