// Faye's engine interface, on pixied.
import type { ConnectionOptions } from '../connection';
import { ClientUnknown } from '../errors';
import { FrontEnd } from '../front_end';
import { DEFAULT_TIMEOUT_MS } from '../operations';
import { Departures, type Departure } from './departures';
import { toPixied } from './message';
import { ConnectedClients } from './connected_clients';
import { Presence } from './presence';
import { isPrivate, PrivateChannels } from './private_channels';
import { Publisher } from './publisher';
import { AWAY, publication, Replies } from './replies';
import { isClientId, shortened, type Callback, type FayeMessage, type FayeServer } from './server';

/** The `engine` options of a `NodeAdapter`. */
export interface FayeEngineOptions {
  /**
   * Where pixied listens: `host:port` or `unix:///path`. Several pixieds over one store are `ip:port,ip:port`: the first that answers is
   * used, and when it is lost, the first that answers then. Default 127.0.0.1:50051.
   */
  readonly address?: string;
  /** What pixied calls this server, for people. Default: host name and process id. */
  readonly name?: string;
  /** How many unconfirmed deliveries it takes at once, 1 to 65,536. Default: pixied's, 64. */
  readonly window?: number;
  /** How long an operation waits for pixied, in milliseconds. Default 10,000. */
  readonly operationTimeout?: number;
  /**
   * Whether a message that a client sends again, with the same id and content, within 5 minutes is delivered once, to
   * whichever server it comes. Default true.
   */
  readonly deduplicate?: boolean;
  /** grpc-js's credentials. Default: none, and no encryption. */
  readonly credentials?: ConnectionOptions['credentials'];
}

/** Lets the other Faye servers know that the server which destroyed the client has raised its `disconnect`. */
const REASON = 'destroyed by its Faye server';
const LOOK_AT_ONCE = 500;

/**
 * Faye's sessions, subscriptions and queues in pixied. Raises Faye's server events as Faye's memory engine does:
 * - `handshake`, `subscribe`, `unsubscribe`, `publish` in the server that was asked, when pixied has done it (`publish`
 *   at each call);
 * - `close` in every server that has had to do with a session when it ends, wherever and however;
 * - `disconnect`, and `unsubscribe` for each subscription that ends with the session, in the server that destroyed it;
 *   of a session that timed out, or that an operator ended, in the server that created it.
 */
export class FayeEngine {
  private readonly frontEnd: FrontEnd;
  private readonly presence: Presence;
  private readonly replies: Replies;
  private readonly publisher: Publisher;
  private readonly connectedClients: ConnectedClients;
  private readonly departures: Departures;
  private readonly privately = new PrivateChannels();
  private readonly created = new Set<string>();
  /** Clients that this server has had to do with, and that live as far as it knows. */
  private readonly met = new Set<string>();
  private readonly watching: Promise<void>;
  private readonly deduplicate: boolean;

  constructor(
    private readonly server: FayeServer,
    options: FayeEngineOptions = {},
  ) {
    const { address, name, window, operationTimeout: timeoutMs, credentials } = options;
    this.deduplicate = options.deduplicate ?? true;
    this.frontEnd = new FrontEnd({ address, name, window, timeoutMs, credentials });
    this.presence = new Presence({
      wentAway: (error) => this.server.error('pixied at ? is away: ?', this.frontEnd.address, error.message),
      cameBack: () => this.server.info('pixied at ? is back', this.frontEnd.address),
    });
    this.replies = new Replies(() => this.presence.isAway);
    this.publisher = new Publisher(this.frontEnd, timeoutMs ?? DEFAULT_TIMEOUT_MS);
    this.departures = new Departures(
      (departure) => this.departed(departure),
      () => this.attend('look for ended sessions', this.lookAround()),
    );
    this.connectedClients = new ConnectedClients(server, this.frontEnd, (clientId) => this.departures.missed(clientId));
    this.watching = this.frontEnd.watch(Departures.KINDS, this.departures);
    this.frontEnd.on('down', (error) => this.presence.lost(error)).on('up', () => this.presence.found());
  }

