// What Faye's clients are answered. Faye asks an engine that is always there and never refuses, and answers at once;
// pixied is a network away. As an extension of the server, which is Faye's public way in, this holds a reply back until
// pixied has answered, and makes it an error if pixied refused or is away.
import { status as Code } from '@grpc/grpc-js';

import { PixiedError } from '../errors';
import { isExtensible, type FayeExtension, type FayeMessage } from './server';

/** The error of replies while pixied is away: Bayeux's `code:arguments:text`. Its address is not for clients. */
export const AWAY = '503::Backend unavailable';

/** What each kind of reply waits for. */
type Deed = 'subscribe' | 'unsubscribe' | 'publish';

/** Clients come back after this long, in milliseconds, and up to twice as long, so that they do not come together. */
const RETRY_INTERVAL_MS = 1_000;
const HANDSHAKE = '/meta/handshake';
/** So long a failure is kept for its reply, in milliseconds. */
const UNCLAIMED_MS = 60_000;

/** The replies of one Faye server. */
export class Replies implements FayeExtension {
  /** What replies wait for, in the order in which Faye makes them; what has succeeded needs no waiting. */
  private readonly underWay = new Map<string, Promise<void>[]>();
  private isInstalled = false;

  /** @param isAway whether pixied is known to be away. */
  constructor(private readonly isAway: () => boolean) {}

  /** Becomes an extension of the server that Faye passed as a callback's context. */
  install(context: unknown): void {
    if (this.isInstalled || !isExtensible(context)) return;
    this.isInstalled = true;
    context.addExtension(this);
  }

  /** A reply about this has to wait for the work. */
  expect(deed: Deed, clientId: unknown, subject: string, work: Promise<unknown>): void {
    const key = keyOf(deed, clientId, subject);
    const settled = work.then(() => undefined);
    const expected = this.underWay.get(key);
    if (expected) expected.push(settled);
    else this.underWay.set(key, [settled]);
    const forget = (): void => this.forget(key, settled);
    // A failure waits for its reply, which an extension may hold back; the engine logs it.
    settled.then(forget, () => void setTimeout(forget, UNCLAIMED_MS).unref());
  }

  /** Marks a message as failed before Faye acts on it: the session stays, for pixied may still have it. */
  incoming(message: FayeMessage, callback: (message: FayeMessage) => void): void {
    if (this.isAway()) message.error ??= AWAY;
    // Faye itself fails at anything else in this list, where nobody would answer the request any more.
    if (Array.isArray(message.subscription)) message.subscription = message.subscription.map(String);
    callback(message);
  }

  outgoing(message: FayeMessage, callback: (message: FayeMessage) => void): void {
    if (!isReply(message)) return callback(message);
    if (message.channel === HANDSHAKE && message.successful && !message.clientId) fail(message, AWAY);
    if (message.error === AWAY) comeAgain(message);
    const works = message.successful ? this.worksOf(message) : [];
    if (works.length === 0) return callback(message);
    void Promise.all(works)
      .catch((error: unknown) => refuse(message, error))
      .then(() => callback(message));
  }

  private worksOf(message: FayeMessage): Promise<void>[] {
    const works = keysOf(message).map((key) => this.claim(key));
    return works.filter((work) => work !== undefined);
  }

  /** A reply takes what it waits for, so that the next one with the same key takes the next. */
  private claim(key: string): Promise<void> | undefined {
    const work = this.underWay.get(key)?.[0];
    this.forget(key, work);
    return work;
  }

  private forget(key: string, work: Promise<void> | undefined): void {
    const rest = this.underWay.get(key)?.filter((each) => each !== work) ?? [];
    if (rest.length > 0) this.underWay.set(key, rest);
    else this.underWay.delete(key);
  }
}

/** What a reply to a publish is about. */
export function publication(message: FayeMessage): string {
  return JSON.stringify([message.channel, message.id]);
}

/** Extensions see messages on their way out as well, which may have any members, but always have `data`. */
function isReply(message: FayeMessage): boolean {
  return typeof message.successful === 'boolean' && !('data' in message);
}

function keyOf(deed: Deed, clientId: unknown, subject: string): string {
  return JSON.stringify([deed, clientId, subject]);
}

function keysOf(reply: FayeMessage): string[] {
  const { channel, clientId, subscription } = reply;
  if (channel === '/meta/subscribe' || channel === '/meta/unsubscribe') {
    const deed = channel === '/meta/subscribe' ? 'subscribe' : 'unsubscribe';
    return [subscription].flat().map((pattern) => keyOf(deed, clientId, String(pattern)));
  }
  return [keyOf('publish', clientId, publication(reply))];
}

function fail(reply: FayeMessage, error: string): void {
  reply.successful = false;
  reply.error = error;
}

/** Without this, Faye would send the client to a new handshake: its session may well live. */
function comeAgain(reply: FayeMessage): void {
  const reconnect = reply.channel === HANDSHAKE ? 'handshake' : 'retry';
  const interval = Math.round(RETRY_INTERVAL_MS * (1 + Math.random()));
  reply.advice = { ...reply.advice, reconnect, interval };
}

function refuse(reply: FayeMessage, error: unknown): void {
  const text = bayeuxError(error, reply);
  fail(reply, text);
  if (text === AWAY) comeAgain(reply);
}

/** Bayeux's error for a refusal of pixied. Its grammar admits few characters, so these are fixed texts. */
function bayeuxError(error: unknown, reply: FayeMessage): string {
  if (!(error instanceof PixiedError)) return '500::Internal error';
  const subject = String(reply.subscription ?? reply.channel);
  if (error.reason === 'CLIENT_UNKNOWN') return `401:${String(reply.clientId)}:Unknown client`;
  if (error.reason === 'CHANNEL_INVALID') return `405:${subject}:Invalid channel`;
  if (error.reason === 'CHANNEL_RESERVED') return `403:${subject}:Forbidden channel`;
  if (error.code === Code.RESOURCE_EXHAUSTED) return '429::Limit reached';
  if (error.code === Code.INVALID_ARGUMENT) return '400::Message refused';
  if (error.code === Code.UNAVAILABLE || error.code === Code.DEADLINE_EXCEEDED) return AWAY;
  return '500::Internal error';
}
