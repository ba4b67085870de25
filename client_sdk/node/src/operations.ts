// The operations of `pixied.v1.BackendService`: one method each, whatever carries them.
import type { AckMode, Gap, Message } from '../generated/pixied/v1/message';
import type { Client, PublishResult } from '../generated/pixied/v1/operations';
import type { Operation, OperationResult } from '../generated/pixied/v1/pipeline';
import { toWire, type NewMessage } from './messages';
import { itemsOf } from './pages';
import { dateOf, durationOf, millisecondsOf } from './time';

type Requests = { [O in NonNullable<Operation['operation']> as O['$case']]: O['value'] };
type Results = { [O in NonNullable<OperationResult['result']> as O['$case']]: O['value'] };

/** The name of an operation. */
export type OperationName = keyof Requests;
/** What an operation is asked. */
export type RequestOf<N extends OperationName> = Requests[N];
/** What an operation answers. */
export type ResponseOf<N extends OperationName> = Results[N];

/** Which operations change nothing more when they are done twice. A dequeueFor would remove messages that no one saw. */
export const REPEATABLE: Readonly<Record<OperationName, boolean>> = {
  generateNamespace: false,
  releaseNamespace: false,
  createClient: false,
  getClient: true,
  pingClient: true,
  destroyClient: false,
  subscribe: true,
  unsubscribe: true,
  subscribersOf: true,
  subscribedTo: true,
  clientSubscribed: true,
  // These two carry an idempotency key on every message.
  queueFor: true,
  publish: true,
  dequeueFor: false,
};

/** How one call is made. */
export interface CallOptions {
  /** How long to wait for the answer, in milliseconds. */
  readonly timeoutMs?: number | undefined;
}

/** How long a call waits for its answer by default, in milliseconds. */
export const DEFAULT_TIMEOUT_MS = 10_000;

/** One session, as the backend knows it. */
export interface ClientInfo {
  /** Its id, which is its secret. */
  readonly clientId: string;
  readonly createdAt: Date | undefined;
  /** When it ends if nothing pings it; undefined while a front-end keeps it alive. */
  readonly expiresAt: Date | undefined;
  readonly sessionTimeoutMs: number | undefined;
  /** How many channels and patterns it is subscribed to. */
  readonly subscriptions: number;
  /** How many messages it has not confirmed. */
  readonly pending: number;
  /** Which front-end holds it; empty if none does. */
  readonly frontEnd: string;
  readonly attributes: Readonly<Record<string, string>>;
}

/** What `createClient` is asked. */
export interface NewClient {
  /** How long it lives without a ping, in milliseconds. Default: the server's, 60 s. */
  readonly sessionTimeoutMs?: number | undefined;
  /** Anything to be remembered with it. */
  readonly attributes?: Readonly<Record<string, string>> | undefined;
}

/** Whether a client that was pinged lives, and until when. */
export interface Ping {
  readonly known: boolean;
  /** Its new expiry; undefined while a front-end keeps it alive, and for an unknown client. */
  readonly expiresAt: Date | undefined;
}

/** One page of client ids. */
export interface ClientIdPage {
  readonly clientIds: readonly string[];
  /** For the next call; empty on the last page. */
  readonly nextPageToken: string;
}

/** Which page is wanted. */
export interface PageOptions {
  /** At most this many, 1 to 10,000. Default 100. */
  readonly pageSize?: number | undefined;
  /** `nextPageToken` of the page before. */
  readonly pageToken?: string | undefined;
}

/** How `dequeueFor` takes messages. */
export interface DequeueOptions extends CallOptions {
  /** At most this many messages, 1 to 1,000. Default 100. */
  readonly maxMessages?: number | undefined;
  /** How long to wait for something, in milliseconds. Default 0. Not through a front-end, whose answers keep order. */
  readonly waitMs?: number | undefined;
  /** `EXPLICIT` keeps what is returned until a later call names its cursor. */
  readonly ackMode?: AckMode | undefined;
  /** Confirms everything up to the answer that carried it. */
  readonly ackCursor?: string | undefined;
}

/** Some of a client's messages. */
export interface Messages {
  readonly messages: readonly Message[];
  /** Names the end of these messages, for `ackCursor`. */
  readonly cursor: string;
  /** So many of the messages, from the first on, may have been delivered before. */
  readonly redelivered: number;
  /** How many messages were lost since the last answer. */
  readonly lost: number;
  /** What was lost, by subscription. */
  readonly gaps: readonly Gap[];
}

/** The client in the form that this package shows. */
export function clientInfo(client: Client): ClientInfo {
  return {
    clientId: client.clientId,
    createdAt: client.createdAt && dateOf(client.createdAt),
    expiresAt: client.expiresAt && dateOf(client.expiresAt),
    sessionTimeoutMs: client.sessionTimeout && millisecondsOf(client.sessionTimeout),
    subscriptions: client.subscriptions,
    pending: client.pending,
    frontEnd: client.frontEnd,
    attributes: client.attributes,
  };
}

/** One method per operation. Each rejects with a `PixiedError` of the reason's class. */
export abstract class Operations {
  /** Carries one operation to pixied and its answer back. */
  protected abstract perform<N extends OperationName>(
    name: N,
    request: RequestOf<N>,
    options?: CallOptions,
  ): Promise<ResponseOf<N>>;