  /** Calls back with the new client's id, or with none if pixied cannot be asked: `Replies` makes that an error. */
  createClient(callback: Callback<string | undefined>, context?: unknown): void {
    this.replies.install(context);
    const created = this.presence.isAway ? Promise.resolve(undefined) : this.tryToCreate();
    this.attend(
      'create a client',
      created.then((clientId) => callback.call(context, clientId)),
    );
  }

  /** Calls back with whether the session lives. In doubt it does: a client that gets a no gives its session up. */
  clientExists(clientId: unknown, callback: Callback<boolean>, context?: unknown): void {
    this.replies.install(context);
    if (!isClientId(clientId)) return callback.call(context, false);
    if (this.presence.isAway) return callback.call(context, true);
    this.attend(
      'look for a client',
      this.isAlive(clientId).then((isAlive) => callback.call(context, isAlive)),
    );
  }

  /** Ends a session. Calls back when that is done, or when there is none. */
  destroyClient(clientId: unknown, callback?: Callback<void>, context?: unknown): void {
    if (!isClientId(clientId)) return;
    this.attend(
      'destroy a client',
      this.destroy(clientId).finally(() => callback?.call(context)),
    );
  }

  /** Prolongs a session to twice Faye's timeout from now. */
  ping(clientId: string): void {
    if (!isClientId(clientId) || this.presence.isAway) return;
    this.server.debug('Ping ?, ?', shortened(clientId), this.server.timeout);
    const pinged = this.frontEnd.pingClient(clientId).then(() => this.meet(clientId));
    this.attend('ping a client', pinged.catch(unlessUnknown));
  }

  /** Subscribes a client. Calls back with whether it is subscribed now. */
  subscribe(clientId: string, channel: unknown, callback?: Callback<boolean>, context?: unknown): void {
    const pattern = String(channel);
    const isNew = this.privately.subscribe(clientId, pattern);
    const work = isPrivate(pattern)
      ? Promise.resolve(isNew)
      : this.frontEnd.subscribe(clientId, [pattern]).then((added) => added.length > 0);
    const refused = (error: unknown): never => {
      if (isNew) this.privately.unsubscribe(clientId, pattern);
      throw error;
    };
    const done = work.then((changed) => {
      this.meet(clientId);
      this.server.debug('Subscribed client ? to channel ?', shortened(clientId), pattern);
      if (changed) this.server.trigger('subscribe', clientId, pattern);
    }, refused);
    this.replies.expect('subscribe', clientId, pattern, done);
    this.attend('subscribe a client', reported(done, callback, context));
  }

  /** Ends a subscription. Calls back with whether it is gone now. */
  unsubscribe(clientId: string, channel: unknown, callback?: Callback<boolean>, context?: unknown): void {
    const pattern = String(channel);
    const wasPrivate = this.privately.unsubscribe(clientId, pattern);
    const work = isPrivate(pattern)
      ? Promise.resolve(wasPrivate)
      : this.frontEnd.unsubscribe(clientId, [pattern]).then((removed) => removed.length > 0);
    const done = work.then((changed) => {
      this.server.debug('Unsubscribed client ? from channel ?', shortened(clientId), pattern);
      if (changed) this.server.trigger('unsubscribe', clientId, pattern);
    });
    this.replies.expect('unsubscribe', clientId, pattern, done);
    this.attend('unsubscribe a client', reported(done, callback, context));
  }

  /** Publishes a message; one to a private channel reaches who subscribes to that through this server. */
  publish(message: FayeMessage): void {
    if (this.presence.isAway) {
      // Faye looks at this after the call, and makes it the publisher's reply.
      message.error ??= AWAY;
      return;
    }
    const work = isPrivate(String(message.channel))
      ? this.publishPrivately(message)
      : this.publisher.publish(toPixied(message, this.deduplicate));
    this.replies.expect('publish', message.clientId, publication(message), work);
    this.attend('publish a message', work);
    this.server.trigger('publish', message.clientId, message.channel, message.data);
  }

  /** Faye has a connection for the client: its messages may come. */
  emptyQueue(clientId: string): void {
    if (!this.server.hasConnection(clientId)) return;
    this.meet(clientId);
    this.connectedClients.open(clientId);
  }

  /** Lets what is under way finish, for at most 2 s, then closes the connection, so that the process can exit. */
  async disconnect(): Promise<void> {
    this.connectedClients.dispose();
    this.presence.dispose();
    this.publisher.dispose();
    // Polls that Faye has just flushed are confirmed one turn later.
    await new Promise((resolve) => setImmediate(resolve));
    await this.frontEnd.close();
  }

