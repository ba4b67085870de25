// Bayeux messages as Faye has them, as objects, and as pixied carries them, as JSON text.
import { createHash } from 'node:crypto';

import type { Message } from '../../generated/pixied/v1/message';
import type { NewMessage } from '../messages';
import type { FayeMessage } from './server';

const MAX_ID_BYTES = 255;

/**
 * Members that Bayeux reserves, which a publisher can't put into what others get: they mean something to the clients that
 * get it. A Faye client obeys the advice of any message, and takes what is successful, or not, for a reply.
 */
const RESERVED = [
  'channel',
  'data',
  'clientId',
  'advice',
  'successful',
  'error',
  'subscription',
  'connectionType',
  'version',
  'minimumVersion',
  'supportedConnectionTypes',
  '__proto__',
];

/** A member that would become what a copy inherits from, wherever in a message it stands. Faye's own copies lose it. */
const INHERITED = '__proto__';

/**
 * A message on its way to pixied: every member as it was sent, but for reserved ones.
 *
 * @param deduplicate whether the same id of the same client with the same content is a retry, which Faye's clients send
 *   to whichever server answers, and is to be delivered once.
 */
export function toPixied(message: FayeMessage, deduplicate: boolean): NewMessage {
  const { channel, data, clientId } = message;
  const { id, ext, ...extra } = withoutReserved(message);
  const hasId = isPlainId(id);
  const rest = hasId || id === undefined ? extra : { ...extra, id };
  const text = {
    channel: String(channel),
    data: written(data) ?? 'null',
    id: hasId ? id : undefined,
    ext: written(ext),
    extra: Object.keys(rest).length > 0 ? written(rest) : undefined,
  };
  if (typeof clientId !== 'string') return text;
  const isOne = deduplicate && hasId && id !== '';
  return { ...text, clientId, idempotencyKey: isOne ? keyOf(clientId, text) : undefined };
}

/** A message on its way to a client: a copy of its own, for Faye and its extensions change what they deliver. */
export function toFaye({ channel, data, id, ext, extra }: Message): FayeMessage {
  const message: FayeMessage = { channel, data: read(data) };
  if (id !== undefined) message.id = id;
  if (ext !== undefined) message.ext = read(ext);
  // Who publishes without a front-end may have set reserved members.
  return extra === undefined ? message : { ...message, ...withoutReserved(read(extra) as object) };
}

/** As JSON; undefined for what has no JSON. */
function written(value: unknown): string | undefined {
  const text = JSON.stringify(value) as string | undefined;
  if (!text?.includes(`"${INHERITED}":`)) return text;
  return JSON.stringify(value, (name, member: unknown) => (name === INHERITED ? undefined : member));
}

/** From JSON, which may come from anyone and name a member with escapes. */
function read(text: string): unknown {
  if (!text.includes(INHERITED) && !text.includes('\\u00')) return JSON.parse(text);
  return JSON.parse(text, (name, member: unknown) => (name === INHERITED ? undefined : member));
}

function withoutReserved(members: object): Record<string, unknown> {
  return Object.fromEntries(Object.entries(members).filter(([name]) => !RESERVED.includes(name)));
}

/** Other ids travel among the other members, as JSON, which has room for everything. */
function isPlainId(id: unknown): id is string {
  return typeof id === 'string' && id.isWellFormed() && Buffer.byteLength(id) <= MAX_ID_BYTES;
}

/** The client's id is a secret, so the key shows only its hash. */
function keyOf(clientId: string, content: NewMessage): string {
  return createHash('sha256')
    .update(JSON.stringify([clientId, content]))
    .digest('base64url');
}
