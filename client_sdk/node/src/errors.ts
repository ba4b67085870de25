// What can go wrong, as classes: one for each reason in `pixied.v1.ErrorReason`, and some for a server out of reach.
import { status as Code, type ServiceError } from '@grpc/grpc-js';

import { BadRequest, ErrorInfo, RetryInfo } from '../generated/google/rpc/error_details';
import { Status } from '../generated/google/rpc/status';
import type { Any } from '../generated/google/protobuf/any';
import type { ErrorReason } from '../generated/pixied/v1/errors';
import { millisecondsOf } from './time';

/** The name of an `ErrorReason`, as it travels in `google.rpc.ErrorInfo`. */
export type Reason = Exclude<keyof typeof ErrorReason, 'UNSPECIFIED'>;

/** What is known of a failure beside its message. */
export interface Refusal {
  /** The gRPC status code. */
  readonly code: number;
  /** The request's field that is to blame, if one is. */
  readonly field?: string | undefined;
  /** When trying again may help, in milliseconds, if it may. */
  readonly retryAfterMs?: number | undefined;
}

/** Any failure that this package reports. Its message alone says what is wrong and what would be right. */
export class PixiedError extends Error {
  /** Why, such as `CLIENT_UNKNOWN`. */
  readonly reason: string;
  /** The gRPC status code. */
  readonly code: number;
  /** The request's field that is to blame, if one is. */
  readonly field: string | undefined;
  /** When trying again may help, in milliseconds, if it may. */
  readonly retryAfterMs: number | undefined;

  constructor(reason: string, message: string, refusal: Refusal) {
    super(message);
    this.name = new.target.name;
    this.reason = reason;
    this.code = refusal.code;
    this.field = refusal.field;
    this.retryAfterMs = refusal.retryAfterMs;
  }
}

/** No live client has this id: it never existed, expired, or was destroyed. */
export class ClientUnknown extends PixiedError {}
/** This namespace is not reserved. */
export class NamespaceUnknown extends PixiedError {}
/** A live client bears this namespace as its id. */
export class NamespaceInUse extends PixiedError {}
/** Not a channel's name, or not a pattern where one is allowed. */
export class ChannelInvalid extends PixiedError {}
/** A pattern where a channel's name is needed. */
export class ChannelIsPattern extends PixiedError {}
/** `/meta/**`, or `/service/**` in subscribe or publish. */
export class ChannelReserved extends PixiedError {}
/** `data`, `ext` or `extra` is not the JSON text it has to be. */
export class DataNotJson extends PixiedError {}
/** One message, or a client's attributes, exceed their limit in bytes. */
export class MessageTooLarge extends PixiedError {}
/** More items in one request than the limit. */
export class BatchTooLarge extends PixiedError {}
/** A session timeout or a wait outside its limits. */
export class TimeoutOutOfRange extends PixiedError {}
/** A page token that this call did not hand out. */
export class PageTokenInvalid extends PixiedError {}
/** Any other field that is missing, malformed or out of range; see `field`. */
export class FieldInvalid extends PixiedError {}
/** The idempotency key was used for a different message within 5 minutes. */
export class IdempotencyKeyReused extends PixiedError {}
/** A frame that the stream's protocol does not allow there. */
export class StreamProtocol extends PixiedError {}
/** Another attach, deliver or dequeueFor now holds this client. */
export class TakenOver extends PixiedError {}
/** As many clients are alive as the server admits. */
export class LimitClients extends PixiedError {}
/** The client would have too many subscriptions. */
export class LimitSubscriptions extends PixiedError {}
/** It does not fit into the server's memory limits. */
export class LimitMemory extends PixiedError {}
/** As many namespaces are reserved as the server admits. */
export class LimitNamespaces extends PixiedError {}
/** More calls a second than the server admits. */
export class RateLimited extends PixiedError {}
/** The store behind the server does not answer. */
export class EngineUnavailable extends PixiedError {}
/** The server is shutting down. */
export class Draining extends PixiedError {}
/** What the server wrote was not received in time, or too much of it is not received yet. */
export class NotReceived extends PixiedError {}
/** A defect of pixied; its log has the details. */
export class InternalError extends PixiedError {}

/** Nothing answers at the address, or the connection broke. With "outcome unknown" the operation may have happened. */
export class Unavailable extends PixiedError {
  constructor(address: string, detail: string) {
    super('UNAVAILABLE', `pixied at ${address} cannot be reached: ${detail}`, { code: Code.UNAVAILABLE });
  }
}