  /** Reserves a random identifier of `length` characters (default 32) that no one else has been given. */
  async generateNamespace(length = 0, options?: CallOptions): Promise<string> {
    return (await this.perform('generateNamespace', { length }, options)).namespace;
  }

  /** Gives a reserved identifier back. */
  async releaseNamespace(namespace: string, options?: CallOptions): Promise<void> {
    await this.perform('releaseNamespace', { namespace }, options);
  }

  /** Starts a session. */
  async createClient(wish: NewClient = {}, options?: CallOptions): Promise<ClientInfo> {
    const sessionTimeout = wish.sessionTimeoutMs === undefined ? undefined : durationOf(wish.sessionTimeoutMs);
    const request = { sessionTimeout, attributes: { ...wish.attributes } };
    const { client } = await this.perform('createClient', request, options);
    return clientInfo(client!);
  }

  /** Returns what is known of a client, without prolonging its session. */
  async getClient(clientId: string, options?: CallOptions): Promise<ClientInfo> {
    const { client } = await this.perform('getClient', { clientId }, options);
    return clientInfo(client!);
  }

  /** Begins a client's session timeout anew. The answer: its new expiry, undefined while a front-end keeps it alive. */
  async pingClient(clientId: string, options?: CallOptions): Promise<Date | undefined> {
    const { expiresAt } = await this.perform('pingClient', { clientId, clientIds: [] }, options);
    return expiresAt && dateOf(expiresAt);
  }

  /** Begins many clients' session timeouts anew, and answers for each, in order. */
  async pingClients(clientIds: readonly string[], options?: CallOptions): Promise<Ping[]> {
    const request = { clientId: '', clientIds: [...clientIds] };
    const { results } = await this.perform('pingClient', request, options);
    return results.map(({ known, expiresAt }) => ({ known, expiresAt: expiresAt && dateOf(expiresAt) }));
  }

  /** Ends a session. `reason` is for the front-end that holds it and for watchers. */
  async destroyClient(clientId: string, reason = '', options?: CallOptions): Promise<void> {
    await this.perform('destroyClient', { clientId, reason }, options);
  }

  /** Subscribes a client, to all or none. The answer: which were new. */
  async subscribe(clientId: string, channels: readonly string[], options?: CallOptions): Promise<string[]> {
    return (await this.perform('subscribe', { clientId, channels: [...channels] }, options)).added;
  }

  /** Ends subscriptions. The answer: which there were. */
  async unsubscribe(clientId: string, channels: readonly string[], options?: CallOptions): Promise<string[]> {
    return (await this.perform('unsubscribe', { clientId, channels: [...channels] }, options)).removed;
  }

  /** Lists, page by page, every client with a subscription that meets the pattern in at least one channel name. */
  async subscribersOf(channelPattern: string, page: PageOptions & CallOptions = {}): Promise<ClientIdPage> {
    const request = { channelPattern, pageSize: page.pageSize ?? 0, pageToken: page.pageToken ?? '' };
    return this.perform('subscribersOf', request, page);
  }

  /** Lists all clients with a subscription that meets the pattern, page after page. */
  allSubscribersOf(channelPattern: string, options: CallOptions & { readonly pageSize?: number } = {}) {
    return itemsOf(async (pageToken) => {
      const { clientIds: items, nextPageToken } = await this.subscribersOf(channelPattern, { ...options, pageToken });
      return { items, nextPageToken };
    });
  }

  /** Lists what a client is subscribed to, ascending. */
  async subscribedTo(clientId: string, options?: CallOptions): Promise<string[]> {
    return (await this.perform('subscribedTo', { clientId }, options)).channels;
  }

  /** Returns whether a client has subscribed to exactly this channel or pattern. */
  async clientSubscribed(clientId: string, channel: string, options?: CallOptions): Promise<boolean> {
    return (await this.perform('clientSubscribed', { clientId, channel }, options)).subscribed;
  }

  /** Sends messages straight to one client. */
  async queueFor(
    clientId: string,
    messages: readonly NewMessage[],
    options?: CallOptions,
  ): Promise<ResponseOf<'queueFor'>> {
    return this.perform('queueFor', { clientId, messages: messages.map(toWire) }, options);
  }

  /** Takes a client's pending messages, oldest first. */
  async dequeueFor(clientId: string, options: DequeueOptions = {}): Promise<Messages> {
    const request = {
      clientId,
      maxMessages: options.maxMessages ?? 0,
      wait: options.waitMs === undefined ? undefined : durationOf(options.waitMs),
      ackMode: options.ackMode ?? 0,
      ackCursor: options.ackCursor ?? '',
    };
    const timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS + (options.waitMs ?? 0);
    return this.perform('dequeueFor', request, { timeoutMs });
  }

  /** Publishes one message. */
  async publishOne(message: NewMessage, options?: CallOptions): Promise<PublishResult> {
    const [result] = await this.publish([message], options);
    return result!;
  }

  /** Publishes messages, all or none. The answer: one result each, in order. */
  async publish(messages: readonly NewMessage[], options?: CallOptions): Promise<readonly PublishResult[]> {
    return (await this.perform('publish', { messages: messages.map(toWire) }, options)).results;
  }
}
