// Bayeux messages as pixied carries them: JSON as text, byte for byte.
import { randomUUID } from 'node:crypto';

import type { Message } from '../generated/pixied/v1/message';

/**
 * A message to be sent. `data`, `ext` and `extra` are JSON text, so that nothing is lost or reordered on the way; see
 * `jsonMessage` for values.
 */
export interface NewMessage {
  /** The channel's name, such as `/chat/room`. */
  readonly channel: string;
  /** The payload, as JSON text. */
  readonly data: string;
  /** Bayeux's message id, at most 255 bytes. */
  readonly id?: string | undefined;
  /** Bayeux's `ext` member, as JSON text. */
  readonly ext?: string | undefined;
  /** Any other top-level members, as the text of one JSON object. */
  readonly extra?: string | undefined;
  /** The publisher's client id. Never delivered to anyone. */
  readonly clientId?: string | undefined;
  /** Whether the publisher itself gets no copy. Default false. */
  readonly excludePublisher?: boolean | undefined;
  /** The same key within 5 minutes does it once on its channel, or for its client. Default: a random one, so that a retry is safe. */
  readonly idempotencyKey?: string | undefined;
}

/** A message whose payload is a JavaScript value. */
export function jsonMessage(channel: string, value: unknown, members: Omit<NewMessage, 'channel' | 'data'> = {}) {
  return { ...members, channel, data: JSON.stringify(value) ?? 'null' } satisfies NewMessage;
}

/** The payload of a message as a JavaScript value. */
export function valueOf(message: Pick<Message, 'data'>): unknown {
  return JSON.parse(message.data);
}

/** The message as it travels. */
export function toWire(message: NewMessage): Message {
  return {
    channel: message.channel,
    data: message.data,
    id: message.id,
    ext: message.ext,
    extra: message.extra,
    clientId: message.clientId ?? '',
    excludePublisher: message.excludePublisher ?? false,
    idempotencyKey: message.idempotencyKey || randomUUID(),
  };
}
