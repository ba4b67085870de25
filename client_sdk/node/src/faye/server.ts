// What this engine needs of Faye 1.4, which has no types of its own.

/** A Bayeux message as Faye handles it. */
export interface FayeMessage {
  channel: string;
  data?: unknown;
  id?: unknown;
  ext?: unknown;
  clientId?: string;
  successful?: boolean;
  error?: string;
  subscription?: unknown;
  advice?: { reconnect?: string; interval?: number; timeout?: number };
  [member: string]: unknown;
}

/** The TCP connection under a socket. */
export interface FayeStream {
  cork?(): void;
  uncork?(): void;
}

/** What a poll asks for. */
export interface PollOptions {
  /** How long it waits for messages, in milliseconds; whatever a browser has sent. Default: the server's `timeout`. */
  readonly timeout?: unknown;
}

/** A client's connection to this process: a request that waits for its answer, or a socket. */
export interface FayeConnection {
  /** Begins a poll. */
  connect?(options: PollOptions | undefined, callback: unknown, context: unknown): void;
  /** Faye's wrapper of a WebSocket or EventSource; absent for a long poll. */
  readonly socket?: { readonly _socket?: { readonly readyState?: number; readonly _stream?: FayeStream } } | null;
}

type Log = (message: string, ...values: readonly unknown[]) => void;

/** Faye's `Engine.Proxy`, which an engine serves. */
export interface FayeServer {
  /** Seconds that a long poll waits. A client that is silent for twice as long is gone. */
  readonly timeout: unknown;
  readonly debug: Log;
  readonly info: Log;
  readonly warn: Log;
  readonly error: Log;
  trigger(event: string, ...values: readonly unknown[]): void;
  bind(event: string, listener: (clientId: string) => void, context?: unknown): void;
  unbind(event: string, listener: (clientId: string) => void, context?: unknown): void;
  hasConnection(clientId: string): boolean;
  connection(clientId: string, create: false): FayeConnection | undefined;
  deliver(clientId: string, messages: readonly FayeMessage[]): boolean;
  flushConnection(clientId: string): void;
}

type Pipe = (message: FayeMessage) => void;

/** Faye's extensions: they see every message on its way in and every reply on its way out. */
export interface FayeExtension {
  incoming(message: FayeMessage, callback: Pipe): void;
  outgoing(message: FayeMessage, callback: Pipe): void;
}

/** Faye's protocol server, which gives itself as the context of the callbacks that it passes to an engine. */
export interface ExtensibleServer {
  addExtension(extension: FayeExtension): void;
}

/** A callback as Faye passes it, with the object to call it on. */
export type Callback<T> = (this: unknown, value: T) => void;

/** Whether a callback's context is Faye's protocol server. */
export function isExtensible(context: unknown): context is ExtensibleServer {
  return typeof (context as Partial<ExtensibleServer> | null | undefined)?.addExtension === 'function';
}

const CLIENT_ID = /^[a-z0-9]{1,255}$/;

/** Whether a client could have this id: whatever a browser sends may stand in its place. */
export function isClientId(value: unknown): value is string {
  return typeof value === 'string' && CLIENT_ID.test(value);
}

const WEBSOCKET_OPEN = 1;

/** Whether what is written to the connection still has a way out. A poll's request says nothing about that. */
export function isOpen(connection: FayeConnection | undefined): connection is FayeConnection {
  if (!connection) return false;
  const readyState = connection.socket?._socket?.readyState;
  return readyState === undefined || readyState === WEBSOCKET_OPEN;
}

/** A client id for a log: enough to recognise it, too little to use it. */
export function shortened(clientId: string): string {
  return `${clientId.slice(0, 4)}…`;
}