/** No answer came in time. The operation may have happened. */
export class DeadlineExceeded extends PixiedError {
  constructor(operation: string, timeoutMs: number) {
    super('DEADLINE_EXCEEDED', `${operation} was not answered within ${timeoutMs} ms`, {
      code: Code.DEADLINE_EXCEEDED,
    });
  }
}

/** More operations wait in a front-end than it admits: slow down, or raise `maxInFlight` or `maxInFlightBytes`. */
export class TooManyOperations extends PixiedError {
  constructor(limit: string) {
    super('TOO_MANY_OPERATIONS', `${limit} of operations wait for pixied's answer already; let some finish first`, {
      code: Code.RESOURCE_EXHAUSTED,
    });
  }
}

type RefusalClass = new (reason: string, message: string, refusal: Refusal) => PixiedError;

/** Every reason's class. */
export const CLASSES: Readonly<Record<Reason, RefusalClass>> = {
  CLIENT_UNKNOWN: ClientUnknown,
  NAMESPACE_UNKNOWN: NamespaceUnknown,
  NAMESPACE_IN_USE: NamespaceInUse,
  CHANNEL_INVALID: ChannelInvalid,
  CHANNEL_IS_PATTERN: ChannelIsPattern,
  CHANNEL_RESERVED: ChannelReserved,
  DATA_NOT_JSON: DataNotJson,
  MESSAGE_TOO_LARGE: MessageTooLarge,
  BATCH_TOO_LARGE: BatchTooLarge,
  TIMEOUT_OUT_OF_RANGE: TimeoutOutOfRange,
  PAGE_TOKEN_INVALID: PageTokenInvalid,
  FIELD_INVALID: FieldInvalid,
  IDEMPOTENCY_KEY_REUSED: IdempotencyKeyReused,
  STREAM_PROTOCOL: StreamProtocol,
  TAKEN_OVER: TakenOver,
  LIMIT_CLIENTS: LimitClients,
  LIMIT_SUBSCRIPTIONS: LimitSubscriptions,
  LIMIT_MEMORY: LimitMemory,
  LIMIT_NAMESPACES: LimitNamespaces,
  RATE_LIMITED: RateLimited,
  ENGINE_UNAVAILABLE: EngineUnavailable,
  DRAINING: Draining,
  INTERNAL: InternalError,
  NOT_RECEIVED: NotReceived,
};

const DOMAIN = 'pixied';
const DETAILS_KEY = 'grpc-status-details-bin';

/** The error that a status of pixied stands for. */
export function fromStatus(status: Status): PixiedError {
  const info = detail(status.details, 'google.rpc.ErrorInfo', ErrorInfo);
  const reason = info?.domain === DOMAIN ? info.reason : (Code[status.code] ?? 'UNKNOWN');
  const blamed = detail(status.details, 'google.rpc.BadRequest', BadRequest)?.fieldViolations[0]?.field;
  const delay = detail(status.details, 'google.rpc.RetryInfo', RetryInfo)?.retryDelay;
  const refusal = { code: status.code, field: blamed, retryAfterMs: delay && millisecondsOf(delay) };
  const RefusalOf: RefusalClass = reason in CLASSES ? CLASSES[reason as Reason] : PixiedError;
  return new RefusalOf(reason, status.message, refusal);
}

/**
 * The error that a failed call stands for.
 *
 * @param error what grpc-js reports.
 * @param call where it was going, for the message of a failure that is not pixied's own.
 */
export function fromServiceError(error: ServiceError, call: { address: string; name: string; timeoutMs?: number }) {
  const details = error.metadata?.get(DETAILS_KEY)[0];
  if (Buffer.isBuffer(details)) return fromStatus(Status.decode(details));
  if (error.code === Code.UNAVAILABLE) return new Unavailable(call.address, error.details);
  if (error.code === Code.DEADLINE_EXCEEDED && call.timeoutMs) return new DeadlineExceeded(call.name, call.timeoutMs);
  return new PixiedError(Code[error.code] ?? 'UNKNOWN', `${call.name}: ${error.details}`, { code: error.code });
}

function detail<T>(details: readonly Any[], type: string, codec: { decode(bytes: Uint8Array): T }): T | undefined {
  const found = details.find((any) => any.typeUrl === `type.googleapis.com/${type}`);
  return found && codec.decode(found.value);
}