  private async tryToCreate(): Promise<string | undefined> {
    const { timeout } = this.server;
    const sessionTimeoutMs = typeof timeout === 'number' ? 2 * timeout * 1000 : undefined;
    try {
      // What ends before the events come would have to be guessed.
      await this.watching;
      const { clientId } = await this.frontEnd.createClient({ sessionTimeoutMs });
      this.created.add(clientId);
      this.meet(clientId);
      this.server.debug('Created new client ?', shortened(clientId));
      this.server.trigger('handshake', clientId);
      return clientId;
    } catch (error) {
      this.complain('create a client', error);
      return undefined;
    }
  }

  private async isAlive(clientId: string): Promise<boolean> {
    try {
      await this.frontEnd.getClient(clientId);
      this.meet(clientId);
      return true;
    } catch (error) {
      if (error instanceof ClientUnknown) return false;
      this.complain('look for a client', error);
      return true;
    }
  }

  private async destroy(clientId: string): Promise<void> {
    if (!this.departures.claim(clientId)) return;
    try {
      const subscriptions = this.frontEnd.subscribedTo(clientId);
      const destroyed = this.frontEnd.destroyClient(clientId, REASON);
      const [channels] = await Promise.all([subscriptions, destroyed]);
      this.created.add(clientId);
      this.met.add(clientId);
      this.departures.settle({ clientId, reason: '', channels });
      this.server.debug('Destroyed client ?', shortened(clientId));
    } catch (error) {
      // It may live, or have been ended without an answer: its end concerns this server.
      if (!(error instanceof ClientUnknown)) this.meet(clientId);
      this.departures.disclaim(clientId);
      unlessUnknown(error);
    }
  }

  private meet(clientId: string): void {
    if (!this.departures.isOver(clientId)) this.met.add(clientId);
  }

  private departed({ clientId, reason, channels }: Departure): void {
    if (!this.met.delete(clientId)) return;
    const privately = this.privately.forget(clientId);
    const isOurs = this.created.delete(clientId) && reason !== REASON;
    for (const channel of isOurs ? [...channels, ...privately] : privately) {
      this.server.trigger('unsubscribe', clientId, channel);
    }
    if (isOurs) this.server.trigger('disconnect', clientId);
    this.server.trigger('close', clientId);
  }

  private async publishPrivately(message: FayeMessage): Promise<void> {
    const audience = [...this.privately.audienceOf(String(message.channel))];
    const content = toPixied(message, false);
    await Promise.all(audience.map((clientId) => this.frontEnd.queueFor(clientId, [content]).catch(unlessUnknown)));
  }

  /** Ends of sessions may have been missed: look at each that matters here. */
  private async lookAround(): Promise<void> {
    const clientIds = [...new Set([...this.met, ...this.connectedClients.clientIds, ...this.privately.clientIds])];
    for (let first = 0; first < clientIds.length; first += LOOK_AT_ONCE) {
      const some = clientIds.slice(first, first + LOOK_AT_ONCE);
      const areAlive = await Promise.all(some.map((clientId) => this.isAlive(clientId)));
      some.filter((_, i) => !areAlive[i]).forEach((clientId) => this.departures.missed(clientId));
    }
  }

  /** Sees to it that a failure is seen. */
  private attend(deed: string, work: Promise<unknown>): void {
    work.catch((error: unknown) => this.complain(deed, error));
  }

  private complain(deed: string, error: unknown): void {
    // An outage is logged once, as such.
    if (!this.frontEnd.isDown) this.server.error('Could not ?: ?', deed, String(error));
  }
}

/** Passes every failure on but the one that says that the session is over. */
function unlessUnknown(error: unknown): void {
  if (!(error instanceof ClientUnknown)) throw error;
}

/** Calls back with whether the work succeeded. */
function reported(work: Promise<void>, callback: Callback<boolean> | undefined, context: unknown): Promise<void> {
  if (!callback) return work;
  const failed = (error: unknown): never => {
    callback.call(context, false);
    throw error;
  };
  return work.then(() => callback.call(context, true), failed);
}
